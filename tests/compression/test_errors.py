from __future__ import annotations

from compression import errors
from compression.errors import CompressionError
from compression.store import errors as store_errors
from compression.store.errors import StoreError


def _codes(root: type[CompressionError] | type[StoreError]) -> dict[str, int]:
    return {leaf.__name__: leaf.exit_code for leaf in root.__subclasses__()}


def test_each_leaf_has_the_exit_code_its_tree_shows() -> None:
    codes = _codes(CompressionError) | _codes(StoreError)
    drawn = f"{errors.__doc__}\n{store_errors.__doc__}"
    for name, code in codes.items():
        (line,) = (line for line in drawn.splitlines() if f"── {name} " in line)
        assert line.split(name)[1].split()[0] == str(code)


def test_errors_of_different_causes_can_be_told_apart() -> None:
    codes = list(_codes(CompressionError).values())
    assert len(set(codes)) == len(codes)
    assert set(codes).isdisjoint({*_codes(StoreError).values(), 0, 1, 2, 130})
