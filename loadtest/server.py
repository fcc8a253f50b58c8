"""Checks, before anything is measured, that the server is the one the store describes."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

from loadtest.connection import Target
from loadtest.documents import Document
from loadtest.errors import StoreMismatchError, UnknownModelError, UnreachableError
from loadtest.payloads import body, infer_path
from loadtest.processes import is_local, listeners
from loadtest.recorder import variant_of
from loadtest.store import Manifest, Model, Samples

_PROBE_ROWS = 8
_SCORE_TOLERANCE = 0.05
"""An int8 kernel of another CPU may differ in the second decimal; another model differs more."""


class ServerIdentity(Document):
    """What tells one run of a server from another."""

    name: str
    version: str
    started_at: tuple[float, ...]
    """Start times of the listening processes, Unix seconds; empty for a remote server."""


class Server:
    """Blocking client for the few calls that are not timed."""

    def __init__(self, url: str, timeout_seconds: float = 10.0) -> None:
        self.url = url.rstrip("/")
        self._target = Target.from_url(url)
        self._timeout_seconds = timeout_seconds

    def call(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> tuple[int, bytes]:
        """One request on a connection of its own, JSON unless `headers` say else.

        Raises:
            UnreachableError: nothing answers.
        """
        kind = HTTPSConnection if self._target.tls else HTTPConnection
        connection = kind(self._target.host, self._target.port, timeout=self._timeout_seconds)
        try:
            named = {"Content-Type": "application/json", **(headers or {})}
            connection.request(method, path, content, named)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, HTTPException) as error:
            raise UnreachableError(
                f"nothing answers at {self.url} ({error}): start the server first, "
                "or give its address with --url"
            ) from error
        finally:
            connection.close()

    def wait_ready(self, seconds: float = 10.0) -> None:
        """Wait until the server says it is ready.

        Raises:
            UnreachableError: it does not within `seconds`, or nothing answers.
        """
        end = time.monotonic() + seconds
        while (status := self.call("GET", "/v2/health/ready")[0]) != 200:
            if time.monotonic() > end:
                raise UnreachableError(
                    f"{self.url}/v2/health/ready still answers {status} after {seconds:.0f} s: "
                    "wait until the application is deployed, or look into its log"
                )
            time.sleep(0.5)

    def identity(self) -> ServerIdentity:
        """Name, version and start time of the server."""
        _, content = self.call("GET", "/v2")
        document = _json(content)
        local = is_local(self._target.host)
        processes = listeners(self._target.port) if local else []
        return ServerIdentity(
            name=str(document.get("name", "")),
            version=str(document.get("version", "")),
            started_at=tuple(sorted(process.create_time() for process in processes)),
        )

    def check_model(self, model: Model) -> None:
        """The server has the model, with the inputs that the store describes.

        Raises:
            UnknownModelError, StoreMismatchError: with what to do next.
        """
        status, content = self.call("GET", f"/v2/models/{model.name}")
        if status != 200:
            raise UnknownModelError(
                f"{self.url} answers {status} for the model {model.name!r}: "
                "serve the store that --store names, or give another --model"
            )
        served = {(t.get("name"), t.get("datatype")) for t in _json(content).get("inputs", [])}
        expected = {(tensor.name, tensor.datatype) for tensor in model.inputs}
        if served and served != expected:
            raise StoreMismatchError(
                f"{self.url} serves {model.name!r} with inputs {sorted(map(str, served))}, the "
                f"store has {sorted(map(str, expected))}: give the store that is served"
            )

    def check_variant(self, model: Model, manifest: Manifest, samples: Samples) -> None:
        """The variant answers by itself, and with the scores its manifest recorded.

        Raises:
            UnknownModelError, StoreMismatchError, UnreachableError: with what to do next.
        """
        rows = min(_PROBE_ROWS, len(samples), len(manifest.probe_scores) or 1)
        status, content = self.call(
            "POST", infer_path(model.name, manifest.name), body(model, samples, 0, rows)
        )
        if status == 404:
            raise UnknownModelError(
                f"{self.url} does not serve the variant {manifest.name!r} of {model.name!r}: "
                "publish and deploy it, or leave it out with --variants"
            )
        if status != 200:
            raise UnreachableError(
                f"{self.url} answers {status} when {manifest.name!r} is asked: "
                f"{content[:200].decode(errors='replace')}"
            )
        answered = variant_of(content)
        if answered not in ("", manifest.name):
            raise StoreMismatchError(
                f"{manifest.name!r} was asked for but {answered!r} answered: the variant is not "
                "loaded, look into the server's log"
            )
        self._check_scores(manifest, _scores(content, model.decision.output))

    def _check_scores(self, manifest: Manifest, scores: Sequence[float]) -> None:
        pairs = list(zip(manifest.probe_scores, scores, strict=False))
        worst = max((abs(stored - served) for stored, served in pairs), default=0.0)
        if worst > _SCORE_TOLERANCE:
            raise StoreMismatchError(
                f"{manifest.name!r} answers with scores up to {worst:.3f} away from those its "
                "manifest recorded: the server has another version of the store loaded"
            )


def _json(content: bytes) -> dict[str, Any]:
    try:
        document = json.loads(content)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _scores(content: bytes, output: str) -> list[float]:
    for tensor in _json(content).get("outputs", []):
        if tensor.get("name") == output:
            return [float(value) for value in tensor.get("data", [])]
    return []
