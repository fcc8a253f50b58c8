from __future__ import annotations

import asyncio
import gc
import shutil
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from compression.store import CorruptArtifactError, ModelStore, Publisher
from serve_app.backends.absent import AbsentBackend
from serve_app.backends.inline import InlineBackend
from serve_app.catalogue import Catalogue, Entry, read_entry
from serve_app.config import VariantConfig
from serve_app.errors import BackendUnavailableError, SelfCheckError, UnloadableError
from serve_app.gateway.lineup import Lineup
from serve_app.gateway.served import Served
from serve_app.metrics import GatewayMetrics
from serve_app.runners import Arrays
from serve_app.runners.base import Done, Outcome
from serve_app.runners.onnx_aside import Worker
from tests.serve_app.gateway.fakes import FakeBackend
from tests.support.store import CHAMPION, MODEL, build_store, make_onnx, make_samples, publish

ROW = make_samples().rows(0, 1)


class Stock:
    """A store and a lineup over it."""

    def __init__(self, store: str) -> None:
        self.folder = Path(store)
        self.store = ModelStore(store)
        self.metrics = GatewayMetrics(MODEL, (), "gateway-1")
        self.served = Served(self.store.model(MODEL))
        self.deployed = {"slow": lambda _: FakeBackend(0.9)}
        self.lineup = Lineup(self.store, self.served, self.deployed, self.metrics)

    def entry(self, name: str, **options: Any) -> Entry:
        return read_entry(self.store, MODEL, VariantConfig(name=name, **options))

    def catalogue(self, *names: str, version: int = 1, planned: bool = True) -> Catalogue:
        entries = tuple(self.entry(name) for name in names)
        return Catalogue(version=version, planned=planned, entries=entries)

    def publish(self, name: str, shift: float, **more: Any) -> None:
        """Publish, or publish anew."""
        shutil.rmtree(self.folder / MODEL / "variants" / name, ignore_errors=True)
        publish(Publisher(str(self.folder)), name, make_onnx(shift=shift), shift=shift, **more)

    @property
    def in_memory(self) -> float:
        """What the metric of that name says."""
        for name, _, _, samples in self.metrics.families():
            if name == "slimserve_loaded_variants":
                return samples[0][2]
        raise AssertionError


@pytest.fixture
def stock(tmp_path: Path) -> Stock:
    return Stock(build_store(tmp_path))


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is freed is freed by its last holder, not some time later."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


async def score(lineup: Lineup, name: str) -> float:
    return float((await lineup.backends[name].infer(ROW, 1)).outputs["score"][0])


async def settled(condition: Any) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


async def test_it_serves_what_the_catalogue_says(stock: Stock) -> None:
    lineup, told = stock.lineup, []
    stock.served.when_changed(lambda: told.append(tuple(stock.served.manifests)))
    first = stock.catalogue(CHAMPION, "poor")
    await lineup.begin(first)
    assert (list(lineup.backends), lineup.version) == ([CHAMPION, "poor"], 1)
    assert stock.served.weightable == {CHAMPION}
    more = first.including(stock.entry("close"))
    await lineup.apply(more)
    assert list(lineup.backends) == [CHAMPION, "poor", "close"]
    assert stock.served.weightable == {CHAMPION, "close"}
    await lineup.apply(more)
    await lineup.apply(more.without("poor"))
    assert told == [(CHAMPION, "poor"), (CHAMPION, "poor", "close"), (CHAMPION, "close")]


async def test_versions_are_followed_and_the_rest_is_left_alone(stock: Stock) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION, "close"))
    before = dict(lineup.backends)
    await lineup.apply(stock.catalogue(CHAMPION, "close", "opposite", version=2))
    assert {name: lineup.backends[name] for name in before} == before
    await lineup.apply(stock.catalogue(CHAMPION, version=3))
    assert (list(lineup.backends), list(stock.served.manifests)) == ([CHAMPION], [CHAMPION])
    assert "close" in lineup.thresholds


async def test_what_is_prepared_is_not_served_yet_and_not_loaded_again(stock: Stock) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION))
    wanted = stock.catalogue(CHAMPION, "close", version=2)
    await lineup.prepare(wanted)
    assert (list(lineup.backends), stock.in_memory) == ([CHAMPION], 2)
    shutil.rmtree(stock.folder / MODEL / "variants" / "close")
    await lineup.apply(wanted)
    assert (list(lineup.backends), stock.in_memory) == ([CHAMPION, "close"], 2)


async def test_what_is_not_wanted_after_all_is_let_go(stock: Stock) -> None:
    await stock.lineup.begin(stock.catalogue(CHAMPION))
    await stock.lineup.prepare(stock.catalogue(CHAMPION, "close", version=2))
    await stock.lineup.prepare(stock.catalogue(CHAMPION))
    await settled(lambda: stock.in_memory == 1)


class Held:
    """Stands before what computes aside, and gives back what was computed when it is told to."""

    def __init__(self, backend: InlineBackend) -> None:
        self.started, self.go = threading.Event(), threading.Event()
        batcher = backend._batcher
        self._aside, batcher._aside, batcher._direct_rows = batcher._aside, self, 0

    def begin(self, inputs: Arrays, done: Done) -> None:
        """See `Aside.begin`."""

        def held(outcome: Outcome) -> None:
            self.started.set()
            self.go.wait(5)
            done(outcome)

        self._aside.begin(inputs, held)

    def close(self) -> None:
        """See `Aside.close`."""
        self._aside.close()


