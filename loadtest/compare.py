"""`python -m loadtest compare`: checks, measures, and leaves the report behind."""

from __future__ import annotations

import datetime
from collections.abc import Callable
from pathlib import Path

from pydantic import PositiveFloat

from loadtest.campaign import Campaign
from loadtest.console import ProgressBar
from loadtest.documents import Document
from loadtest.environment import describe
from loadtest.errors import StoppedError, UnknownModelError
from loadtest.generator import Generator, Setup
from loadtest.ledger import Ledger, LoadDocument, Settings
from loadtest.plan import PROFILES, Profile
from loadtest.processes import make_accountant
from loadtest.server import Server
from loadtest.store import Manifest, Store, choose
from loadtest.validity import Limits


class Request(Document):
    """What the user asked to compare."""

    url: str
    store: str
    model: str
    out: Path
    variants: tuple[str, ...] = ()
    profile: Profile = "quick"
    slo_seconds: PositiveFloat = 0.05
    budget_seconds: float | None = None
    rounds: int | None = None
    rows: int = 1
    arrival: str = "poisson"
    seed: int = 0
    fresh: bool = False


def compare(request: Request, say: Callable[[str], None]) -> LoadDocument:
    """Measure what was asked for; `say` shows a sentence to the user.

    Raises:
        LoadTestError: the store or the server is not what is needed, or StoppedError on Ctrl-C.
    """
    store = Store(request.store, request.model)
    server = Server(request.url)
    server.wait_ready()
    served, notes = _served(request, store, server)
    document = LoadDocument(
        settings=_settings(request, served),
        server=server.identity(),
        environment=describe(request.url),
        started_at=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        notes=tuple(notes),
    )
    ledger = Ledger(request.out)
    if not request.fresh:
        document, note = ledger.resume(document)
        if note:
            say(note)
    for note in notes:
        say(note)
    return _measure(document, ledger)


def _served(
    request: Request, store: Store, server: Server
) -> tuple[dict[str, Manifest], list[str]]:
    """The variants to measure; one that is only missing from the server is left out, and said."""
    server.check_model(store.model)
    samples = store.samples()
    served: dict[str, Manifest] = {}
    notes: list[str] = []
    for name, manifest in choose(store.manifests(), list(request.variants)).items():
        try:
            server.check_variant(store.model, manifest, samples)
        except UnknownModelError:
            if name in request.variants or manifest.gate.verdict == "reference":
                raise
            notes.append(f"{name} is in the store but not served: left out")
            continue
        served[name] = manifest
    return served, notes


def _settings(request: Request, served: dict[str, Manifest]) -> Settings:
    plan = PROFILES[request.profile]
    return Settings(
        url=request.url,
        store=request.store,
        model=request.model,
        variants=tuple(served),
        artifacts={name: manifest.lineage.content_sha256 for name, manifest in served.items()},
        profile=request.profile,
        rounds=request.rounds or plan.rounds,
        rows_per_request=request.rows,
        limits=Limits(slo_seconds=request.slo_seconds),
        arrival=request.arrival,
        seed=request.seed,
        budget_seconds=request.budget_seconds or plan.budget_seconds,
    )


def _measure(document: LoadDocument, ledger: Ledger) -> LoadDocument:
    settings = document.settings
    setup = Setup(
        url=settings.url,
        model=settings.model,
        store=settings.store,
        rows=settings.rows_per_request,
        seed=settings.seed,
    )
    with Generator(setup) as generator, ProgressBar() as progress:
        accountant = make_accountant(settings.url, generator.pid)
        try:
            return Campaign(document, ledger, generator, accountant, progress).run()
        except KeyboardInterrupt as error:
            raise StoppedError(
                f"stopped; what was measured is in {ledger.path}: "
                "the same command goes on from there while the server keeps running"
            ) from error
