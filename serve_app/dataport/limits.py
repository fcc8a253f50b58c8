"""How much a client of the data port may ask, and how slowly."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """Of one gateway's port."""

    max_body_bytes: int
    body_timeout_seconds: float
    """From a request's first byte to its last, and for reading an answer."""
    max_connections: int
    """Beyond it clients wait in the system's queue, where they cost nothing."""
    max_in_flight: int
    """Requests that the application answers at a time; the others wait in their order."""
    keep_alive_seconds: float
    """How long a connection may be idle; a second, when others wait for one."""
    max_wait_seconds: float
    """Who would wait longer for its turn is refused."""
    rest_seconds: float
    """How long a refused client is not read, at most; 0: not at all."""
    max_head_bytes: int = 64 << 10
