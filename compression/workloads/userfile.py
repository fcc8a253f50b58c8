"""A workload in the user's own file: `path/to/file.py:MyWorkload`.

The file is one module: it may import whatever is installed, but not its neighbours.
"""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from compression.errors import RecipeError


@dataclass(frozen=True)
class UserClass:
    """A class of the user's, and the hash of the file it stands in."""

    kind: type
    sha256: str


def is_user_class(name: str) -> bool:
    """Whether a workload's name says file and class."""
    return ".py:" in name


def load_user_class(name: str, folder: Path) -> UserClass:
    """The class that `name` says; a relative path starts at `folder`.

    Raises:
        RecipeError: no such file, it cannot be imported, or no such class in it.
    """
    file, _, class_name = name.rpartition(":")
    path = folder / file
    try:
        content = path.read_bytes()
    except OSError as error:
        raise RecipeError(
            f"workload {name!r}: cannot read {path}: {error.strerror}; a relative path starts at "
            "the recipe's folder"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    module = _module(path, content, digest)
    kind = getattr(module, class_name, None)
    if not isinstance(kind, type):
        classes = [n for n, v in vars(module).items() if _defined_in(v, module)]
        raise RecipeError(
            f"workload {name!r}: {path} has no class {class_name!r}; classes in it: "
            f"{', '.join(classes) or 'none'}"
        )
    return UserClass(kind, digest)


def _module(path: Path, content: bytes, digest: str) -> ModuleType:
    """The file as a module, under a name that collides with no other; run once."""
    name = f"slimserve_workload_{digest[:16]}"
    if name in sys.modules:
        return sys.modules[name]
    module = ModuleType(name)
    module.__file__ = str(path)
    # Dataclasses and pydantic look their module up while it is being executed.
    sys.modules[name] = module
    whole = False
    try:
        # The very bytes that were hashed: the file may change under us.
        exec(compile(content, str(path), "exec"), vars(module))
        whole = True
    except (ImportError, SyntaxError) as error:
        raise RecipeError(
            f"{path} cannot be imported: {type(error).__name__}: {error}. It may import what is "
            "installed, not files beside it"
        ) from error
    finally:
        if not whole:
            del sys.modules[name]
    return module


def _defined_in(value: object, module: ModuleType) -> bool:
    return isinstance(value, type) and value.__module__ == module.__name__
