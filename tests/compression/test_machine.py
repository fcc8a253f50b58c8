from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

import pytest

from compression import machine
from compression.machine import this_machine


def test_it_names_cpu_memory_and_what_ran() -> None:
    described = this_machine(threads=3)
    assert described.cpu
    assert described.cores == os.cpu_count()
    assert described.threads == 3
    assert described.memory_bytes > 10**8
    assert described.platform == platform.platform()
    assert described.versions["python"] == platform.python_version()
    assert described.versions["torch"] == metadata.version("torch")


def test_a_package_that_is_not_installed_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "PACKAGES", ("numpy", "no-such-package"))
    assert set(this_machine(1).versions) == {"python", "numpy"}


@pytest.mark.parametrize(
    ("cpuinfo", "name"),
    [
        (
            "processor : 0\nmodel name\t: Some CPU @ 2 GHz\nmodel name\t: Other\n",
            "Some CPU @ 2 GHz",
        ),
        ("processor : 0\n", None),
        (None, None),
    ],
)
def test_the_cpu_has_a_name_whatever_the_system_tells(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, cpuinfo: str | None, name: str | None
) -> None:
    path = tmp_path / "cpuinfo"
    if cpuinfo is not None:
        path.write_text(cpuinfo)
    monkeypatch.setattr(machine, "Path", lambda _: path)
    assert this_machine(1).cpu == (name or platform.processor() or platform.machine())
