"""Read a model store in two phases: parse and verify everything, then hand out bytes.

A store is a folder or any fsspec URI (`s3://…`). Nothing here unpickles, and no file's content
leaves this module before its size and sha256 match the document that lists it.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TypeVar

from pydantic import ValidationError

import compression.store.layout as layout
from compression.store.errors import CorruptArtifactError, StoreUnavailableError
from compression.store.evidence import Evidence
from compression.store.filesystem import open_filesystem
from compression.store.manifest import (
    Baselines,
    Document,
    Manifest,
    ModelDocument,
    StoredFile,
    is_name,
)
from compression.store.samples import Samples

_D = TypeVar("_D", bound=Document)


def _explain(error: ValidationError) -> str:
    parts = []
    for item in error.errors():
        where = ".".join(str(part) for part in item["loc"]) or "document"
        parts.append(f"{where}: {item['msg']}")
    return "; ".join(parts)


@dataclass(frozen=True)
class VariantFiles:
    """A verified variant: its manifest and the content of each of its files, by path."""

    manifest: Manifest
    contents: dict[str, bytes]

    @property
    def artifact(self) -> bytes:
        """Content of the file the runtime opens."""
        return self.contents[self.manifest.runtime.artifact]


class ModelStore:
    """Read side of a store at `uri`, e.g. `out/demo/store` or `s3://bucket/models`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._fs, self._root = open_filesystem(uri)

    def models(self) -> tuple[str, ...]:
        """Names of the published models, sorted.

        Raises:
            StoreUnavailableError: there is no such folder, or it holds no model.
        """
        found = self._folders(self._root, layout.MODEL_DOCUMENT)
        if not found:
            raise StoreUnavailableError(
                f"no model store at {self.uri}: expected <model>/{layout.MODEL_DOCUMENT} in it. "
                "Publish one with: python -m compression run RECIPE --store " + self.uri
            )
        return found

    def variants(self, model: str) -> tuple[str, ...]:
        """Names of the model's published variants, sorted; half-written ones do not appear."""
        if not is_name(model):
            return ()
        return self._folders(f"{self._root}/{model}/{layout.VARIANTS}", layout.MANIFEST)

    def model(self, model: str) -> ModelDocument:
        """The model's document."""
        if model not in self.models():
            raise StoreUnavailableError(
                f"no model {model!r} in {self.uri}: it holds {', '.join(self.models())}"
            )
        path = f"{model}/{layout.MODEL_DOCUMENT}"
        document = self._document(path, ModelDocument)
        self._require_own(path, document.name, model)
        return document

    def manifest(self, model: str, variant: str) -> Manifest:
        """A variant's manifest."""
        published = self.variants(model)
        if variant not in published:
            raise StoreUnavailableError(
                f"no variant {variant!r} of model {model!r} in {self.uri}: "
                f"it holds {', '.join(published) or 'none'}"
            )
        path = f"{self._folder(model, variant)}/{layout.MANIFEST}"
        manifest = self._document(path, Manifest)
        self._require_own(path, f"{manifest.model}/{manifest.name}", f"{model}/{variant}")
        return manifest

    def manifest_sha256(self, model: str, variant: str) -> str:
        """sha256 (hex) of the variant's manifest file: names this very publication of it."""
        self.manifest(model, variant)
        content = self._present(f"{self._folder(model, variant)}/{layout.MANIFEST}")
        return hashlib.sha256(content).hexdigest()

    def baselines(self, model: str) -> Baselines | None:
        """The baselines the original is held against, None if none were published."""
        path = f"{model}/{layout.BASELINES}"
        if not is_name(model) or not self._fs.exists(f"{self._root}/{path}"):
            return None
        return self._document(path, Baselines)

    def evidence(self, model: str) -> Evidence | None:
        """What the model card is drawn from, None if it was not published."""
        path = f"{model}/{layout.EVIDENCE}"
        if not is_name(model) or not self._fs.exists(f"{self._root}/{path}"):
            return None
        return self._document(path, Evidence)

    def card(self, model: str) -> tuple[str, str] | None:
        """The model card as HTML and as Markdown, None where a form is missing."""
        paths = [f"{model}/{name}" for name in (layout.CARD_HTML, layout.CARD_MARKDOWN)]
        if not is_name(model) or not all(self._fs.exists(f"{self._root}/{p}") for p in paths):
            return None
        html, markdown = (self._read(path).decode() for path in paths)
        return html, markdown

    def samples(self, model: str) -> Samples:
        """The model's held-out requests, verified."""
        document = self.model(model)
        return Samples.from_bytes(self._verified(model, document.samples))

    def load(self, model: str, variant: str) -> VariantFiles:
        """A variant with every file read and verified.

        Raises:
            CorruptArtifactError: a file is missing, or its size or sha256 is not the manifest's.
        """
        while True:
            manifest = self.manifest(model, variant)
            try:
                return self._verified_variant(manifest)
            except CorruptArtifactError:
                if self.manifest(model, variant) == manifest:
                    raise
                # It was replaced while it was read: read the new one.

    def _verified_variant(self, manifest: Manifest) -> VariantFiles:
        listed = {file.path for file in manifest.files}
        if manifest.runtime.artifact not in listed:
            raise CorruptArtifactError(
                f"manifest of {manifest.name!r} runs {manifest.runtime.artifact!r}, "
                f"which is not among its files: {sorted(listed)}"
            )
        folder = self._folder(manifest.model, manifest.name)
        return VariantFiles(
            manifest, {file.path: self._verified(folder, file) for file in manifest.files}
        )

    def _folder(self, model: str, variant: str) -> str:
        return f"{model}/{layout.VARIANTS}/{variant}"

    def _folders(self, parent: str, marker: str) -> tuple[str, ...]:
        try:
            entries = self._fs.ls(parent, detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return ()
        except OSError as error:
            raise StoreUnavailableError(f"cannot list {parent}: {error}") from error
        names = (str(entry).rstrip("/").rsplit("/", 1)[-1] for entry in entries)
        return tuple(
            sorted(
                name
                for name in names
                if is_name(name) and self._fs.exists(f"{parent}/{name}/{marker}")
            )
        )

    def _require_own(self, path: str, given: str, expected: str) -> None:
        if given != expected:
            raise CorruptArtifactError(
                f"{path} in {self.uri} describes {given}, not {expected}: a folder was renamed or "
                "copied; publish under the name wanted instead"
            )

    def _read(self, path: str) -> bytes:
        """Raises StoreUnavailableError; FileNotFoundError where that means something else."""
        try:
            return bytes(self._fs.cat_file(f"{self._root}/{path}"))
        except FileNotFoundError:
            raise
        except OSError as error:
            raise StoreUnavailableError(f"cannot read {path} in {self.uri}: {error}") from error

    def _present(self, path: str) -> bytes:
        try:
            return self._read(path)
        except FileNotFoundError as error:
            raise StoreUnavailableError(
                f"{path} is no longer in {self.uri}: it was removed or is being replaced; try again"
            ) from error

    def _document(self, path: str, kind: type[_D]) -> _D:
        try:
            return kind.model_validate_json(self._present(path))
        except ValidationError as error:
            raise CorruptArtifactError(
                f"{path} in {self.uri} is not a valid {kind.__name__}: {_explain(error)}"
            ) from error

    def _verified(self, folder: str, file: StoredFile) -> bytes:
        path = f"{folder}/{file.path}"
        try:
            content = self._read(path)
        except FileNotFoundError as error:
            raise CorruptArtifactError(
                f"{path} is missing in {self.uri}, though it was published: publish it again"
            ) from error
        if len(content) != file.bytes:
            raise CorruptArtifactError(
                f"{path} in {self.uri} has {len(content)} bytes, its document says {file.bytes}: "
                "the file was changed or cut off; publish it again"
            )
        digest = hashlib.sha256(content).hexdigest()
        if digest != file.sha256:
            raise CorruptArtifactError(
                f"{path} in {self.uri} has sha256 {digest}, its document says {file.sha256}: "
                "the file was changed after it was published; publish it again"
            )
        return content
