"""Which variants are wanted: what may become of the catalogue, and where it is kept.

    <state_dir>/<application>/<model>/catalogue.json

A catalogue that was changed at run time wins over the configuration for as long as a start would
plan the same from configuration and store; another plan wins over what was changed before it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compression.store import ModelDocument, ModelStore, StoreError
from serve_app.catalogue import Catalogue, Entry, read_entry
from serve_app.config import VariantConfig, explain
from serve_app.errors import (
    InvalidOptionsError,
    NeedsRedeployError,
    NotPublishedError,
    UnloadableError,
    VariantInUseError,
)
from serve_app.routing.table import RoutingTable

_log = logging.getLogger("serve_app")

_FILE = "catalogue.json"


class Keeper:
    """The catalogue of one model. Reads and writes files: keep it off the event loop."""

    def __init__(
        self, store: str, document: ModelDocument, planned: Catalogue, folder: Path
    ) -> None:
        self._store_uri = store
        self._document = document
        self._planned = planned
        self._path = folder / _FILE
        self.current = self._begin()

    def with_variant(self, name: str, options: Mapping[str, Any]) -> Catalogue:
        """The catalogue with `name` as it is published now.

        It is another version even where the variant is the same, so that a gateway that could not
        load it tries again; a deployment that is the same leaves the current one.
        `options` are keys of a variant's configuration; what they leave out stays as it is.

        Raises:
            NotPublishedError, InvalidOptionsError, NeedsRedeployError, UnloadableError: see there.
        """
        store = ModelStore(self._store_uri)
        before = self.current.find(name)
        try:
            if name not in (published := store.variants(self._document.name)):
                raise NotPublishedError(
                    f"variant {name!r} is not published, expected one of {', '.join(published)}"
                )
            self._check_document(store.model(self._document.name))
            entry = read_entry(store, self._document.name, _configured(name, before, options))
        except StoreError as error:
            raise UnloadableError(f"variant {name!r}: {error}") from error
        if entry == before and entry.config.placement == "deployment":
            return self.current
        _check_placement(entry, before)
        return self.current.including(entry)

    def without_variant(self, name: str) -> Catalogue:
        """The catalogue without `name`.

        Raises:
            NotPublishedError: it is not served.
            VariantInUseError: it is the champion.
            NeedsRedeployError: it is a deployment.
        """
        before = self.current.find(name)
        if before is None:
            raise NotPublishedError(
                f"variant {name!r} is not served, expected one of {', '.join(self.current.names)}"
            )
        if name == self._document.champion:
            raise VariantInUseError(
                f"variant {name!r} is the champion, which answers when others fail: name another "
                "champion in model.json, then deploy again"
            )
        if before.config.placement == "deployment":
            raise NeedsRedeployError(
                f"variant {name!r} is a deployment of its own: take it out of `variants` in the "
                "configuration, then deploy again"
            )
        return self.current.without(name)

    def keep(self, catalogue: Catalogue) -> None:
        """Write a catalogue aside and move it into place; it is the current one from then on."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        aside = self._path.with_suffix(f".{os.getpid()}.aside")
        try:
            aside.write_text(f"{self._planned.digest()}\n{catalogue.model_dump_json(indent=2)}\n")
            os.replace(aside, self._path)
        finally:
            aside.unlink(missing_ok=True)
        self.current = catalogue

    def _begin(self) -> Catalogue:
        kept = self._kept()
        if kept is None:
            return self._planned
        digest, catalogue = kept
        if digest == self._planned.digest():
            return catalogue
        _log.info("configuration or store changed: catalogue %d is over", catalogue.version)
        return self._planned.model_copy(update={"version": catalogue.version + 1})

    def _kept(self) -> tuple[str, Catalogue] | None:
        """Digest of the plan it was changed from, and the catalogue; None where there is none."""
        try:
            digest, _, document = self._path.read_text().partition("\n")
            return digest, Catalogue.model_validate_json(document)
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            _log.warning("catalogue %s cannot be read: %s", self._path, error)
            return None

    def _check_document(self, published: ModelDocument) -> None:
        """Samples may be new; what requests, answers and routing hang on may not."""
        if published.model_copy(update={"samples": self._document.samples}) != self._document:
            raise NeedsRedeployError(
                f"model.json of {self._document.name!r} was published anew with other inputs, "
                "outputs, decision, routing key or champion: deploy again to serve it"
            )


def check_unused(name: str, table: RoutingTable) -> None:
    """Let a variant go that the table does not name, not even with weight 0.

    Raises:
        VariantInUseError: it does; the message says what to change first.
    """
    uses = [f"weight {table.weights[name]:g}"] if name in table.weights else []
    uses += ["its shadow"] if table.shadow and table.shadow.variant == name else []
    if uses:
        raise VariantInUseError(
            f"variant {name!r} has {' and '.join(uses)} in routing table {table.version}: "
            "PUT …/routing with a table that does not name it, then remove it"
        )


def _configured(name: str, before: Entry | None, options: Mapping[str, Any]) -> VariantConfig:
    base = {} if before is None else before.config.model_dump()
    try:
        config = VariantConfig.model_validate({**base, **options, "name": name})
    except ValidationError as error:
        raise InvalidOptionsError(f"variant {name!r}: {explain(error)}") from error
    if options.get("name", name) != name:
        raise InvalidOptionsError(f"variant: name is {options['name']!r}, expected {name!r}")
    return config


def _check_placement(entry: Entry, before: Entry | None) -> None:
    """What needs processes of its own, or others than it has, is Ray Serve's to start.

    Raises:
        NeedsRedeployError: it does.
    """
    variant = f"variant {entry.name!r}"
    if before is not None and before.config.placement == "deployment":
        raise NeedsRedeployError(
            f"{variant} is a deployment of its own: deploy again, and its replicas serve what is "
            "published and configured then"
        )
    if entry.config.placement == "deployment":
        raise NeedsRedeployError(
            f"{variant} would be a deployment of its own: set it under `variants` in the "
            "configuration, then deploy again"
        )
    torch_before = before is not None and before.manifest.runtime.engine == "torch"
    if entry.manifest.runtime.engine == "torch" and not torch_before:
        raise NeedsRedeployError(
            f"{variant} needs torch, which gateways should not import: give it "
            "`placement: deployment` under `variants` in the configuration, then deploy again"
        )
