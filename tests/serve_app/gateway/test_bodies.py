from __future__ import annotations

import asyncio
from typing import Any

import pytest

from serve_app.asgi import Message
from serve_app.errors import BodyTimeoutError, BodyTooLargeError
from serve_app.gateway.bodies import Bodies
from serve_app.gateway.http import DisconnectedError

SCOPE: dict[str, Any] = {"headers": []}


class Client:
    """Sends what it is given; then it sends nothing more, and does not go away."""

    def __init__(self, *messages: Message) -> None:
        self._messages = list(messages)

    async def receive(self) -> Message:
        if not self._messages:
            await asyncio.Event().wait()
        return self._messages.pop(0)


def part(body: bytes, more: bool = True) -> Message:
    return {"type": "http.request", "body": body, "more_body": more}


async def test_bodies_come_whole_or_in_parts() -> None:
    bodies = Bodies(100, 5.0)
    assert await bodies.read(SCOPE, Client(part(b"abc", more=False)).receive) == b"abc"
    parts = Client(part(b"ab"), part(b""), part(b"c", more=False))
    assert await bodies.read(SCOPE, parts.receive) == b"abc"


@pytest.mark.parametrize("client", [Client(), Client(part(b"ab")), Client(part(b""), part(b"a"))])
async def test_what_does_not_come_is_given_up(client: Client) -> None:
    with pytest.raises(BodyTimeoutError, match=r"expected within 0\.02 s"):
        await Bodies(100, 0.02).read(SCOPE, client.receive)
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_many_at_once_and_the_others_are_not_disturbed() -> None:
    bodies = Bodies(100, 0.05)

    async def steady() -> bytes:
        await asyncio.sleep(0.03)
        return await bodies.read(SCOPE, late.receive)

    class Late(Client):
        async def receive(self) -> Message:
            await asyncio.sleep(0.03)
            return part(b"x", more=False)

    late = Late()
    slow = [bodies.read(SCOPE, Client(part(b"a")).receive) for _ in range(50)]
    *given_up, answered = await asyncio.gather(*slow, steady(), return_exceptions=True)
    assert {type(error) for error in given_up} == {BodyTimeoutError}
    assert answered == b"x"


async def test_a_caller_who_is_cancelled_stays_cancelled() -> None:
    bodies = Bodies(100, 5.0)
    task = asyncio.ensure_future(bodies.read(SCOPE, Client(part(b"a")).receive))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_client_may_go_away_or_send_too_much() -> None:
    bodies = Bodies(3, 5.0)
    with pytest.raises(DisconnectedError):
        await bodies.read(SCOPE, Client(part(b"a"), {"type": "http.disconnect"}).receive)
    with pytest.raises(BodyTooLargeError, match="expected at most 3 bytes, given more than 3"):
        await bodies.read(SCOPE, Client(part(b"ab"), part(b"cd")).receive)
    digits = {"headers": [(b"content-length", b"9" * 5000)]}
    with pytest.raises(BodyTooLargeError):
        await bodies.read(digits, Client().receive)
