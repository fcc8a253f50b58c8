"""The load generator as a process of its own, commanded over JSON lines.

One start-up serves many probes: a search makes dozens, and starting Python for each would cost
more time than the probes. A process of its own also keeps the caller's work off the clock.

    → {"setup": {…}} | {"open": {…}} | {"closed": {…}} | {"phased": {…}}    one command a line
    ← {"ready": bodies} | {"open": {…}} | {"closed": {…}} | {"phased": {…}} | {"error": "…"}
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from pydantic import Field

from loadtest.documents import Document
from loadtest.errors import GeneratorError, LoadTestError
from loadtest.measurement import ClosedResult, ClosedSpec, Probe, ProbeSpec
from loadtest.phases import PhasedResult, PhasedSpec


class Setup(Document):
    """What the generator sends: bodies from a store's held-out rows, or one from a file."""

    url: str
    model: str = ""
    store: str = ""
    rows: int = 1
    bodies: int = 1024
    seed: int = 0
    body_file: str = ""
    path: str = ""
    """URL path in place of the model's infer path."""
    headers: dict[str, str] = Field(default_factory=dict)
    """Of every request, besides the usual ones or in their place."""
    precedence: bool = True
    """Whether the generator goes before the server where both want a core."""
    cores: tuple[int, ...] = ()
    """The generator stays on these; none: it may run on any."""


class Generator:
    """Handle of a running generator process; a context manager that ends it.

    Raises:
        GeneratorError: the process answered with an error, or is gone.
    """

    def __init__(self, setup: Setup) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "loadtest.generator"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            # Ctrl-C reaches the whole terminal group: the parent decides when this one ends.
            start_new_session=True,
        )
        try:
            self.bodies = int(self._ask({"setup": setup.model_dump()})["ready"])
        except GeneratorError:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """Process id, for the accounting of CPU time."""
        return self._process.pid

    def open_loop(self, spec: ProbeSpec) -> Probe:
        """Make one open-loop run."""
        return Probe.model_validate(self._ask({"open": spec.model_dump()})["open"])

    def closed_loop(self, spec: ClosedSpec) -> ClosedResult:
        """Make one closed-loop run."""
        return ClosedResult.model_validate(self._ask({"closed": spec.model_dump()})["closed"])

    def phased(self, spec: PhasedSpec) -> PhasedResult:
        """Make one open-loop run whose rate changes."""
        return PhasedResult.model_validate(self._ask({"phased": spec.model_dump()})["phased"])

    def _ask(self, command: dict[str, Any]) -> dict[str, Any]:
        stdin, stdout = self._pipes()
        try:
            stdin.write(json.dumps(command) + "\n")
            stdin.flush()
            line = stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise GeneratorError(f"the load generator ended with code {self._process.wait()}")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise GeneratorError(str(answer["error"]))
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self._process.stdin is None or self._process.stdout is None:
            raise GeneratorError("the load generator has no pipes")
        return self._process.stdin, self._process.stdout

    def close(self) -> None:
        """End the process."""
        for pipe in self._pipes():
            with contextlib.suppress(BrokenPipeError):  # what was left to send has no reader
                pipe.close()
        try:
            self._process.wait(timeout=1.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Generator:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _bodies(setup: Setup) -> list[bytes]:
    # Imported here: the handle above is used where numpy and gevent need not be loaded.
    from loadtest.payloads import bodies
    from loadtest.store import Store

    if setup.body_file:
        return [Path(setup.body_file).read_bytes()]
    store = Store(setup.store, setup.model)
    samples = store.samples()
    return list(bodies(store.model, samples, rows=setup.rows, limit=setup.bodies, seed=setup.seed))


def serve(commands: IO[str], answers: IO[str]) -> None:
    """Answer commands line by line until they end."""
    from loadtest.engine import Engine

    engine: Engine | None = None
    for line in commands:
        command: dict[str, Any] = json.loads(line)
        try:
            if "setup" in command:
                setup = Setup.model_validate(command["setup"])
                if setup.cores:
                    os.sched_setaffinity(0, setup.cores)
                if setup.precedence:
                    take_precedence()
                bodies = _bodies(setup)
                engine = Engine(setup.url, setup.model, bodies, setup.path, setup.headers)
                answer: dict[str, Any] = {"ready": len(bodies)}
            elif engine is None:
                answer = {"error": "no setup came before the first run"}
            elif "open" in command:
                spec = ProbeSpec.model_validate(command["open"])
                answer = {"open": engine.open_loop(spec).model_dump()}
            elif "phased" in command:
                phased = PhasedSpec.model_validate(command["phased"])
                answer = {"phased": engine.phased(phased).model_dump()}
            else:
                closed = ClosedSpec.model_validate(command["closed"])
                answer = {"closed": engine.closed_loop(closed).model_dump()}
        except (LoadTestError, OSError, ValueError) as error:
            answer = {"error": f"{error}"}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


def take_precedence() -> bool:
    """Ask for real-time scheduling; returns whether it was granted.

    On a machine shared with the server a normal process waits 3–5 ms for its turn now and then,
    which is the generator's lateness and not the server's. A real-time one waits 0.3 ms (p99, both
    cores busy). It never spins, so it takes only the time it needs to send and to read.

    Not on the cores of a server that answers thousands of requests a second: a real-time process
    is woken on the core where it last was, although another one is idle, and so off and on both
    share a core for tens of milliseconds, the server put aside at each answer it sends. Measured
    with the int8 student on 2 cores at 3,500 req/s, four pairs in a quiet hour: p99 59, 27, 13 and
    40 ms, with a normal generator 4.8, 5.3, 5.2 and 8.6 ms. A higher priority (nice -5 to -20)
    mostly did no better than real time. With the server on the other core it is late by 0.2 to
    0.4 ms where a normal one, beside Ray's processes, is by 1.3 to 8 (p99 of five pairs).
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    except (AttributeError, PermissionError):
        return False
    return True


if __name__ == "__main__":
    serve(sys.stdin, sys.stdout)
