from __future__ import annotations

import gc
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serve_app.asgi import RECEIVED
from serve_app.dataport.incoming import Incoming, Request
from serve_app.errors import BodyTooLargeError, HeadTooLargeError, RequestError
from tests.serve_app.dataport.ports import limits

SMALL = {"max_body_bytes": 100, "max_head_bytes": 300}
HOST = b"host: here\r\n"


def incoming(**changes: Any) -> Incoming:
    return Incoming(limits(**{**SMALL, **changes}), ("127.0.0.1", 9))


def read(*pieces: bytes, **changes: Any) -> tuple[list[Request], RequestError | None]:
    """The requests, and what came after them."""
    made = incoming(**changes)
    for piece in pieces:
        try:
            made.feed(piece)
        except RequestError as error:
            return list(made.requests), error
    return list(made.requests), None


def one(data: bytes, **changes: Any) -> Request:
    requests, error = read(data, **changes)
    assert error is None
    assert len(requests) == 1
    return requests[0]


def asked(request: Request) -> tuple[str, str, bytes]:
    return request.scope["method"], request.scope["path"], request.body


def test_a_request_becomes_a_scope() -> None:
    request = one(
        b"POST /v2/a%20b%C3%A9/infer?x=1&y=%20 HTTP/1.1\r\nHost: here\r\nX-Twice:  1\r\n"
        b"x-twice: 2\r\nContent-Length: 4\r\n\r\nbody"
    )
    assert request.body == b"body"
    assert request.keep
    received = request.scope.pop(RECEIVED)
    assert 0 <= time.perf_counter() - received < 60
    assert request.scope == {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": "/v2/a bé/infer",
        "raw_path": b"/v2/a%20b%C3%A9/infer",
        "query_string": b"x=1&y=%20",
        "root_path": "",
        "headers": [
            (b"host", b"here"), (b"x-twice", b"1"), (b"x-twice", b"2"), (b"content-length", b"4"),
        ],
        "client": ("127.0.0.1", 9),
        "server": None,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("target", "path", "query"),
    [
        (b"/", "/", b""),
        (b"/a?b", "/a", b"b"),
        (b"/a?b?c=/d", "/a", b"b?c=/d"),
        (b"/%3F%25?%3F", "/?%", b"%3F"),
        (b"//twice", "//twice", b""),
        (b"http://here/a?b", "/a", b"b"),
        (b"HTTPS://here:80/a/b", "/a/b", b""),
        (b"http://here", "/", b""),
        (b"http://here?x=1/2", "/", b"x=1/2"),
        (b"http://here/?x=http://there/", "/", b"x=http://there/"),
        (b"*", "*", b""),
    ],
)
def test_targets_are_split(target: bytes, path: str, query: bytes) -> None:
    request = one(b"OPTIONS %s HTTP/1.1\r\n%s\r\n" % (target, HOST))
    assert (request.scope["path"], request.scope["query_string"]) == (path, query)


@pytest.mark.parametrize(
    ("head", "keep"),
    [
        (b"GET / HTTP/1.1\r\n", True),
        (b"GET / HTTP/1.1\r\nconnection: close\r\n", False),
        (b"GET / HTTP/1.1\r\nConnection: Foo, Close\r\n", False),
        (b"GET / HTTP/1.0\r\n", False),
        (b"GET / HTTP/1.0\r\nconnection: keep-alive\r\n", True),
    ],
)
def test_who_wants_the_connection_kept(head: bytes, keep: bool) -> None:
    assert one(head + b"\r\n").keep is keep


def test_a_chunked_body_is_put_together_and_trailers_are_no_headers() -> None:
    request = one(
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
        b"3;extension=1\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-trailer: 1\r\nx-more: 2\r\n\r\n"
    )
    assert request.body == b"abc0123456789"
    assert request.scope["headers"] == [(b"transfer-encoding", b"chunked")]


def test_nothing_is_read_after_a_request_that_closes() -> None:
    closing = b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n"
    for pieces in ((closing + b"GET /more HTTP/1.1\r\n\r\n",), (closing, b"garbage", b"\0")):
        requests, error = read(*pieces)
        assert [asked(request) for request in requests] == [("GET", "/last", b"")]
        assert error is None


