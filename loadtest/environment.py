"""On what machine, with which versions and flags a measurement was made."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from pathlib import Path

import psutil

from loadtest.documents import Document
from loadtest.processes import serving_flags

_PACKAGES = ("ray", "onnxruntime", "onnxruntime-gpu", "torch", "numpy", "locust", "gevent",
             "geventhttpclient", "hdrhistogram")  # fmt: skip


class Environment(Document):
    """Where the generator ran; `flags` are those of the serving processes, where visible."""

    cpu: str
    cores: int
    memory_bytes: int
    platform: str
    python: str
    """Version and build: how the interpreter was compiled matters as much as its version."""
    versions: dict[str, str]
    flags: dict[str, str]
    load_average_before: float
    """One-minute load average before the first request: what else the machine was doing."""


def describe(url: str) -> Environment:
    """This machine, now."""
    versions = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return Environment(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        platform=platform.platform(),
        python=" ".join(sys.version.split()),
        versions=versions,
        flags=serving_flags(url),
        load_average_before=os.getloadavg()[0],
    )


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
