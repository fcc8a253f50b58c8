"""What is wrong with a body, in a caller's words: msgspec's findings with row and field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import msgspec

_FINDING = re.compile(r"(?P<what>.*?)(?: - at `\$(?P<where>.*)`)?", re.DOTALL)
_ROW = re.compile(r"\.rows\[(?P<row>\d+)\]")
_INDEX = re.compile(r"\[(?P<index>\d+)\]")
_LENGTH = re.compile(r"expected array of length \d+")
_MISSING = re.compile(r"Object missing required field `(?P<name>.*)`", re.DOTALL)
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>.*)`", re.DOTALL)
_SHOWN = 30
_LONGEST = 60


def explain(
    error: msgspec.ValidationError,
    body: bytes,
    top: Sequence[str],
    inner: Mapping[str, Sequence[str]],
) -> str:
    """One line: where, what was expected, what was given.

    `top` are the request's own fields, `inner` those of each object in a row by its path without
    indices, e.g. `history`; the row's own are at "".
    """
    found = _FINDING.fullmatch(str(error))
    assert found is not None, "the pattern takes any text"
    path = found["where"] or ""
    row = _ROW.match(path)
    place = (path[row.end() :] if row else path).lstrip(".")
    known = inner.get(_INDEX.sub("", place), ()) if row else top
    where = [f"row {row['row']}"] if row else []
    if place:
        where.append(place)
    what = _what(found["what"], known)
    if _LENGTH.match(what):
        # What follows the place of the finding was not looked at: it may not even be JSON.
        with suppress(msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            what += f", given {_length(msgspec.json.decode(body), path)}"
    return ": ".join([*where, what])


def _what(what: str, known: Sequence[str]) -> str:
    if missing := _MISSING.fullmatch(what):
        return f"field {missing['name']!r} is missing"
    if unknown := _UNKNOWN.fullmatch(what):
        return f"field {_cut(unknown['name'])!r} is unknown{_instead(unknown['name'], known)}"
    if what == "Number out of range":
        return "expected a number that fits 64 bits, given a larger one"
    return what.replace("Expected", "expected").replace(", got", ", given").replace("`", "")


def _instead(name: str, known: Sequence[str]) -> str:
    if not known:
        return ""
    near = difflib.get_close_matches(_cut(name), known, n=1)
    asked = f"; did you mean {near[0]!r}?" if near else ""
    more = ", …" if len(known) > _SHOWN else ""
    return f"{asked or ','} expected {', '.join(known[:_SHOWN])}{more}"


def _length(value: Any, path: str) -> int:
    """How long the array at a path is; of fields that begin alike the longest is meant."""
    while path:
        if index := _INDEX.match(path):
            value, path = value[int(index["index"])], path[index.end() :]
            continue
        field = max((name for name in value if path.startswith(f".{name}")), key=len)
        value, path = value[field], path[len(field) + 1 :]
    return len(value)


def _cut(name: str) -> str:
    return name if len(name) <= _LONGEST else name[:_LONGEST] + "…"
