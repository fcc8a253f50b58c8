"""When Python looks for reference cycles in a process that answers requests.

What a request makes is freed by counting references: it has no cycles. By default Python looks for
some after every 700 objects made and not yet freed, and now and then through all of some 400,000
that the imports left: 60 ms in which nobody is answered. With thousands of requests under way it
does little else. Measured with the int8 student at the data port, CPU time of a request with 3,000
connections: 166 µs with a look after every 10,000 objects, 116 µs after every 100,000, 124 µs
without any; p99 with 64 connections by default 33-35 ms, without 12-15 ms.
"""

from __future__ import annotations

import gc

_MADE_BEFORE_A_LOOK = 100_000


def settle() -> None:
    """To be called when all is loaded, and again when that changed: what is there now stays.

    Cycles among what was there before and is in use no longer are freed first; it holds the process
    up for as long as one full collection, some 60 ms.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MADE_BEFORE_A_LOOK, *gc.get_threshold()[1:])
