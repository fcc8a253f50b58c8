from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence

import pytest

MINE = sorted(os.sched_getaffinity(0))
ABSENT = 4000

PROGRAM = """
import json, os, sys, threading
from serve_app.cores import keep_off, keep_to
from serve_app.errors import ConfigError
began, over = threading.Event(), threading.Event()
def wait():
    began.set()
    over.wait()
thread = threading.Thread(target=wait)
thread.start()
began.wait()
try:
    {"off": keep_off, "to": keep_to}[sys.argv[1]](json.loads(sys.argv[2]))
except ConfigError as error:
    print(error, file=sys.stderr)
print(json.dumps([sorted(os.sched_getaffinity(id)) for id in (0, thread.native_id)]))
over.set()
"""


def held(how: str, cores: Sequence[int]) -> tuple[list[int], str]:
    """Cores of a process, all its threads, and what it complained of."""
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, how, json.dumps(cores)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    [main, other] = json.loads(ended.stdout)
    assert main == other
    return main, ended.stderr


def test_all_threads_keep_to_the_cores() -> None:
    assert held("to", MINE[-1:]) == (MINE[-1:], "")
    assert held("to", MINE) == (MINE, "")


@pytest.mark.skipif(len(MINE) == 1, reason="one core cannot be divided")
def test_all_threads_keep_off_the_cores() -> None:
    assert held("off", MINE[-1:]) == (MINE[:-1], "")


@pytest.mark.parametrize(
    ("how", "cores", "words"),
    [
        ("to", [ABSENT], f"gateway.cores: [{ABSENT}] cannot be had"),
        ("to", [MINE[0], ABSENT], f"gateway.cores: cores [{ABSENT}] are not there"),
        ("off", [ABSENT], f"gateway.cores: expected some of {MINE}, given [{ABSENT}]"),
        ("off", MINE, f"gateway.cores: expected not all of {MINE}: Ray's processes need one"),
    ],
)
def test_cores_that_cannot_be_had_are_said(how: str, cores: list[int], words: str) -> None:
    _, complaint = held(how, cores)
    assert f"configuration: {words}" in complaint
    assert "Traceback" not in complaint
