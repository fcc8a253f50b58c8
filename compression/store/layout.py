"""Names and places inside a model store."""

from __future__ import annotations

MODEL_DOCUMENT = "model.json"
MANIFEST = "manifest.json"
BASELINES = "baselines.json"
EVIDENCE = "evidence.json"
CARD_HTML, CARD_MARKDOWN = "card.html", "card.md"
SAMPLES = "samples.npz"
VARIANTS = "variants"

PROBE_ROWS = 32
"""How many of the first sample rows have their scores recorded in each manifest."""
