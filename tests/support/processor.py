"""What this machine's processor computes in integers without overflow."""

from __future__ import annotations

from pathlib import Path

_PRODUCTS_OF_BYTES = {"avx512_vnni", "avx_vnni", "asimddp", "i8mm"}


def _flags() -> set[str]:
    info = Path("/proc/cpuinfo")
    return set(info.read_text().split()) if info.exists() else set()


NEEDS_SEVEN_BITS = not _flags() & _PRODUCTS_OF_BYTES
"""Whether int8 weights have to be quantised with `reduce_range`, as the README says."""
