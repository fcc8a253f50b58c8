"""What machine this is, for everything that is measured on it."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from pathlib import Path

from compression.store.manifest import Machine

PACKAGES = ("torch", "onnxruntime-gpu", "onnxruntime", "onnx", "numpy")


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


def this_machine(threads: int) -> Machine:
    """CPU, cores, memory in bytes, platform and package versions; `threads` used to measure."""
    pages, page_bytes = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        threads=threads,
        memory_bytes=pages * page_bytes,
        platform=platform.platform(),
        versions=_versions(),
    )
