"""Counters, gauges and histograms for one event loop: those of prometheus_client without its locks.

prometheus_client is made for threads: every value has a lock, and a histogram goes through its
buckets one by one. A request of ours observes six histograms and five counters, all in the event
loop's thread. What is exposed is the same to the byte, and collected through its registry.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString


class _Instrument(Collector):
    """A metric, and at the same time one of its children: `labels` gives those.

    Only children are collected; a metric without labels is not needed here.
    """

    __slots__ = ("_children", "_label_names", "_name", "_text")
    kind: ClassVar[str]

    def __init__(
        self, name: str, text: str, labels: Sequence[str], registry: CollectorRegistry
    ) -> None:
        self._name = name
        self._text = text
        self._label_names = tuple(labels)
        self._children: dict[tuple[str, ...], Self] = {}
        registry.register(self)

    def labels(self, *values: str) -> Self:
        """The child of these label values, in the order of the names; made when asked for first.

        Raises:
            ValueError: not one value for each name.
        """
        child = self._children.get(values)
        if child is None:
            if len(values) != len(self._label_names):
                raise ValueError(f"{self._name}: expected {self._label_names}, given {values}")
            child = self._children[values] = self._child()
        return child

    def remove(self, *values: str) -> None:
        """Forget a child, if there is one."""
        self._children.pop(values, None)

    def collect(self) -> Iterator[Metric]:
        """The metric with the samples of all children, for prometheus_client."""
        family = Metric(self._name.removesuffix("_total"), self._text, self.kind)
        for values, child in self._children.items():
            labels = dict(zip(self._label_names, values, strict=True))
            for suffix, more, value in child._samples():
                family.add_sample(self._name + suffix, {**labels, **more}, value)
        yield family

    def _child(self) -> Self:
        raise NotImplementedError

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        """(suffix of the name, further labels, value) of a child."""
        raise NotImplementedError


class Gauge(_Instrument):
    """A value that goes up and down."""

    __slots__ = ("_read", "_value")
    kind = "gauge"
    _value: float
    _read: Callable[[], float] | None

    def inc(self, amount: float = 1) -> None:
        """Add to it."""
        self._value += amount

    def dec(self, amount: float = 1) -> None:
        """Take from it."""
        self._value -= amount

    def set(self, value: float) -> None:
        """Replace it."""
        self._value = value

    def set_function(self, read: Callable[[], float]) -> None:
        """Have it read whenever it is collected."""
        self._read = read

    def _child(self) -> Self:
        child = type(self).__new__(type(self))
        child._value = 0.0
        child._read = None
        return child

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        yield "", {}, float(self._value if self._read is None else self._read())


class Counter(_Instrument):
    """A value that goes up; its name ends in `_total`."""

    __slots__ = ("_value",)
    kind = "counter"
    _value: float

    def inc(self, amount: float = 1) -> None:
        """Add to it; `amount` is not negative."""
        self._value += amount

    def _child(self) -> Self:
        child = type(self).__new__(type(self))
        child._value = 0.0
        return child

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        yield "", {}, float(self._value)


class Histogram(_Instrument):
    """Counts of values up to each of `buckets`, rising, and their sum."""

    __slots__ = ("_bounds", "_counts", "_sum")
    kind = "histogram"
    _bounds: tuple[float, ...]
    _counts: list[int]
    """One more than bounds: the last is what is beyond all of them."""
    _sum: float

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        registry: CollectorRegistry,
        buckets: Sequence[float],
    ) -> None:
        super().__init__(name, text, labels, registry)
        self._bounds = tuple(float(bound) for bound in buckets)

    def observe(self, value: float) -> None:
        """Count a value."""
        self._sum += value
        self._counts[bisect_left(self._bounds, value)] += 1

    def _child(self) -> Self:
        child = type(self).__new__(type(self))
        child._bounds = self._bounds
        child._counts = [0] * (len(self._bounds) + 1)
        child._sum = 0.0
        return child

    def _samples(self) -> Iterator[tuple[str, dict[str, str], float]]:
        total = 0
        for bound, count in zip((*self._bounds, float("inf")), self._counts, strict=True):
            total += count
            le: str = floatToGoString(bound)  # type: ignore[no-untyped-call]
            yield "_bucket", {"le": le}, float(total)
        yield "_count", {}, float(total)
        yield "_sum", {}, float(self._sum)
