"""Lists of cores are read as taskset reads them, and what is not there is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from loadtest.cores import format_cores, parse_cores, taskset
from loadtest.errors import OptionError


@pytest.fixture
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that may use cores 0 to 15, all but 9."""
    usable = set(range(16)) - {9}
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: usable)


@pytest.mark.usefixtures("_sixteen")
@pytest.mark.parametrize(
    ("text", "cores"),
    [
        ("0,1", (0, 1)),
        ("2-5", (2, 3, 4, 5)),
        ("5,0-2,1", (0, 1, 2, 5)),
        ("0-8:4, 15", (0, 4, 8, 15)),
        ("3-3", (3,)),
    ],
)
def test_a_list_is_read(text: str, cores: tuple[int, ...]) -> None:
    assert parse_cores("--load-cores", text) == cores


@pytest.mark.usefixtures("_sixteen")
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "--load-cores '': expected a list of cores such as 0,1 or 2-15, and ''"),
        ("0,,1", "and '' is no core"),
        ("all", "and 'all' is no core"),
        ("-1", "and '-1' is no core"),
        ("3-1", "and '3-1' is no core"),
        ("0-4:0", "and '0-4:0' is no core"),
        ("0x3", "and '0x3' is no core"),
        ("16", "core 16 is not there.* expected some of 0-8,10-15"),
        ("8-10", "core 9 is not there"),
        ("0-999999", "core 9 is not there"),
    ],
)
def test_what_makes_no_sense_is_refused(text: str, words: str) -> None:
    with pytest.raises(OptionError, match=words):
        parse_cores("--load-cores", text)


def test_without_taskset_nothing_is_held(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(OptionError, match="--server-cores '0': needs taskset"):
        parse_cores("--server-cores", "0")


@pytest.mark.parametrize(
    ("cores", "text"), [((), ""), ((3,), "3"), ((1, 0), "0-1"), ((0, 2, 3, 4, 7), "0,2-4,7")]
)
def test_the_shortest_list_is_written(cores: tuple[int, ...], text: str) -> None:
    assert format_cores(cores) == text


def test_a_command_and_its_children_stay_there() -> None:
    core = max(os.sched_getaffinity(0))
    child = "import os; print(sorted(os.sched_getaffinity(0)))"
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    command = [*taskset((core,)), sys.executable, "-c", parent]
    assert subprocess.check_output(command, text=True).strip() == f"[{core}]"
    assert taskset(()) == ()
