"""On which terms a request is computed: for whom, and until when.

Who a caller is decides whose requests take turns when a variant is busy. The routing key is not
it: a customer is whom a request is about, and one client asks about all of them. The connection is
not it either: HAProxy keeps its own to the replicas and sends everybody's requests over them. So a
caller is what the header `x-slimserve-caller` says, else the nearest address in `x-forwarded-for`,
else the address the connection comes from. All of it can be made up by a client: where callers are
not trusted, let the proxy in front set the header.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from serve_app.errors import InvalidTimeoutError

TIMEOUT_HEADER = b"x-request-timeout-seconds"
TIMEOUT_PARAMETER = "timeout_seconds"
CALLER_HEADER = b"x-slimserve-caller"
_FORWARDED_HEADER = b"x-forwarded-for"
_CALLER_CHARACTERS = 128

_HEAD_START_SECONDS = 0.02
_HEAD_START_SHARE = 0.1
"""Ray Serve has a timer for the same header and answers 408 without a word: be there before it. A
loop that was kept from running for longer finds both timers due, and Ray Serve's answer goes out.
"""


class Terms(NamedTuple):
    """Whose request it is, and when its answer is of no use any more."""

    caller: str
    deadline: float
    """Reading of `time.perf_counter()`, seconds; infinite: the variant's own limit alone."""


ANYBODY = Terms("", math.inf)
"""Nobody in particular, who has time."""


def read_terms(
    headers: Mapping[bytes, bytes], client: Any, timeout_seconds: float | None, started: float
) -> Terms:
    """The terms of an HTTP request.

    Args:
        headers: the request's, names in lower case.
        client: ASGI's `scope["client"]`: (address, port), or None.
        timeout_seconds: the request parameter, checked by `check_timeout`; None: not given.
        started: when the request came, a reading of `time.perf_counter()`.

    Raises:
        InvalidTimeoutError: the header is not a number of seconds above 0.
    """
    deadline = math.inf if timeout_seconds is None else started + timeout_seconds
    header = headers.get(TIMEOUT_HEADER)
    if header is not None:
        seconds = check_timeout(header.decode("latin-1"), TIMEOUT_HEADER.decode())
        head_start_seconds = min(_HEAD_START_SECONDS, _HEAD_START_SHARE * seconds)
        deadline = min(deadline, started + seconds - head_start_seconds)
    return Terms(_caller(headers, client), deadline)


def check_timeout(value: object, name: str) -> float:
    """Seconds of a time limit that a caller gave as `name`.

    Raises:
        InvalidTimeoutError: it is not a finite number above 0.
    """
    try:
        seconds = float(value)  # type: ignore[arg-type]  # what is no number raises
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 < seconds < math.inf:
        raise InvalidTimeoutError(f"{name}: expected seconds above 0, given {value!r}")
    return seconds


def check_timeout_parameter(parameters: Mapping[str, Any]) -> float | None:
    """The request parameter `timeout_seconds`; None if it is not there.

    Raises:
        InvalidTimeoutError: it is not a finite number above 0.
    """
    value = parameters.get(TIMEOUT_PARAMETER)
    return None if value is None else check_timeout(value, TIMEOUT_PARAMETER)


def seconds_left(terms: Terms) -> float:
    """From now to the deadline, seconds; never below 0."""
    return max(0.0, terms.deadline - time.perf_counter())


def _caller(headers: Mapping[bytes, bytes], client: Any) -> str:
    named = headers.get(CALLER_HEADER)
    if named is None and (forwarded := headers.get(_FORWARDED_HEADER)) is not None:
        # The first addresses are hearsay, the last was seen by the proxy that wrote it.
        named = forwarded.rpartition(b",")[2].strip()
    if named is not None:
        return named[:_CALLER_CHARACTERS].decode("latin-1")
    return client[0] if client else ""
