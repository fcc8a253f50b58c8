from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from compression.store import CorruptArtifactError
from serve_app.runners.program import ProgramRunner
from tests.support.store import make_program, make_samples, scores


@pytest.fixture(scope="module")
def program() -> bytes:
    return make_program()


@pytest.mark.parametrize("rows", [1, 2, 33])
def test_a_program_computes(program: bytes, rows: int) -> None:
    runner = ProgramRunner(program, ["transaction", "history"], ["score"], 1)
    batch = make_samples().rows(0, rows)
    outputs = runner.run(batch)
    assert outputs["score"].dtype == np.float32
    np.testing.assert_allclose(outputs["score"], scores(batch), atol=1e-6)


def test_bytes_that_are_no_archive_are_refused() -> None:
    with pytest.raises(CorruptArtifactError, match="not a zip archive"):
        ProgramRunner(b"junk", ["transaction", "history"], ["score"], 1)


def test_gateways_do_not_import_torch() -> None:
    modules = "serve_app.gateway.replica, serve_app.application, serve_app.runners"
    code = f"import sys, {modules}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
