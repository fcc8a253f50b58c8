from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from serve_app.logs import LOG, join_serve_log


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Other tests capture this log."""
    logger = logging.getLogger(LOG)
    before = logger.handlers, logger.level, logger.propagate
    yield
    logger.handlers, logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def test_our_records_reach_serves_handlers(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(record.getMessage())

    monkeypatch.setattr(logging.getLogger("ray.serve"), "handlers", [Handler()])
    join_serve_log()
    logging.getLogger(LOG).info("variant %s", "a")
    assert seen == ["variant a"]
