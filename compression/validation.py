"""Parse documents; what is wrong is said with the place, the key and what is allowed there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ValidationError, ValidationInfo

from compression.errors import RecipeError

_M = TypeVar("_M", bound=BaseModel)


def validate(kind: type[_M], document: Any, where: str, *, folder: Path | None = None) -> _M:
    """Parse a document; `folder` is where its relative paths start (`RecipePath`).

    Raises:
        RecipeError: names `where`, the key, and the keys allowed or the value given.
    """
    try:
        return kind.model_validate(document, context={"folder": folder})
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"]) or "document"
        if first["type"] == "extra_forbidden":
            allowed = ", ".join(sorted(_allowed(kind, first["loc"][:-1])))
            raise RecipeError(f"{where}: unknown key {path!r}; allowed here: {allowed}") from error
        given = f" (given: {first['input']!r})" if first["type"] != "missing" else ""
        raise RecipeError(f"{where}: {path}: {first['msg']}{given}") from error


def _beside_the_recipe(path: Path, info: ValidationInfo) -> Path:
    folder = (info.context or {}).get("folder")
    return path if folder is None else folder / path


RecipePath = Annotated[Path, AfterValidator(_beside_the_recipe)]
"""A path in a recipe: relative ones start at the recipe's folder."""


def _allowed(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Keys of the model that `path` leads to, as far as it can be followed."""
    for part in path:
        field = kind.model_fields.get(str(part))
        # A key that is no field is one of a mapping's, whose values were found already.
        kind = next(_models(field.annotation), kind) if field else kind
    return [field.alias or name for name, field in kind.model_fields.items()]


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    """Models named in a type, e.g. in dict[str, ChainConfig]."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from _models(argument)
