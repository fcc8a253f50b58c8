from __future__ import annotations

from collections.abc import Iterator

from serve_app import errors
from serve_app.metrics import FALLBACKS, REJECTIONS


def leaves(root: type[Exception]) -> Iterator[type[Exception]]:
    for child in root.__subclasses__():
        yield child
        yield from leaves(child)


def test_the_tree_is_drawn_as_it_is() -> None:
    drawing = errors.__doc__ or ""
    for leaf in leaves(errors.SlimserveError):
        assert leaf.__name__ in drawing
        status = getattr(leaf, "status", None)
        if status is not None and leaf not in (errors.RequestError, errors.ControlError):
            line = next(line for line in drawing.splitlines() if f" {leaf.__name__} " in line + " ")
            if leaf is not errors.ServingError:
                assert f"{status}   {getattr(leaf, 'reason', None)}" in line


def test_every_reason_has_a_counter() -> None:
    for leaf in leaves(errors.RequestError):
        assert getattr(leaf, "reason", None) in REJECTIONS
    for leaf in (errors.VariantFailedError, errors.BackendUnavailableError, errors.NotFiniteError):
        assert leaf.reason in FALLBACKS
