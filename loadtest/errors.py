"""Everything that can go wrong while measuring, in one tree.

LoadTestError                 exit code
├── OptionError               2   an option or an input file has a value that makes no sense
├── StoreReadError            3   the store is missing, unreadable or of another schema version
├── ServerError               4   the server cannot be measured
│   ├── UnreachableError      4   nothing answers, or it is not ready
│   ├── UnknownModelError     4   it does not serve this model or variant
│   └── StoreMismatchError    4   it serves another model than the store describes
├── GeneratorError            5   the load generator process failed
├── InvalidRunError           6   a run ended, but its numbers must not be quoted
└── StoppedError            130   interrupted; what was measured so far is saved
"""

from __future__ import annotations


class LoadTestError(Exception):
    """Base of the tree; `exit_code` is what the command line ends with."""

    exit_code = 1


class OptionError(LoadTestError):
    """The message names the option or file, what was given and what is allowed."""

    exit_code = 2


class StoreReadError(LoadTestError):
    """The message names the file and what is wrong with it."""

    exit_code = 3


class ServerError(LoadTestError):
    """The server cannot be measured."""

    exit_code = 4


class UnreachableError(ServerError):
    """Nothing answers at the URL, or it does not become ready."""


class UnknownModelError(ServerError):
    """The server does not serve this model, or not this variant of it."""


class StoreMismatchError(ServerError):
    """The server answers, but not with the model that the store describes."""


class GeneratorError(LoadTestError):
    """The load generator process ended or answered with an error."""

    exit_code = 5


class InvalidRunError(LoadTestError):
    """The numbers of this run must not be quoted; the message says why, in words."""

    exit_code = 6


class StoppedError(LoadTestError):
    """Interrupted by the user; what was measured so far is saved."""

    exit_code = 130
