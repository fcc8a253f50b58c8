"""Everything that can go wrong while compressing, in one tree.

CompressionError              exit code
├── DataError                 3   a data file or data window is not what the workload needs
├── RecipeError               4   a recipe has an unknown key, an impossible chain, a bad value
├── TrainingError             5   training diverged or a checkpoint does not fit
├── TechniqueError            6   a technique produced something it must not publish
├── ExportError               9   a variant cannot be exported for phones and browsers
├── BudgetError              10   an export is larger, or needs more memory, than it may
├── GateFailedError          11   a published variant does not meet the bounds it is judged by
├── ForeignGraphError        12   an ONNX file from elsewhere cannot be a variant of the workload
├── StorageError             13   a file cannot be written: the disk is full, or it is not ours
└── TargetsMissedError       14   a search is done and no variant meets its targets

The store's own errors (`compression.store.errors`) carry exit codes 7 and 8.
"""

from __future__ import annotations

import errno

_ROOM, _RIGHT = "make room", "see to it that it may be written"
_UNWRITABLE = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: _ROOM,
    errno.EROFS: _RIGHT,
    errno.EACCES: _RIGHT,
    errno.EPERM: _RIGHT,
    errno.EIO: "see to the disk",
}
"""What to do about an OSError."""


class CompressionError(Exception):
    """Base of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class DataError(CompressionError):
    """The data given cannot be used; the message names file, column, expected and given."""

    exit_code = 3


class RecipeError(CompressionError):
    """The recipe cannot be run; the message names file, key and the allowed values."""

    exit_code = 4


class TrainingError(CompressionError):
    """Training cannot go on: a loss is not finite, or a checkpoint belongs to another run."""

    exit_code = 5


class TechniqueError(CompressionError):
    """A technique made an artifact that is not what its name says (e.g. int8 without integers)."""

    exit_code = 6


class ExportError(CompressionError):
    """A variant cannot be exported: the message says which rule or which node, and what to do."""

    exit_code = 9


class BudgetError(CompressionError):
    """An export is over its budget of bytes or of memory; nothing was written."""

    exit_code = 10


class GateFailedError(CompressionError):
    """A variant that was judged again keeps less of the original than it must."""

    exit_code = 11


class ForeignGraphError(CompressionError):
    """An ONNX file cannot be imported; the message names the file and what to change in it."""

    exit_code = 12


class StorageError(CompressionError):
    """A file cannot be written; the message names it, where that is known, and what to do."""

    exit_code = 13

    @classmethod
    def of(cls, error: OSError) -> StorageError | None:
        """What a person is told of an OSError; None if it is not about a disk or a right."""
        if error.errno not in _UNWRITABLE:
            return None
        what = _UNWRITABLE[error.errno]
        where = f" {error.filename}" if error.filename else " a file"
        return cls(
            f"cannot write{where}: {error.strerror}. What was published before is as it was, and "
            f"finished steps are kept: {what}, then run the same command again"
        )


class TargetsMissedError(CompressionError):
    """A search has ended without a variant to recommend; the message names the nearest."""

    exit_code = 14