async def test_a_removed_variant_answers_who_was_assigned_to_it_and_is_freed(
    stock: Stock, no_collector: None
) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION, "close"))
    backend = lineup.backends["close"]
    assert isinstance(backend, InlineBackend)
    held = Held(backend)
    worker = held._aside
    assert isinstance(worker, Worker)
    sessions = [weakref.ref(backend._runner._session), weakref.ref(worker._session)]  # type: ignore[attr-defined]
    request = asyncio.create_task(backend.infer(ROW, 1))
    waiting = asyncio.create_task(backend.infer(ROW, 1))
    del backend, worker
    await settled(held.started.is_set)
    await lineup.apply(stock.catalogue(CHAMPION, version=2))
    assert "close" not in lineup.backends
    assert all(session() is not None for session in sessions)
    assert stock.in_memory == 2
    held.go.set()
    scores = [(await one).outputs["score"] for one in (request, waiting)]
    assert all(np.isfinite(score).all() for score in scores)
    del request, waiting, held
    await settled(lambda: all(session() is None for session in sessions))
    assert stock.in_memory == 1


async def test_another_publication_takes_the_place_of_the_first(
    stock: Stock, no_collector: None
) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION, "close"))
    session = weakref.ref(lineup.backends["close"]._runner._session)  # type: ignore[attr-defined]
    before = await score(lineup, "close")
    stock.publish("close", shift=1.0)
    await lineup.apply(stock.catalogue(CHAMPION, "close", version=2))
    assert await score(lineup, "close") > before
    await settled(lambda: session() is None)
    assert stock.in_memory == 2


async def test_one_that_cannot_be_loaded_changes_nothing(stock: Stock) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION))
    stock.publish("wrong", shift=0.0, probe_offset=0.1)
    with pytest.raises(UnloadableError, match="'wrong' scores sample row"):
        await lineup.prepare(stock.catalogue(CHAMPION, "close", "wrong", version=2))
    assert (list(lineup.backends), lineup.version) == ([CHAMPION], 1)
    await lineup.prepare(stock.catalogue(CHAMPION))
    await settled(lambda: stock.in_memory == 1)


async def test_one_published_anew_meanwhile_is_not_taken_for_the_other(stock: Stock) -> None:
    lineup = stock.lineup
    await lineup.begin(stock.catalogue(CHAMPION))
    wanted = stock.catalogue(CHAMPION, "close", version=2)
    stock.publish("close", shift=1.0)
    with pytest.raises(UnloadableError, match="'close' was published anew"):
        await lineup.apply(wanted)


async def test_a_deployment_is_reached_and_not_loaded(stock: Stock) -> None:
    entries = (stock.entry(CHAMPION), stock.entry("slow", placement="deployment"))
    await stock.lineup.begin(Catalogue(entries=entries))
    assert await score(stock.lineup, "slow") == pytest.approx(0.9)
    assert stock.in_memory == 1
    unknown = stock.entry("close", placement="deployment")
    with pytest.raises(UnloadableError, match="not deployed with"):
        await stock.lineup.apply(Catalogue(version=2, entries=(*entries, unknown)))


async def test_the_first_start_must_have_all_that_is_configured(stock: Stock) -> None:
    stock.publish("wrong", shift=0.0, probe_offset=0.1)
    with pytest.raises(SelfCheckError):
        await stock.lineup.begin(stock.catalogue(CHAMPION, "wrong"))


async def test_a_later_start_leaves_what_is_gone_to_the_champion(stock: Stock) -> None:
    lineup = stock.lineup
    changed = stock.catalogue(CHAMPION, "close", "poor", version=4, planned=False)
    shutil.rmtree(stock.folder / MODEL / "variants" / "poor")
    stock.publish("close", shift=1.0)
    await lineup.begin(changed)
    for name in ("close", "poor"):
        assert isinstance(lineup.backends[name], AbsentBackend)
        assert not await lineup.backends[name].ready()
        with pytest.raises(BackendUnavailableError, match="load the variant again"):
            await lineup.backends[name].infer(ROW, 1)
    again = changed.without("poor").including(stock.entry("close"))
    await lineup.apply(again)
    assert await lineup.backends["close"].ready()


async def test_an_absent_variant_is_tried_again_when_it_is_loaded_again(stock: Stock) -> None:
    lineup = stock.lineup
    changed = stock.catalogue(CHAMPION, "close", version=4, planned=False)
    folder = stock.folder / MODEL / "variants" / "close"
    folder.rename(stock.folder / "aside")
    await lineup.begin(changed)
    (stock.folder / "aside").rename(folder)
    await lineup.apply(changed.including(changed.entries[1]))
    assert isinstance(lineup.backends["close"], InlineBackend)


async def test_the_champion_is_never_left_out(stock: Stock) -> None:
    changed = stock.catalogue(CHAMPION, version=4, planned=False)
    stock.publish(CHAMPION, shift=1.0)
    await stock.lineup.begin(changed)
    assert await stock.lineup.backends[CHAMPION].ready()
    broken = Stock(str(stock.folder))
    (stock.folder / MODEL / "variants" / CHAMPION / "model.onnx").write_bytes(b"cut off")
    with pytest.raises(CorruptArtifactError):
        await broken.lineup.begin(changed)
