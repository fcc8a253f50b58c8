from __future__ import annotations

import signal

from serve_app.profiling.sampler import Sampler


def test_a_signal_that_is_handled_late_does_not_set_the_timer_again() -> None:
    with Sampler() as sampler:
        pass
    sampler._sample(signal.SIGALRM, None)
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
