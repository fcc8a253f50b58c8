from __future__ import annotations

import numpy as np
import zstandard

from compression.pruning.packing import zstd_bytes


def test_half_zeros_pack_to_little_more_than_half() -> None:
    weights = np.random.default_rng(0).normal(size=50_000).astype(np.float32)
    dense = zstd_bytes(weights.tobytes())
    weights[np.random.default_rng(1).random(50_000) < 0.5] = 0
    sparse = zstd_bytes(weights.tobytes())
    assert 0.85 * weights.nbytes < dense < weights.nbytes
    assert 0.4 * weights.nbytes < sparse < 0.65 * weights.nbytes


def test_it_is_the_size_of_what_unpacks_again() -> None:
    content = b"weights" * 1000
    packed = zstandard.ZstdCompressor(level=3).compress(content)
    assert zstandard.ZstdDecompressor().decompress(packed) == content
    assert zstd_bytes(content) == len(packed)
