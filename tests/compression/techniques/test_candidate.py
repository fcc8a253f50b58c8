from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from compression.techniques import candidate as module
from compression.techniques.candidate import RECORD, Candidate, Template, parameter_count
from compression.tracing import TRACING
from compression.workloads.fraud.workload import FraudWorkload


@pytest.mark.parametrize("name", ["candidate", "pruned", "distilled", "int8"])
def test_a_candidate_reads_back_as_it_was(
    request: pytest.FixtureRequest, tiny_workload: FraudWorkload, tmp_path: Path, name: str
) -> None:
    saved: Candidate = request.getfixturevalue(name)
    saved.save(tmp_path / "step")
    back = Candidate.load(tmp_path / "step", tiny_workload)
    assert back is not None
    assert (back.template, back.onnx, back.precision) == (
        saved.template, saved.onnx, saved.precision,
    )  # fmt: skip
    assert (back.notes, back.seconds) == (saved.notes, saved.seconds)
    assert parameter_count(back.module) == parameter_count(saved.module)
    inputs = tiny_workload.gather(tiny_workload.validation[:20])
    tensors = [torch.from_numpy(array) for array in inputs.values()]
    with torch.inference_mode():
        assert torch.equal(back.module(*tensors), saved.module(*tensors))


def test_nothing_saved_is_nothing_to_load(tiny_workload: FraudWorkload, tmp_path: Path) -> None:
    assert Candidate.load(tmp_path / "step", tiny_workload) is None


@pytest.mark.parametrize("killed", ["save_module", "os.replace"])
def test_a_half_saved_candidate_is_not_there(
    candidate: Candidate,
    tiny_workload: FraudWorkload,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    killed: str,
) -> None:
    def kill(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        if killed == "save_module":
            patch.setattr(module, "save_module", kill)
        else:
            patch.setattr("os.replace", kill)
        with pytest.raises(KeyboardInterrupt):
            candidate.save(tmp_path / "step")
    assert not (tmp_path / "step" / RECORD).exists()
    assert Candidate.load(tmp_path / "step", tiny_workload) is None


def test_notes_and_seconds_grow_with_the_chain(candidate: Candidate) -> None:
    longer = candidate.noted({"a": 1}, 2.0).noted({"b": 2}, 3.0)
    assert longer.notes == ({"a": 1}, {"b": 2})
    assert longer.seconds == (2.0, 3.0)
    assert candidate.notes == ()


def test_students_built_at_once_get_the_weights_of_their_seeds(
    tiny_workload: FraudWorkload,
) -> None:
    """Torch has one generator for all threads, and seeds it through what an export changes."""
    sizes = {"architecture": "transformer", "layers": 1, "width": 16, "heads": 2}
    templates = [Template("student", {**sizes, "seed": seed}) for seed in range(16)]

    def weights(template: Template) -> torch.Tensor:
        return torch.nn.utils.parameters_to_vector(template.build(tiny_workload).parameters())

    alone = [weights(template) for template in templates]
    with ThreadPoolExecutor(8) as pool:
        at_once = list(pool.map(weights, templates))
    assert all(torch.equal(one, other) for one, other in zip(alone, at_once, strict=True))


def test_no_student_is_built_during_an_export(tiny_workload: FraudWorkload) -> None:
    with ThreadPoolExecutor(1) as pool:
        with TRACING.alone():
            built = pool.submit(Template("student", {"seed": 1}).build, tiny_workload)
            with pytest.raises(TimeoutError):
                built.result(timeout=0.3)
        assert parameter_count(built.result(timeout=60))
