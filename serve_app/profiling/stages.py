"""Stages of a request, and which stage a stack of frames is in.

A stack belongs to its innermost frame that stands in the table: what numpy does on behalf of the
decoder is decoding. A module that is not in the table counts for whoever called it.
"""

from __future__ import annotations

from types import FrameType
from typing import NamedTuple

OUTSIDE = "event loop"
"""No frame of ours: tasks, futures and callbacks of asyncio, and the caller itself."""


class Rule(NamedTuple):
    """Functions of a module (or package) whose qualified name holds `part`; '' is all."""

    module: str
    part: str
    stage: str


RULES = (
    Rule("serve_app.runners", "", "model"),
    Rule("serve_app.instruments", "", "metrics"),
    Rule("serve_app.metrics", "", "metrics"),
    Rule("serve_app.statistics", "", "metrics"),
    Rule("serve_app.batching", "", "batch"),
    Rule("serve_app.backends", "", "batch"),
    Rule("serve_app.protocol", "encode", "encode"),
    Rule("serve_app.protocol", "", "decode"),
    Rule("serve_app.gateway.http", "respond", "respond"),
    Rule("serve_app.gateway.http", "", "read body"),
    Rule("serve_app.gateway.bodies", "", "read body"),
    Rule("serve_app.gateway.predict", "choose", "choose"),
    Rule("serve_app.gateway.predict", "", "predict"),
    Rule("serve_app.routing", "", "choose"),
    Rule("serve_app.gateway.shadow", "", "shadow"),
    Rule("serve_app.gateway", "", "gateway"),
)
"""The first that fits a frame decides."""

ORDER = (
    "read body", "decode", "choose", "predict", "batch", "model", "encode", "metrics", "respond",
    "shadow", "gateway", OUTSIDE,
)  # fmt: skip


def stage_of(frame: FrameType | None) -> str:
    """The stage of a stack, given by its innermost frame."""
    while frame is not None:
        stage = rule_for(str(frame.f_globals.get("__name__", "")), frame.f_code.co_qualname)
        if stage is not None:
            return stage
        frame = frame.f_back
    return OUTSIDE


def rule_for(module: str, function: str) -> str | None:
    """The stage of one function, None where it counts for its caller."""
    for rule in RULES:
        inside = module == rule.module or module.startswith(f"{rule.module}.")
        if inside and rule.part in function:
            return rule.stage
    return None
