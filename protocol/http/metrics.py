"""The answer of `/metrics`, made by Prometheus' own library.

The parts of a server count with plain integers, which cost a fraction of the library's counters.
They are turned into the library's metrics when `/metrics` is asked for.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, Literal

import msgspec
from prometheus_client import CONTENT_TYPE_PLAIN_0_0_4, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

METRICS_TYPE: Final = CONTENT_TYPE_PLAIN_0_0_4


class Reading(msgspec.Struct, frozen=True):
    """One value of one metric. Readings of the same name have different labels.

    The `name` of a counter ends in `_total`.
    """

    name: str
    kind: Literal["gauge", "counter"]
    help: str
    value: float
    labels: Mapping[str, str] = {}


def gauge(name: str, text: str, value: float, **labels: str) -> Reading:
    """Return a reading that can rise and fall. `name` is given without the prefix `greenroom_`."""
    return Reading(f"greenroom_{name}", "gauge", text, value, labels)


def counter(name: str, text: str, value: float, **labels: str) -> Reading:
    """Return a reading that only grows. `name` is given without the prefix and `_total`."""
    return Reading(f"greenroom_{name}_total", "counter", text, value, labels)


class Histogram:
    """Counts durations by size, at a fifth of the cost of the library's histogram.

    `bounds_s` are the upper bounds of its buckets, in seconds, ascending. One more bucket is beyond
    them.
    """

    __slots__ = ("bounds_s", "counts", "help", "name", "sum_s")

    def __init__(self, name: str, text: str, bounds_s: Sequence[float]) -> None:
        self.name = name
        self.help = text
        self.bounds_s = tuple(bounds_s)
        self.counts = [0] * (len(self.bounds_s) + 1)
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Count a duration.

        One that equals a bound belongs to the bucket below it, as in Prometheus.
        """
        self.counts[bisect_left(self.bounds_s, seconds)] += 1
        self.sum_s += seconds


Readings = Callable[[], Iterable[Reading | Histogram]]


def render(readings: Readings) -> bytes:
    """Return the present readings in Prometheus' text format.

    Raises ValueError if two readings of the same name differ in their kind or in their labels'
    names.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(readings))
    return generate_latest(registry)


class _Collector(Collector):
    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def describe(self) -> Iterable[Metric]:
        return ()  # without this, the registry would read everything once to learn the names

    def collect(self) -> Iterator[Metric]:
        families: dict[str, list[Reading]] = {}
        for reading in self._readings():
            if isinstance(reading, Histogram):
                yield _histogram(reading)
            else:
                families.setdefault(reading.name, []).append(reading)
        for family in families.values():
            yield _family(family)


def _family(readings: Sequence[Reading]) -> Metric:
    first = readings[0]
    names = tuple(first.labels)
    make = GaugeMetricFamily if first.kind == "gauge" else CounterMetricFamily
    metric = make(first.name, first.help, labels=names)
    for reading in readings:
        if (reading.kind, tuple(reading.labels)) != (first.kind, names):
            raise ValueError(f"metric {first.name}: readings of different kinds or labels")
        metric.add_metric(list(reading.labels.values()), reading.value)
    return metric


def _histogram(histogram: Histogram) -> Metric:
    below, buckets = 0, []
    for bound, count in zip((*map(str, histogram.bounds_s), "+Inf"), histogram.counts, strict=True):
        below += count
        buckets.append((bound, float(below)))
    return HistogramMetricFamily(
        histogram.name, histogram.help, buckets=buckets, sum_value=histogram.sum_s
    )
