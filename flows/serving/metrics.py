"""What `/metrics` tells Prometheus; of several replicas, all that they did together."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.multiprocess import MultiProcessCollector

# Set in replicas alone, before this module is imported: figures then lie in files that each of them can add up.
SHARED = "PROMETHEUS_MULTIPROC_DIR"
CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
# Of the version's own scale: 1 is what 99 % of normal images stay below.
_SCORES = (0.25, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.5, 2.0, 3.0, 5.0, 10.0)


class Metrics:
    """Counts what a server does. Names of surfaces are those that are served, never words of a request."""

    def __init__(self) -> None:
        own = self._own = CollectorRegistry()
        of = ("surface",)
        self._requests = Counter("knotwatch_requests", "Requests by what came of them", (*of, "outcome"), registry=own)
        self._seconds = Histogram(
            "knotwatch_request_seconds", "From a request's head to its answer", of, buckets=_SECONDS, registry=own
        )
        self._images = Counter("knotwatch_images", "Images by verdict", (*of, "verdict"), registry=own)
        self._scores = Histogram("knotwatch_score", "Image scores", of, buckets=_SCORES, registry=own)
        self._under_way = _gauge("knotwatch_requests_under_way", "Worked on, or waiting", "livesum", own)
        self._version = _gauge("knotwatch_champion_version", "In use", "livemostrecent", own, of)
        self._changes = Counter("knotwatch_champion_changes", "New champions that took over", of, registry=own)
        self._loads = Counter("knotwatch_champion_loads", "Times that a champion was loaded", of, registry=own)
        self._loaded = _gauge("knotwatch_champions_loaded", "In memory", "livesum", own)
        self._bytes = _gauge("knotwatch_champions_bytes", "Memory of those that are loaded", "livesum", own)

    def render(self) -> bytes:
        """Return all figures in Prometheus' text format."""
        registry = self._own
        if SHARED in os.environ:
            registry = CollectorRegistry()
            MultiProcessCollector(registry)  # type: ignore[no-untyped-call] # as the library has it
        return generate_latest(registry)

    def note_request(self, surface: str, outcome: str, seconds: float) -> None:
        """Count a request that was answered.

        Args:
            surface: That it was for.
            outcome: A word for what came of it.
            seconds: That it took.
        """
        self._requests.labels(surface, outcome).inc()
        self._seconds.labels(surface).observe(seconds)

    def note_predictions(self, surface: str, predictions: Iterable[dict[str, Any]]) -> None:
        """Count the images of a request.

        Args:
            surface: That they are of.
            predictions: Each with `score` and `anomalous`.
        """
        for prediction in predictions:
            self._images.labels(surface, "anomalous" if prediction["anomalous"] else "normal").inc()
            self._scores.labels(surface).observe(prediction["score"])

    @contextmanager
    def one_under_way(self) -> Iterator[None]:
        """Count a request as under way until the block ends."""
        with self._under_way.track_inprogress():
            yield

    def note_version(self, surface: str, version: int) -> None:
        """Say which version is in use.

        Args:
            surface: That has it as champion.
            version: Its number in the registry.
        """
        self._version.labels(surface).set(version)

    def note_change(self, surface: str) -> None:
        """Count a champion that took over from another."""
        self._changes.labels(surface).inc()

    def note_load(self, surface: str) -> None:
        """Count a champion that was loaded."""
        self._loads.labels(surface).inc()

    def note_loaded(self, number: int, size: int) -> None:
        """Say what is in memory.

        Args:
            number: Champions.
            size: Bytes that they take together.
        """
        self._loaded.set(number)
        self._bytes.set(size)


def _gauge(name: str, said: str, mode: Any, registry: CollectorRegistry, labels: tuple[str, ...] = ()) -> Gauge:
    return Gauge(name, said, labels, registry=registry, multiprocess_mode=mode)
