from __future__ import annotations

import io
from concurrent.futures import ThreadPoolExecutor

import pytest
from rich.console import Console

from compression import console as module
from compression.console import Stages, bar


def _capture(monkeypatch: pytest.MonkeyPatch, *, terminal: bool) -> io.StringIO:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=120, markup=False)
    monkeypatch.setattr(module, "console", console)
    return out


def test_a_log_gets_a_line_a_quarter(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _capture(monkeypatch, terminal=False)
    with bar("training") as advance:
        for done in range(1, 101):
            advance(done, 100)
    lines = out.getvalue().splitlines()
    assert [line.split(",")[0].split(" in ")[0] for line in lines] == [
        "training …", "training: 25 %", "training: 50 %", "training: 75 %", "training: done",
    ]  # fmt: skip
    assert all(line.endswith("s left") for line in lines[1:4])


def test_a_stage_that_jumps_says_only_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _capture(monkeypatch, terminal=False)
    with bar("data") as advance:
        advance(0, 0)
        advance(3, 4)
        advance(1, 1)
    assert [line[:10] for line in out.getvalue().splitlines()] == [
        "data …", "data: 75 %", "data: done",
    ]  # fmt: skip


def test_a_failed_stage_is_not_done(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _capture(monkeypatch, terminal=False)

    def fail() -> None:
        with bar("training"):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert "done" not in out.getvalue()


def test_a_terminal_gets_bars_for_stages_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    out = _capture(monkeypatch, terminal=True)
    with Stages() as stages, ThreadPoolExecutor(2) as pool:

        def work(title: str) -> None:
            with stages.stage(title) as advance:
                advance(1, 2)

        list(pool.map(work, ("pruned: prune", "int8: quantize")))
    assert "pruned: prune" in out.getvalue()
    assert "int8: quantize" in out.getvalue()
    assert "100%" in out.getvalue()
    assert "done in" not in out.getvalue()


def test_titles_are_printed_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    for terminal in (False, True):
        out = _capture(monkeypatch, terminal=terminal)
        with bar("scoring [/x] rows"):
            pass
        assert "scoring [/x] rows" in out.getvalue()
