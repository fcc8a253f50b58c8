from __future__ import annotations

import numpy as np
import pytest

from compression.store import CorruptArtifactError
from serve_app.runners.onnx import OnnxRunner
from tests.support.store import make_onnx, make_samples, scores

CPU = "CPUExecutionProvider"


def test_an_output_the_graph_lacks_is_named() -> None:
    with pytest.raises(CorruptArtifactError, match=r"outputs \['score'\], not \['other'\]"):
        OnnxRunner(make_onnx(), ["other"], 1)


def test_sessions_share_memory_do_not_spin_and_say_what_they_run_on() -> None:
    runners = [
        OnnxRunner(make_onnx(shift=shift), ["score"], 2, providers=[CPU]) for shift in (0.0, 0.5)
    ]
    batch = make_samples().rows(0, 5)
    for runner, shift in zip(runners, (0.0, 0.5), strict=True):
        options = runner._session.get_session_options()
        assert options.get_session_config_entry("session.use_env_allocators") == "1"
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"
        assert (options.intra_op_num_threads, options.inter_op_num_threads) == (2, 1)
        assert f"{CPU}, 2 thread(s)" in runner.detail
        np.testing.assert_allclose(
            runner.run(batch)["score"], scores(batch, shift=shift), atol=1e-6
        )
