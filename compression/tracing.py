"""One lock for what torch does with global state.

Its exporters, and every function it hides from its compiler (an optimiser's constructor among
them), write to one dictionary of the process: two threads in there at once fail with KeyError.
"""

from __future__ import annotations

from threading import Lock

TRACING = Lock()
