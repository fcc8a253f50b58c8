"""Draws the model card out of a store."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from compression.card import figures, format, story
from compression.store import Baselines, Evidence, Manifest, ModelStore, Segment, VariantEvidence

FORMATS = ("figure", "interval", "percent", "count", "size", "milliseconds", "short")


@dataclass(frozen=True)
class Card:
    """The page and its Markdown twin."""

    html: str
    markdown: str


@dataclass(frozen=True)
class Section:
    """One variant on the card."""

    manifest: Manifest
    evidence: VariantEvidence | None
    losses: tuple[str, ...]
    latency_seconds: float | None
    worst: str
    figures: dict[str, Markup]
    first_dimension: str

    @property
    def segments(self) -> tuple[Segment, ...]:
        """Its segments, none where they were not measured."""
        return self.evidence.segments if self.evidence else ()


def draw_card(store: ModelStore, model: str) -> Card:
    """The card of a model.

    Raises:
        StoreUnavailableError: the model is not in the store, or has no variants.
        CorruptArtifactError: a document of the model is not valid.
    """
    document = store.model(model)
    manifests = [store.manifest(model, name) for name in store.variants(model)]
    manifests.sort(key=lambda m: (m.gate.verdict != "reference", -m.bytes, m.name))
    evidence, baselines = store.evidence(model), store.baselines(model)
    original = next((m for m in manifests if m.gate.verdict == "reference"), None)
    context = {
        "model": document,
        "headline": story.headline(manifests),
        "sections": [_section(manifest, original, evidence) for manifest in manifests],
        "evidence": evidence,
        "baselines": baselines,
        "profile": _profile(baselines),
        "data": list(_flat(document.data)),
        "tests": sorted({manifest.quality.test for manifest in manifests}),
        "dated": max((manifest.created_at for manifest in manifests), default=""),
    }
    html = _render("card.html.j2", context, escape=True)
    return Card(html, _render("card.md.j2", context, escape=False))


def _profile(baselines: Baselines | None) -> str:
    return f"{baselines.profile} profile · " if baselines else ""


def _section(manifest: Manifest, original: Manifest | None, evidence: Evidence | None) -> Section:
    own = evidence.variants.get(manifest.name) if evidence else None
    base = evidence.variants.get(original.name) if evidence and original else None
    compared = original is not None and manifest is not original
    return Section(
        manifest,
        own,
        story.losses(manifest, original, own) if original and compared else (),
        story.single_row(manifest),
        story.worst_segment(manifest),
        _figures(manifest.name, own, base if compared else None),
        own.segments[0].dimension if own and own.segments else "",
    )


def _figures(
    name: str, own: VariantEvidence | None, base: VariantEvidence | None
) -> dict[str, Markup]:
    """Figures by name, as far as there is evidence to draw them from."""
    if own is None:
        return {}
    prefix = "card-" + name.replace(".", "_")
    if base is None:
        return {"reliability": Markup(figures.reliability_figure(own.reliability, None, prefix))}
    drawn = {"reliability": figures.reliability_figure(base.reliability, own.reliability, prefix)}
    if own.differences is not None:
        drawn["differences"] = figures.differences_figure(own.differences, prefix)
    if own.segments:
        first = tuple(s for s in own.segments if s.dimension == own.segments[0].dimension)
        drawn["segments"] = figures.segments_figure(own.segments, prefix)
        drawn["changes"] = figures.changes_figure(first, prefix)
    return {kind: Markup(text) for kind, text in drawn.items()}


def _flat(data: dict[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """A document's entries as lines: nested keys are joined by a dot."""
    lines: list[tuple[str, str]] = []
    for key, value in data.items():
        name = f"{prefix}{key}".replace("_", " ")
        if isinstance(value, dict):
            lines += _flat(value, f"{name} · ")
        elif isinstance(value, list | tuple):
            lines.append((name, " to ".join(str(item) for item in value)))
        else:
            lines.append((name, f"{value:,}" if type(value) is int else str(value)))
    return lines


def _render(template: str, context: dict[str, Any], *, escape: bool) -> str:
    environment = Environment(
        loader=PackageLoader("compression.card"),
        autoescape=escape,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(format, name) for name in FORMATS}
    return environment.get_template(template).render(context)
