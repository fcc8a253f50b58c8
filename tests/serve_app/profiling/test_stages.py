"""A stack is in the stage of its innermost frame that has one."""

from __future__ import annotations

import sys
import time
from typing import Any

import pytest

from serve_app.profiling.sampler import Sampler
from serve_app.profiling.stages import OUTSIDE, rule_for, stage_of


@pytest.mark.parametrize(
    ("module", "function", "stage"),
    [
        ("serve_app.protocol.codec", "Codec.encode", "encode"),
        ("serve_app.protocol.codec", "Codec.decode", "decode"),
        ("serve_app.protocol.tensors", "InputReader.read", "decode"),
        ("serve_app.runners.onnx", "OnnxRunner.run", "model"),
        ("serve_app.instruments", "Histogram.observe", "metrics"),
        ("serve_app.gateway.http", "respond", "respond"),
        ("serve_app.gateway.http", "read_body", "read body"),
        ("serve_app.gateway.predict", "Predictor.choose", "choose"),
        ("serve_app.gateway.app", "GatewayApp._infer", "gateway"),
        ("numpy", "asarray", None),
        ("serve_app.runners_of_others", "run", None),
    ],
)
def test_functions_have_their_stage(module: str, function: str, stage: str | None) -> None:
    assert rule_for(module, function) == stage


def test_what_others_do_counts_for_their_caller() -> None:
    seen = []
    module: dict[str, Any] = {
        "__name__": "serve_app.protocol.tensors",
        "look": lambda: seen.append(stage_of(sys._getframe())),
    }
    exec("def read():\n    look()", module)
    module["read"]()
    assert seen == ["decode"]


def test_a_stack_without_one_of_ours_is_outside() -> None:
    assert stage_of(sys._getframe()) == OUTSIDE
    assert stage_of(None) == OUTSIDE


_SPIN = """
def spin(seconds):
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass
"""


def test_samples_fall_where_the_time_is_spent() -> None:
    codec: dict[str, Any] = {"__name__": "serve_app.protocol.codec", "time": time}
    runner: dict[str, Any] = {"__name__": "serve_app.runners.onnx", "time": time}
    exec(_SPIN, codec)
    exec(_SPIN, runner)
    with Sampler(mean_seconds=0.001) as sampler:
        for _ in range(10):
            codec["spin"](0.01)
            runner["spin"](0.03)
    assert sampler.samples.total() > 20
    assert sampler.samples["model"] > sampler.samples["decode"] > 0
    before = sampler.samples.total()
    time.sleep(0.02)
    assert sampler.samples.total() == before  # the timer is off
