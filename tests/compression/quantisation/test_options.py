from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from compression.quantisation import METHODS, QuantisationOptions
from compression.quantisation.options import MethodName, RangeMethodName
from compression.quantisation.ranges import RANGE_METHODS


def test_methods_go_by_the_names_that_options_allow() -> None:
    assert set(METHODS) == set(get_args(MethodName))
    assert all(method.name == name for name, method in METHODS.items())
    assert set(RANGE_METHODS) == set(get_args(RangeMethodName))


def test_methods_count_on_options_that_there_are() -> None:
    for method in METHODS.values():
        assert method.options <= set(QuantisationOptions.model_fields) - {"method"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "Input should be 'dynamic', 'static'"),
        (
            {"calibration": "moon"},
            "give train, validation, recent, or the path of a .npz file, relative to the recipe",
        ),
        ({"calibration": "not/there.npz"}, "there is no set 'not/there.npz'"),
        ({"bits": 5}, "Input should be 4 or 8"),
        ({"block_size": 48}, "Input should be 16, 32"),
        ({"percentile": 40}, "greater than 50"),
        ({"float_layers": -1}, "greater than or equal to 0"),
        ({"method": "dynamic", "float_layers": "auto"}, "which method dynamic has not"),
        ({"surprise": 1}, "Extra inputs are not permitted"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        QuantisationOptions.model_validate(options)


def test_a_calibration_file_is_found_beside_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "set.npz").write_bytes(b"")
    options = QuantisationOptions.model_validate(
        {"calibration": "set.npz"}, context={"folder": tmp_path}
    )
    assert options.calibration_file == tmp_path / "set.npz"
    assert QuantisationOptions().calibration_file is None
    with pytest.raises(ValidationError, match=r"there is no set 'set\.npz'"):
        QuantisationOptions.model_validate({"calibration": "set.npz"})
