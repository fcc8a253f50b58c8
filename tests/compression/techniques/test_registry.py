from __future__ import annotations

import pytest
from pydantic import ValidationError

from compression.techniques import TECHNIQUES


def test_techniques_go_by_their_names() -> None:
    assert set(TECHNIQUES) == {
        "onnx", "prune", "sparsify", "factorize", "quantize", "distill", "train", "import",
    }  # fmt: skip
    assert all(technique.name == name for name, technique in TECHNIQUES.items())


def test_what_ends_in_a_graph() -> None:
    ends = {name for name, technique in TECHNIQUES.items() if technique.ends_in_graph}
    assert ends == {"onnx", "quantize", "import"}


@pytest.mark.parametrize("name", sorted(set(TECHNIQUES) - {"import"}))
def test_options_have_defaults(name: str) -> None:
    options = TECHNIQUES[name].options
    assert options() == options.model_validate({})


@pytest.mark.parametrize("name", sorted(TECHNIQUES))
def test_options_refuse_unknown_keys(name: str) -> None:
    options = TECHNIQUES[name].options
    with pytest.raises(ValidationError, match="surprise"):
        options.model_validate({"surprise": 1})
