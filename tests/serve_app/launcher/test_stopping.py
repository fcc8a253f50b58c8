from __future__ import annotations

import os
import signal

import pytest

from serve_app.launcher.stopping import StopSignal


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_an_event_and_handlers_are_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stopped:
        assert not stopped.came()
        os.kill(os.getpid(), number)
        assert stopped.came(5.0)
    assert signal.getsignal(number) is before


def test_handlers_of_others_are_replaced_again() -> None:
    with StopSignal() as stopped:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        stopped.again()
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.came(5.0)
