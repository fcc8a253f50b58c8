"""How small a file gets when it is packed: zeros cost nothing then.

A runtime stores and multiplies a zero like any number, so unstructured and N:M sparsity show only
here, in what is sent over a network or kept in an archive.
"""

from __future__ import annotations

import zstandard

LEVEL = 19
"""High and slow, as one packs what is written once and fetched often."""


def zstd_bytes(content: bytes) -> int:
    """Size of `content` packed with Zstandard (RFC 8878) at level 19."""
    return len(zstandard.ZstdCompressor(level=LEVEL).compress(content))
