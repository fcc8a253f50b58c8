"""`python -m serve_app profile`: what each microsecond of a request is spent on, in the process.

Requests are handed to the application as an ASGI server would, by one caller and by many at once.
Slices that are timed alternate with slices that are sampled: the sampler's own cost is in no
figure, and a slow minute of the machine is in both.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from compression.store import ModelStore
from serve_app.asgi import Handler, Message
from serve_app.config import AppConfig
from serve_app.errors import StartFailedError
from serve_app.profiling.sampler import Sampler
from serve_app.profiling.stages import ORDER
from serve_app.profiling.standalone import build

WARM_UP_REQUESTS = 200


@dataclass(frozen=True)
class Options:
    """What is profiled; `seconds` of timed slices, and as many of sampled ones."""

    store: str
    model: str
    variant: str
    rows: int = 1
    callers: tuple[int, ...] = (1, 16)
    seconds: float = 10.0
    slice_seconds: float = 0.5


@dataclass(frozen=True)
class Profile:
    """Microseconds of a request, whole and by stage, with `callers` asking at once.

    With many callers it is the process's time divided by the requests, not what one of them waits.
    """

    callers: int
    requests: int
    samples: int
    request_microseconds: float
    """Median of the timed slices."""
    stages_microseconds: dict[str, float]


def profile(options: Options) -> list[Profile]:
    """Profile each number of callers.

    Raises:
        StoreError, SelfCheckError: as the server would.
        StartFailedError: the application does not answer 200 to the store's own rows.
    """
    store = str(Path(AppConfig(store=options.store, model=options.model).store))
    app = build(store, options.model, options.variant)
    body = request_body(store, options.model, options.rows)
    path = f"/v2/models/{options.model}/versions/{options.variant}/infer"
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        return runner.run(_profile(app, path, body, options))


def _loop_factory() -> Any:
    """uvloop where it is installed, as in Ray's replicas; else asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


def request_body(store: str, model: str, rows: int) -> bytes:
    """JSON of the store's first rows."""
    opened = ModelStore(store)
    batch = opened.samples(model).rows(0, rows)
    inputs = [
        {
            "name": spec.name,
            "shape": list(batch[spec.name].shape),
            "datatype": spec.datatype,
            # As a client would write them: float32 0.1 is 0.1, not 0.10000000149011612.
            "data": [float(f"{value:.7g}") for value in batch[spec.name].ravel().tolist()],
        }
        for spec in opened.model(model).inputs
    ]
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


async def _profile(app: Handler, path: str, body: bytes, options: Options) -> list[Profile]:
    caller = _Caller(app, path, body)
    for _ in range(WARM_UP_REQUESTS):
        await caller.ask()
    if caller.status != 200:
        raise StartFailedError(f"the application answers {caller.status}: {caller.answer!r}")
    return [await _with_callers(caller, number, options) for number in options.callers]


async def _with_callers(caller: _Caller, callers: int, options: Options) -> Profile:
    rounds = max(1, round(options.seconds / options.slice_seconds))
    timed: list[float] = []
    samples: Counter[str] = Counter()
    requests = 0
    for number in range(rounds):
        count, seconds = await _slice(caller, callers, options.slice_seconds)
        timed.append(seconds / count)
        requests += count
        with Sampler(seed=number) as sampler:
            await _slice(caller, callers, options.slice_seconds)
        samples += sampler.samples
    middle = float(np.median(timed)) * 1e6
    total = max(1, samples.total())
    return Profile(
        callers=callers,
        requests=requests,
        samples=samples.total(),
        request_microseconds=middle,
        stages_microseconds={
            stage: middle * samples[stage] / total for stage in ORDER if samples[stage]
        },
    )


async def _slice(caller: _Caller, callers: int, seconds: float) -> tuple[int, float]:
    """Requests answered and seconds taken."""
    started = time.perf_counter()
    end = started + seconds

    async def keep_asking() -> int:
        count = 0
        while time.perf_counter() < end:
            await caller.ask()
            count += 1
        return count

    counts = await asyncio.gather(*(keep_asking() for _ in range(callers)))
    return sum(counts), time.perf_counter() - started


class _Caller:
    """An ASGI server's part of a request, as short as can be."""

    def __init__(self, app: Handler, path: str, body: bytes) -> None:
        self._app = app
        self._message: Message = {"type": "http.request", "body": body, "more_body": False}
        self._scope: dict[str, Any] = {
            "type": "http",
            "method": "POST",
            "path": path,
            "headers": [
                (b"host", b"127.0.0.1:8000"),
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
            ],
        }
        self.status = 0
        self.answer = b""

    async def ask(self) -> None:
        """One request."""
        await self._app(dict(self._scope), self._receive, self._send)

    async def _receive(self) -> Message:
        return self._message

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.answer = message.get("body", b"")


def as_document(options: Options, profiles: list[Profile]) -> dict[str, Any]:
    """The profile as plain data."""
    return {
        "model": options.model,
        "variant": options.variant,
        "rows": options.rows,
        "profiles": [asdict(profile) for profile in profiles],
    }


def as_text(options: Options, profiles: list[Profile]) -> str:
    """A table for people: one line a stage, one column a number of callers."""
    heads = [f"{profile.callers} callers" for profile in profiles]
    lines = [f"{'µs a request':14}" + "".join(f"{head:>14}" for head in heads)]
    for stage in ORDER:
        cells = [profile.stages_microseconds.get(stage, 0.0) for profile in profiles]
        if any(cells):
            lines.append(f"{stage:14}" + "".join(f"{cell:14.1f}" for cell in cells))
    totals = [profile.request_microseconds for profile in profiles]
    lines.append(f"{'all':14}" + "".join(f"{total:14.1f}" for total in totals))
    lines.append(
        f"{options.variant}, {options.rows} row(s), "
        + ", ".join(f"{profile.samples:,} samples" for profile in profiles)
    )
    return "\n".join(lines)
