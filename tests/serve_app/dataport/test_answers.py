from __future__ import annotations

from email.utils import parsedate_to_datetime
from http import HTTPStatus

import pytest

from serve_app.dataport.answers import Heads
from serve_app.errors import BodyTooLargeError, HeadTooLargeError, LineFullError


def lines(head: bytes) -> list[bytes]:
    assert head.endswith(b"\r\n\r\n")
    return head[:-4].split(b"\r\n")


def test_a_head_has_status_date_and_the_applications_headers() -> None:
    headers = [(b"content-length", b"3"), (b"x-more", b"a, b")]
    status, date, *rest = lines(Heads().head(200, headers, close=False, old=False))
    assert status == b"HTTP/1.1 200 OK"
    name, value = date.split(b": ")
    assert name == b"date"
    assert parsedate_to_datetime(value.decode()).tzname() == "UTC"
    assert rest == [b"content-length: 3", b"x-more: a, b"]


@pytest.mark.parametrize(
    ("close", "old", "said"),
    [
        (False, False, []),
        (True, False, [b"connection: close"]),
        (False, True, [b"connection: keep-alive"]),
        (True, True, [b"connection: close"]),
    ],
)
def test_what_the_version_does_not_say_is_said(close: bool, old: bool, said: list[bytes]) -> None:
    assert lines(Heads().head(200, (), close=close, old=old))[2:] == said


def test_the_date_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    heads, dates = Heads(), []
    for second in (1.0, 1.9, 2.0, 2.1, 61.0):
        monkeypatch.setattr("serve_app.dataport.answers.time.time", lambda second=second: second)
        dates.append(lines(heads.head(404, (), close=False, old=False))[1])
    assert dates[0] == b"date: Thu, 01 Jan 1970 00:00:01 GMT"
    assert dates[1] == dates[0]
    assert dates[2] == dates[3] == b"date: Thu, 01 Jan 1970 00:00:02 GMT"
    assert dates[4] == b"date: Thu, 01 Jan 1970 00:01:01 GMT"


@pytest.mark.parametrize("status", list(HTTPStatus), ids=lambda status: str(int(status)))
def test_every_status_has_its_phrase(status: HTTPStatus) -> None:
    head = Heads().head(status.value, (), close=False, old=False)
    assert lines(head)[0].decode() == f"HTTP/1.1 {status.value} {status.phrase}"


def test_a_refusal_is_an_error_like_the_gateways_and_the_last_answer() -> None:
    for error in (BodyTooLargeError("body: too much"), HeadTooLargeError("headers: too much")):
        head, _, body = Heads().refusal(error).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 %d " % error.status)
        assert b"content-type: application/json" in head
        assert b"content-length: %d" % len(body) in head
        assert head.endswith(b"connection: close")
        assert body == b'{"error":"%s"}' % str(error).encode()


@pytest.mark.parametrize("close", [False, True])
@pytest.mark.parametrize("old", [False, True])
def test_what_many_are_told_is_what_each_would_be_told(
    monkeypatch: pytest.MonkeyPatch, close: bool, old: bool
) -> None:
    heads = Heads()
    for second in (1.0, 1.9, 2.0):
        monkeypatch.setattr("serve_app.dataport.answers.time.time", lambda second=second: second)
        for error in (LineFullError(0.5), LineFullError(0.75)):
            expected = Heads().refusal(error, close=close, old=old)
            told = [heads.repeated(error, close=close, old=old) for _ in range(2)]
            assert told == [expected, expected]
            assert told[0] is told[1]
            assert b"retry-after: 1\r\n" in expected
