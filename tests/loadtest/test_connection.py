"""Connections and the dispatcher against sockets that misbehave."""

from __future__ import annotations

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from loadtest.connection import Connection, Target, request_bytes
from loadtest.dispatcher import Dispatcher
from loadtest.recorder import OK, Recorder

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def read_request(client: Any) -> bytes:
    """A whole request's body, b"": the client went."""
    received = b""
    while b"\r\n\r\n" not in received:
        block = client.recv(65536)
        if not block:
            return b""
        received += block
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().rpartition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += client.recv(1 << 20)
    return body


@contextmanager
def server(
    handle: Callable[[Any], None], wrap: Callable[[Any], Any] = lambda client: client
) -> Iterator[int]:
    """Hands each connection to `handle` in a thread; yields the port."""
    listener = socket.create_server(("127.0.0.1", 0))

    def answer(client: Any) -> None:
        with wrap(client) as wrapped:
            handle(wrapped)

    def accept() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(client,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield listener.getsockname()[1]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def answer_all(client: Any) -> None:
    while body := read_request(client):
        client.sendall(ANSWER if body.strip(b"x") == b"" else b"HTTP/1.1 400 Bad\r\n\r\n")


def answer_once(client: Any) -> None:
    if read_request(client):
        client.sendall(ANSWER)


def never_answer(client: Any) -> None:
    while read_request(client):
        pass


def test_a_body_larger_than_the_sockets_buffers_is_sent_whole() -> None:
    with server(answer_all) as port:
        target = Target("127.0.0.1", port, tls=False)
        connection = Connection(target)
        for _ in range(2):
            assert connection.exchange(request_bytes(target, "/", b"x" * (16 << 20))) == OK
            assert connection.body == b"ok"
        connection.close()


def test_a_connection_that_the_server_closed_is_opened_again() -> None:
    with server(answer_once) as port:
        target = Target("127.0.0.1", port, tls=False)
        recorder = Recorder()
        pool = Dispatcher(target, [request_bytes(target, "/", b"x")], recorder, max_in_flight=1)
        pool.walk([0.0, 0.2, 0.4], lambda: False)
        pool.drain(5.0)
        pool.close()
    assert recorder.statuses == {OK: 3}


def test_who_is_not_answered_in_time_is_given_up_and_another_connection_taken() -> None:
    with server(never_answer) as port:
        target = Target("127.0.0.1", port, tls=False)
        recorder = Recorder()
        pool = Dispatcher(
            target, [request_bytes(target, "/", b"x")], recorder, 1, timeout_seconds=0.5
        )
        pool.walk([0.0, 2.5], lambda: False)
        pool.drain(0.1)
        pool.close()
    assert recorder.statuses == {0: 1}
    assert recorder.n_unfinished == 1


def test_it_speaks_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1",
         "-keyout", key, "-out", certificate, "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with server(answer_all, lambda client: context.wrap_socket(client, server_side=True)) as port:
        target = Target("127.0.0.1", port, tls=True)
        connection = Connection(target)
        for size in (1, 1 << 20):
            assert connection.exchange(request_bytes(target, "/", b"x" * size)) == OK
        connection.close()
