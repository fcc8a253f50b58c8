"""Runners open an artifact and compute. They know nothing of Ray, HTTP or routing."""

from serve_app.runners.base import Arrays, Runner
from serve_app.runners.loading import LoadedVariant, load_variant

__all__ = ["Arrays", "LoadedVariant", "Runner", "load_variant"]
