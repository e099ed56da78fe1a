"""Which of an inspection's images its report shows, kept small while the others pass by."""

import hashlib
import heapq
from collections.abc import Iterable, Set
from pathlib import Path
from typing import Literal

from pipelines.core.geometry import Defect
from pipelines.core.records import Record
from pipelines.core.results import Inspected
from pipelines.imaging.measures import shrink
from pipelines.imaging.overlay import data_uri, encode_picture, heatmap
from pipelines.inspection.sinks import InspectedImage

SHOWN = 60
_LISTED = 100  # defects of one image
# Longer sides in pixels: an image and its heatmap then take 150 to 400 kB of the page.
_PICTURE = 1280
_HEAT = 640


class Shown(Record):
    """One image of the report; `drawn` says why it is there, `measures` are those of its region of interest.

    `normal_regions` counts regions that were left out because their type is normal, `more` the defects, the lowest,
    that are not listed because nobody would look at so many.
    """

    path: str
    sha256: str
    width: int
    height: int
    score: float
    anomalous: bool
    drawn: Literal["score", "random"]
    picture: str
    heat: str
    defects: tuple[Defect, ...]
    measures: dict[str, float]
    normal_regions: int = 0
    more: int = 0


class Showcase:
    """Keeps the images of the highest scores and those that were drawn at random; a sink.

    `unreadable` holds the first files that could not be read, with the reason.
    """

    def __init__(self, pixel_threshold: float, drawn: Set[str] = frozenset(), limit: int = SHOWN) -> None:
        """Show at most `limit` images by score, and all whose stems are in `drawn`."""
        self.images = 0
        self.anomalous = 0
        self.unreadable: list[tuple[str, str]] = []
        self._threshold, self._drawn, self._limit = pixel_threshold, drawn, limit
        self._random: list[Shown] = []
        # By score, then by the order of arrival: two images may have the same score.
        self._highest: list[tuple[float, int, Shown]] = []

    def add(self, seen: InspectedImage) -> None:
        self.images += 1
        self.anomalous += bool(seen.result.anomalous)
        score = seen.result.score or 0.0
        if seen.stem in self._drawn:
            self._random.append(self._show(seen, "random"))
        elif len(self._highest) < self._limit:
            heapq.heappush(self._highest, (score, -self.images, self._show(seen, "score")))
        elif score > self._highest[0][0]:
            heapq.heapreplace(self._highest, (score, -self.images, self._show(seen, "score")))

    def close(self) -> None: ...

    def note(self, result: Inspected) -> None:
        """Take note of an image that gave no map."""
        if result.error is not None and len(self.unreadable) < self._limit:
            self.unreadable.append((result.path, result.error))

    def shown(self) -> tuple[Shown, ...]:
        """Return what is shown, the highest score first."""
        return tuple(sorted([*self._random, *(s for _, _, s in self._highest)], key=lambda s: -s.score))

    def _show(self, seen: InspectedImage, drawn: Literal["score", "random"]) -> Shown:
        found = seen.result
        height, width = seen.map.shape
        heat = heatmap(shrink(seen.image, _HEAT), shrink(seen.map, _HEAT), self._threshold)
        with Path(seen.file or found.path).open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        return Shown(
            path=found.path,
            sha256=digest,
            width=width,
            height=height,
            score=found.score or 0.0,
            anomalous=bool(found.anomalous),
            drawn=drawn,
            picture=data_uri(encode_picture(shrink(seen.image, _PICTURE), quality=80)),
            heat=data_uri(encode_picture(heat, quality=75)),
            defects=found.defects[:_LISTED],
            more=max(0, len(found.defects) - _LISTED),
            measures=seen.measures,
            normal_regions=found.normal_regions,
        )


def draw_at_random(stems: Iterable[str], count: int) -> frozenset[str]:
    """Draw images by a hash of their names: whatever they score, and the same ones next time.

    Args:
        stems: Names of the images, each once; their order does not matter.
        count: How many are drawn at most, 0 or more.

    Returns:
        The drawn names.

    >>> draw_at_random(["a", "b", "c"], 2) == draw_at_random(["c", "b", "a"], 2)
    True
    """
    return frozenset(sorted(stems, key=lambda stem: hashlib.sha256(stem.encode()).digest())[:count])
