"""What can go wrong with a model store.

StoreError                    exit code
├── StoreUnavailableError     7   missing, empty or unreadable
├── CorruptArtifactError      8   a hash, a size, a schema or a container is not what it must be
└── VariantExistsError        7   a published variant is immutable
"""

from __future__ import annotations


class StoreError(Exception):
    """Base of the tree; `exit_code` is what a command line ends with."""

    exit_code = 7


class StoreUnavailableError(StoreError):
    """The store, the model or the variant is not there, or cannot be read."""


class CorruptArtifactError(StoreError):
    """A file in the store is not the file its manifest describes. It is never opened."""

    exit_code = 8


class VariantExistsError(StoreError):
    """A variant of that name is published already; published variants do not change."""
