"""When Python looks for reference cycles in a process that answers requests.

What a request makes is freed by counting references: it has no cycles. By default Python looks for
some after every 700 objects made and not yet freed, and at each tenth of each tenth time through
all of some 400,000 that the imports left: 60 ms in which nobody is answered. With thousands of
requests under way that is all the time. Measured with the int8 student at the data port, 64
connections: p99 of 33-35 ms becomes 12-15 ms, as without collection; 3,000 connections: 6,800
requests a second become 8,100.
"""

from __future__ import annotations

import gc

_MADE_BEFORE_A_LOOK = 10_000


def settle() -> None:
    """To be called when all is loaded, and again when that changed: what is there now stays.

    Cycles among what was there before and is in use no longer are freed first; it holds the process
    up for as long as one full collection, some 60 ms.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    gc.set_threshold(_MADE_BEFORE_A_LOOK, *gc.get_threshold()[1:])
