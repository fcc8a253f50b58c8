from __future__ import annotations

import numpy as np
import pytest

from compression.graphs.session import open_session, run, scores_of
from tests.support.store import make_onnx, make_samples, scores


def test_a_session_has_one_thread_and_does_not_spin() -> None:
    options = open_session(make_onnx()).get_session_options()
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.parametrize("rows", [1, 5])
def test_a_run_gives_the_first_output_flat(rows: int) -> None:
    batch = make_samples().rows(0, rows)
    given = run(open_session(make_onnx()), batch)
    assert given.dtype == np.float32
    np.testing.assert_allclose(given, scores(batch), atol=1e-6)


@pytest.mark.parametrize("workers", [1, 3])
def test_many_rows_are_scored_in_their_order(workers: int) -> None:
    samples = make_samples(rows=1000)
    rows = np.random.default_rng(0).permutation(1000).astype(np.int64)
    reports: list[tuple[int, int]] = []
    given = scores_of(
        make_onnx(),
        lambda chosen: {name: array[chosen] for name, array in samples.inputs.items()},
        rows,
        workers=workers,
        report=lambda done, total: reports.append((done, total)),
    )
    expected = scores(dict(samples.inputs))[rows]
    np.testing.assert_allclose(given, expected, atol=1e-6)
    done = [done for done, _ in reports]
    assert done == sorted(done)
    assert reports[-1] == (1000, 1000)
