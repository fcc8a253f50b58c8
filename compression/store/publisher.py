"""Publish into a model store so that a reader sees a variant whole or not at all.

On a local folder a variant is written aside and renamed into place. Object stores have no rename;
there the manifest is written last, and a variant without a manifest does not exist.
"""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from fsspec.implementations.local import LocalFileSystem

import compression.store.layout as layout
from compression.store.errors import VariantExistsError
from compression.store.evidence import Evidence
from compression.store.filesystem import naming, open_filesystem
from compression.store.folder import write_folder
from compression.store.manifest import Baselines, Document, Manifest, ModelDocument, StoredFile
from compression.store.samples import Samples


def describe(path: str, content: bytes) -> StoredFile:
    """The entry that a manifest lists for a file of this content."""
    return StoredFile(path=path, sha256=hashlib.sha256(content).hexdigest(), bytes=len(content))


def _json(document: Document) -> bytes:
    return document.model_dump_json(indent=2).encode() + b"\n"


class Publisher:
    """Write side of a store at `uri`."""

    def __init__(self, uri: str) -> None:
        self._fs, self._root = open_filesystem(uri)
        self._local = isinstance(self._fs, LocalFileSystem)

    def publish_model(self, document: ModelDocument, samples: Samples) -> None:
        """Write or replace a model's document and samples; its variants stay as they are."""
        content = samples.to_bytes()
        document = document.model_copy(update={"samples": describe(layout.SAMPLES, content)})
        # Together: a document must not name samples that are not there any more.
        self._write(
            {
                f"{document.name}/{layout.SAMPLES}": content,
                f"{document.name}/{layout.MODEL_DOCUMENT}": _json(document),
            }
        )

    def publish_baselines(self, model: str, baselines: Baselines) -> None:
        """Write or replace the model's baselines."""
        self._write({f"{model}/{layout.BASELINES}": _json(baselines)})

    def publish_evidence(self, model: str, evidence: Evidence) -> None:
        """Write or replace what the model card is drawn from."""
        self._write({f"{model}/{layout.EVIDENCE}": _json(evidence)})

    def publish_card(self, model: str, html: str, markdown: str) -> None:
        """Write or replace the model card, both its forms."""
        self._write(
            {
                f"{model}/{layout.CARD_HTML}": html.encode(),
                f"{model}/{layout.CARD_MARKDOWN}": markdown.encode(),
            }
        )

    def publish_variant(
        self, manifest: Manifest, contents: Mapping[str, bytes], *, replace: bool = False
    ) -> None:
        """Publish a variant. `contents` maps path → bytes and must be what the manifest lists.

        Raises:
            VariantExistsError: the name is taken and `replace` is False.
            ValueError: contents and manifest differ; nothing was written.
        """
        listed = {file.path: file for file in manifest.files}
        described = {path: describe(path, content) for path, content in contents.items()}
        if listed != described:
            raise ValueError(f"manifest of {manifest.name!r} does not describe its files")
        folder = f"{manifest.model}/{layout.VARIANTS}/{manifest.name}"
        if self._fs.exists(f"{self._root}/{folder}/{layout.MANIFEST}") and not replace:
            raise VariantExistsError(
                f"variant {manifest.name!r} of {manifest.model!r} is published already: "
                "give it another name, or say --replace"
            )
        if self._local:
            self._publish_folder(Path(self._root) / folder, _json(manifest), contents)
            return
        self._remove(f"{self._root}/{folder}")
        for path, content in contents.items():
            self._fs.pipe_file(f"{self._root}/{folder}/{path}", content)
        self._fs.pipe_file(f"{self._root}/{folder}/{layout.MANIFEST}", _json(manifest))

    def _remove(self, folder: str) -> None:
        if self._fs.exists(f"{folder}/{layout.MANIFEST}"):
            # First, for what is left must not pass for a variant if this is interrupted.
            self._fs.rm_file(f"{folder}/{layout.MANIFEST}")
        if self._fs.exists(folder):
            self._fs.rm(folder, recursive=True)

    def _publish_folder(self, folder: Path, manifest: bytes, contents: Mapping[str, bytes]) -> None:
        write_folder(folder, {**contents, layout.MANIFEST: manifest})

    def _write(self, contents: Mapping[str, bytes]) -> None:
        """All of them aside first: where one cannot be written, none is replaced."""
        if not self._local:
            for path, content in contents.items():
                self._fs.pipe_file(f"{self._root}/{path}", content)
            return
        targets = {path: Path(self._root) / path for path in contents}
        asides = {
            path: target.with_name(f"{target.name}.{uuid.uuid4().hex}")
            for path, target in targets.items()
        }
        try:
            for path, content in contents.items():
                with naming(targets[path]):
                    asides[path].parent.mkdir(parents=True, exist_ok=True)
                    asides[path].write_bytes(content)
            for path, target in targets.items():
                os.replace(asides[path], target)
        finally:
            for aside in asides.values():
                aside.unlink(missing_ok=True)