def test_empty_lines_between_requests_are_no_requests() -> None:
    made = incoming()
    made.feed(b"\r\n\r\n")
    assert made.partial_since is None
    made.feed(b"GET / HTTP/1.1\r\n\r\n")
    assert len(made.requests) == 1


MALFORMED = {
    "garbage": b"\x16\x03\x01\x02\x00\x01\x00\x01",
    "no version": b"GET / HTTP/\r\n\r\n",
    "http/1.2": b"GET / HTTP/1.2\r\n\r\n",
    "http/2 preface": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "a method of nobody": b"BREW / HTTP/1.1\r\n\r\n",
    "connect": b"CONNECT there:80 HTTP/1.1\r\nhost: there\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    "lone line feeds": b"GET / HTTP/1.1\nhost: here\n\n",
    "space before colon": b"GET / HTTP/1.1\r\nhost : here\r\n\r\n",
    "folded": b"GET / HTTP/1.1\r\nx: a\r\n b\r\n\r\n",
    "zero in header": b"GET / HTTP/1.1\r\nx: \0\r\n\r\n",
    "bytes in target": b"GET /\xc3\xa9 HTTP/1.1\r\n\r\n",
    "length and chunked": (
        b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "chunked and length": (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 3\r\n\r\n0\r\n\r\n"
    ),
    "two lengths": b"POST / HTTP/1.1\r\ncontent-length: 3\r\ncontent-length: 3\r\n\r\nabc",
    "a list of lengths": b"POST / HTTP/1.1\r\ncontent-length: 3, 3\r\n\r\nabc",
    "a signed length": b"POST / HTTP/1.1\r\ncontent-length: +3\r\n\r\nabc",
    "an endless length": b"POST / HTTP/1.1\r\ncontent-length: 99999999999999999999\r\n\r\n",
    "not chunked at last": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked, gzip\r\n\r\nabc",
    "a chunk of no size": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\nx\r\nabc\r\n",
    "a chunk too long": b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabc\r\n",
    "a length among trailers": (
        b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 3\r\n\r\nabc"
    ),
    "upgrade with a bad coding": (
        b"POST / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: gzip\r\n"
        b"\r\nabc"
    ),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_what_is_no_request_is_refused_and_what_was_before_is_not(name: str) -> None:
    good = b"GET /good HTTP/1.1\r\n\r\n"
    bad = good + good + MALFORMED[name] + b"\r\n\r\n" + good
    for pieces in ([bad], [bad[i : i + 1] for i in range(len(bad))]):
        requests, error = read(*pieces)
        assert [asked(request) for request in requests] == [("GET", "/good", b"")] * 2
        assert error is not None
        assert (error.status, error.reason) == (400, "malformed")


UPGRADE = b"Connection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAEAAEAAAA\r\nUpgrade: h2c\r\n"
UPGRADES = {
    "none": (b"GET /a HTTP/1.1\r\n" + UPGRADE + b"\r\n", b""),
    "length": (
        b"POST /a?b=%20c HTTP/1.1\r\n" + UPGRADE
        + b"content-length: 23\r\n\r\nGET /smuggled HTTP/1.1\r",
        b"GET /smuggled HTTP/1.1\r",
    ),
    "chunked": (
        b"POST /a HTTP/1.1\r\n" + UPGRADE + b"transfer-encoding: chunked\r\n\r\n"
        b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"abcde",
    ),
}  # fmt: skip


@pytest.mark.parametrize("body", UPGRADES)
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_an_upgrade_is_declined_and_its_body_is_a_body(body: str, size: int) -> None:
    sent, expected = UPGRADES[body]
    data = b"GET /before HTTP/1.1\r\n\r\n" + sent * 3 + b"GET /after HTTP/1.1\r\n\r\n"
    requests, error = read(*(data[i : i + size] for i in range(0, len(data), size)))
    assert error is None
    assert [request.body for request in requests] == [b"", expected, expected, expected, b""]
    assert [request.scope["path"] for request in requests] == ["/before", *["/a"] * 3, "/after"]
    assert all(request.keep for request in requests)
    names = [name for name, _ in requests[1].scope["headers"]]
    assert names[:2] == [b"connection", b"http2-settings"]
    assert b"upgrade" not in names
    query = b"b=%20c" if body == "length" else b""
    assert {request.scope["query_string"] for request in requests[1:4]} == {query}


def test_between_requests_a_parser_keeps_nothing_of_them() -> None:
    made = incoming()
    made.feed(b"POST /a HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\nbody")
    scope, body, _ = made.requests.popleft()
    held = [scope["headers"], *scope["headers"], body]
    assert not [what for what in held if made in gc.get_referrers(what)]
    made.feed(b"GET /b HTTP/1.1\r\n\r\n")
    assert scope["headers"][0] == (b"host", b"here")
    assert made.requests[0].scope["headers"] == []


LATER = b"POST /later HTTP/1.1\r\nhost: here\r\ncontent-length: 4\r\n\r\nbody"


def test_a_request_may_be_read_later_and_came_when_it_came() -> None:
    made = incoming()
    before = time.perf_counter()
    assert made.put_off(LATER)
    came = time.perf_counter()
    assert made.unread == LATER
    assert not made.requests
    time.sleep(0.01)
    made.read()
    assert made.unread == b""
    assert asked(made.requests[0]) == ("POST", "/later", b"body")
    assert before <= made.requests[0].scope[RECEIVED] <= came


def test_what_comes_after_bytes_that_were_put_off_is_read_after_them() -> None:
    made = incoming()
    assert made.put_off(LATER + LATER[:30])
    came = time.perf_counter()
    time.sleep(0.01)
    made.feed(LATER[30:])
    assert made.unread == b""
    assert [asked(request)[2] for request in made.requests] == [b"body", b"body"]
    first, second = (request.scope[RECEIVED] for request in made.requests)
    assert first <= came < second


def test_only_what_begins_a_request_by_post_can_be_read_later() -> None:
    for data in (b"", b"POST", b"GET / HTTP/1.1\r\n\r\n", b"\r\n" + LATER, b"garbage"):
        assert not incoming().put_off(data)
    made = incoming()
    made.feed(LATER[:-4])
    assert not made.put_off(LATER)  # it is a body
    made.feed(b"POST")
    assert not made.put_off(LATER)  # it is not the next
    assert made.unread == b""
    assert made.requests.popleft().body == b"POST"
    assert made.put_off(LATER)
    assert not made.put_off(LATER)
    assert made.unread == LATER


@pytest.mark.parametrize("name", MALFORMED)
def test_a_fault_in_what_was_put_off_is_found_when_it_is_read(name: str) -> None:
    for more in (None, LATER):
        made = incoming()
        assert made.put_off(LATER + MALFORMED[name])
        with pytest.raises(RequestError):
            made.feed(more) if more else made.read()
        assert [request.body for request in made.requests] == [b"body"]


def test_nothing_put_off_is_read_after_a_request_that_closes() -> None:
    made = incoming()
    made.feed(b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n")
    made.requests.clear()
    assert made.put_off(LATER)
    made.read()
    assert not made.requests


def test_an_upgrade_may_be_the_last_request() -> None:
    closing = (
        b"POST / HTTP/1.1\r\nconnection: upgrade, close\r\nupgrade: h2c\r\ncontent-length: 2\r\n"
        b"\r\nab"
    )
    requests, error = read(closing + b"garbage", b"garbage")
    assert error is None
    assert [(request.body, request.keep) for request in requests] == [(b"ab", False)]


def test_many_upgrades_in_one_piece_are_no_deep_hole() -> None:
    requests, error = read(UPGRADES["none"][0] * 2000, max_head_bytes=1 << 20)
    assert error is None
    assert len(requests) == 2000


@pytest.mark.parametrize("size", [1, 50, 10_000])
def test_a_head_may_be_so_long_whatever_pieces_it_comes_in(size: int) -> None:
    def data(padding: int) -> bytes:
        return b"GET / HTTP/1.1\r\nx: %s\r\n\r\n" % (b"a" * padding)

    for padding, fits in ((250, True), (310, False), (5000, False)):
        sent = data(padding)
        requests, error = read(*(sent[i : i + size] for i in range(0, len(sent), size)))
        assert len(requests) == fits
        if not fits:
            assert isinstance(error, HeadTooLargeError)
            assert error.status == 431
            assert str(error) == "headers: expected at most 300 bytes, given more"


def test_a_head_that_never_ends_is_refused_before_it_fills_the_memory() -> None:
    for beginning in (b"GET /", b"GET / HTTP/1.1\r\nx: ", b"GET / HTTP/1.1\r\nx"):
        requests, error = read(beginning, *[b"a" * 50] * 10)
        assert requests == []
        assert isinstance(error, HeadTooLargeError)


@pytest.mark.parametrize("part", [b"1;", b"0\r\nx: ", b"0\r\nx"])
def test_trailers_and_extensions_that_never_end_are_refused(part: bytes) -> None:
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    requests, error = read(head + part, *[b"a" * 50] * 10)
    assert requests == []
    assert isinstance(error, HeadTooLargeError)


def test_small_requests_in_large_pieces_are_no_large_head() -> None:
    request = b"GET / HTTP/1.1\r\n%s\r\n" % HOST
    data = request * 100
    cut = len(request) // 2
    # Each piece ends some request and begins another: none of them is long.
    requests, error = read(data[:cut], data[cut : cut + 2000], data[cut + 2000 :])
    assert error is None
    assert len(requests) == 100


def test_many_small_chunks_are_no_large_head() -> None:
    chunks = [b"1\r\n", b"a", b"\r\n"] * 90 + [b"0\r\n", b"\r\n"]
    requests, error = read(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n", *chunks)
    assert error is None
    assert requests[0].body == b"a" * 90


def test_a_body_in_tiny_pieces_takes_up_not_much_more_than_its_length() -> None:
    made, size = incoming(max_body_bytes=1 << 20), 300_000
    made.feed(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
    tracemalloc.start()
    try:
        for _ in range(size // 200):
            made.feed(b"2\r\nab\r\n" * 100)
        assert tracemalloc.get_traced_memory()[0] < 2 * size
    finally:
        tracemalloc.stop()
    made.feed(b"0\r\n\r\n")
    assert made.requests[0].body == b"ab" * (size // 2)


def test_a_body_announced_too_large_is_refused_before_it_comes() -> None:
    requests, error = read(b"POST / HTTP/1.1\r\ncontent-length: 101\r\n\r\n")
    assert requests == []
    assert isinstance(error, BodyTooLargeError)
    assert str(error) == "body: expected at most 100 bytes, given 101"


@pytest.mark.parametrize("size", [1, 10_000])
def test_a_body_may_be_so_large_however_it_comes(size: int) -> None:
    head = b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n"
    for length, fits in ((100, True), (101, False)):
        for sent in (
            head + b"1\r\na\r\n%x\r\n%s\r\n0\r\n\r\n" % (length - 1, b"a" * (length - 1)),
            b"POST / HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s" % (length, b"a" * length),
        ):
            requests, error = read(*(sent[i : i + size] for i in range(0, len(sent), size)))
            assert len(requests) == fits
            assert isinstance(error, BodyTooLargeError) is not fits


def test_whoever_waits_to_be_told_to_send_a_body_is_known() -> None:
    head = b"POST / HTTP/1.%d\r\nexpect: 100-Continue\r\ncontent-length: %d\r\n\r\n"
    for data, expects in (
        (head % (1, 3), True),
        (head % (0, 3), False),  # it would not know the answer
        (head % (1, 0), False),
        (head % (1, 3) + b"abc", False),
        (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\n", False),
    ):
        made = incoming()
        made.feed(data)
        assert made.expects is expects
    made = incoming()
    with pytest.raises(BodyTooLargeError):
        made.feed(head % (1, 101))


def test_it_is_known_since_when_a_request_is_not_complete() -> None:
    made, before = incoming(), time.monotonic()
    assert made.partial_since is None
    made.feed(b"P")
    begun = made.partial_since
    assert begun is not None
    assert before <= begun <= time.monotonic()
    made.feed(b"OST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab")
    assert made.partial_since == begun
    made.feed(b"cGET / HT")
    assert made.partial_since is not None
    assert made.partial_since > begun
    made.feed(b"TP/1.1\r\n\r\n")
    assert made.partial_since is None


VALID = (
    b"GET / HTTP/1.1\r\nhost: here\r\n\r\n",
    b"POST /a?b=c HTTP/1.1\r\nhost: here\r\ncontent-length: 11\r\n\r\nhello world",
    b"\r\nHEAD /a%2Fb HTTP/1.1\r\nX-Empty:\r\nx-long: " + b"long " * 10 + b"\r\n\r\n",
    b"PUT /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTrailer: x\r\n\r\n"
    b"5;a=b\r\nhello\r\n6\r\n world\r\n0\r\nx: 1\r\n\r\n",
    b"POST /d HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 3\r\n\r\nabc",
    b"GET /old HTTP/1.0\r\nconnection: keep-alive\r\n\r\n",
    UPGRADES["none"][0],
    UPGRADES["length"][0],
    UPGRADES["chunked"][0],
    b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n",
)


def read_late(pieces: list[bytes], draw: st.DataObject) -> list[Request]:
    """As `read`, but what can be put off sometimes is, and is read later or when more comes."""
    made = incoming(max_head_bytes=1000)
    requests: list[Request] = []
    for piece in pieces:
        if draw.draw(st.booleans()) and made.put_off(piece):
            if draw.draw(st.booleans()):
                made.read()
        else:
            made.feed(piece)
        if draw.draw(st.booleans()):
            requests += made.requests
            made.requests.clear()
    if made.unread:
        made.read()
    return [*requests, *made.requests]


@given(st.lists(st.sampled_from(VALID), min_size=1, max_size=6), st.data())
def test_pieces_make_no_difference(sent: list[bytes], draw: st.DataObject) -> None:
    stream = b"".join(sent)
    cuts = draw.draw(st.lists(st.integers(0, len(stream)), max_size=40).map(sorted))
    pieces = [
        stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
    ]
    whole, error = read(stream, max_head_bytes=1000)
    assert error is None
    cut, error = read(*pieces, max_head_bytes=1000)
    assert error is None
    late = read_late(pieces, draw)
    for request in (*whole, *cut, *late):
        del request.scope[RECEIVED]
    assert cut == whole
    assert late == whole
    closing = [i for i, request in enumerate(sent) if b"/last" in request]
    assert len(whole) == (closing[0] + 1 if closing else len(sent))


_WORDS = st.sampled_from(
    [
        b"GET ", b"POST ", b"CONNECT ", b"/", b"http://", b"a", b"?", b"%", b"%zz", b" ", b"\r\n",
        b"\r\n\r\n", b"\n", b" HTTP/1.1\r\n", b" HTTP/1.0\r\n", b" HTTP/2.0\r\n", b"connection: ",
        b"close", b"upgrade", b"upgrade: h2c\r\n", b"content-length: ", b"3", b"400",
        b"transfer-encoding: ", b"chunked", b"gzip", b"expect: 100-continue\r\n", b"x: ", b"0",
        b"3\r\nabc\r\n", b"0\r\n\r\n", b":", b"\0", b"\xff", b"a" * 400, *VALID,
    ]
)  # fmt: skip


@given(st.lists(st.one_of(st.binary(max_size=20), _WORDS), max_size=30))
def test_whatever_comes_is_read_or_refused(pieces: list[bytes]) -> None:
    made = incoming()
    for piece in pieces:
        try:
            made.feed(piece)
        except RequestError:
            break
    for request in made.requests:
        assert len(request.body) <= SMALL["max_body_bytes"]
        assert isinstance(request.scope["path"], str)


@given(st.lists(_WORDS, max_size=30))
def test_what_is_refused_does_not_depend_on_the_pieces_but_for_the_reason(
    words: list[bytes],
) -> None:
    requests, error = read(*words, max_head_bytes=1 << 20)
    whole, whole_error = read(b"".join(words), max_head_bytes=1 << 20)
    assert [asked(request) for request in whole] == [asked(request) for request in requests]
    assert (whole_error is None) == (error is None)
