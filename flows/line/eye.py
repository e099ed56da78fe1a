"""From an image to a verdict: by the champion in use, or a reason why nothing can be said."""

import hashlib
import time
import uuid
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from flows.line.verdict import Answer, FoundDefect, Verdict
from flows.runtime.champion import Loaded
from pipelines.core.errors import ImageError, ScoreError
from pipelines.detector.detector import Scan
from pipelines.detector.version import read_drift_reference
from pipelines.imaging.components import draw_regions
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.measures import shrink
from pipelines.imaging.overlay import FOUND, encode_picture, outline
from pipelines.inspection.history import Observation
from pipelines.inspection.inspect import observe

# Shares of the lowest brightness and sharpness on the calibration split below which an image shows too little.
_DARK, _BLURRED = 0.5, 0.25
_SIDE = 900  # pixels of the picture's longer side, at most


class Seen(NamedTuple):
    """A verdict without its number, what the history keeps, and pixels and scan of an image that could be scored."""

    verdict: Verdict
    observation: Observation
    image: NDArray[np.uint8] | None = None
    scan: Scan | None = None


class Eye:
    """Judges images one after another. It notices a camera that hands over the same picture again and again."""

    def __init__(self, surface: str, frozen_after: float) -> None:
        """Judge images of one surface.

        Args:
            surface: Its name, for the verdicts.
            frozen_after: Seconds for which the same bytes may come; 0 allows them for ever.
        """
        self._surface, self._frozen_after = surface, frozen_after
        self._last, self._since = "", 0.0
        self._limits: tuple[str, dict[str, float]] = ("", {})

    def judge(self, used: Loaded, data: bytes, name: str, since: float) -> Seen:
        """Judge an image.

        Args:
            used: The version that looks at it.
            data: The file's bytes.
            name: Of the image, for people; it may be anything.
            since: Monotonic time at which it was whole.

        Returns:
            What was seen. An image that cannot be read or scored, is frozen, too dark or blurred is uninspectable.

        Raises:
            ImageError: If the bytes are no image that can be read: it may not be whole yet.
        """
        image = decode_image(data, used.detector.info.max_megapixels).image
        start = Observation(time=datetime.now(UTC), path=f"line:{name}", version=used.version)
        frozen = self._frozen_for(hashlib.sha256(data).hexdigest())
        try:
            scan = used.detector.scan(image)
        except (ImageError, ScoreError) as error:
            return self.refuse(used, name, since, error.problem)
        seen = observe(start, image, scan)
        reason = frozen or self._too_little(used, seen)
        if reason:
            return self.refuse(used, name, since, reason)
        found = self._say(
            *(used, name, since, Answer.ANOMALOUS if scan.anomalous else Answer.GOOD),
            score=scan.score,
            defects=tuple(
                FoundDefect(type=d.types, score=d.score, box=d.box, area=d.area, outline=d.outline)
                for d in scan.defects
            ),
        )
        return Seen(found, seen, image, scan)

    def refuse(self, used: Loaded, name: str, since: float, reason: str) -> Seen:
        """Say that nothing can be said of an image.

        Args:
            used: The version in use.
            name: Of the image.
            since: Monotonic time at which it was whole.
            reason: In words.

        Returns:
            A verdict that is not good.
        """
        seen = Observation(time=datetime.now(UTC), path=f"line:{name}", version=used.version, error=reason)
        return Seen(self._say(used, name, since, Answer.UNINSPECTABLE, reason=reason), seen)

    def _say(self, used: Loaded, name: str, since: float, answer: Answer, **found: object) -> Verdict:
        return Verdict.model_validate({
            "id": uuid.uuid4().hex,
            "number": 0,
            "surface": self._surface,
            "image": name,
            "time": datetime.now(UTC),
            "verdict": answer,
            "image_threshold": used.detector.info.image_threshold.threshold,
            "model": used.name,
            "version": used.version,
            "seconds": round(time.monotonic() - since, 4),
            **found,
        })  # fmt: skip

    def _frozen_for(self, digest: str) -> str:
        now = time.monotonic()
        if digest != self._last:
            self._last, self._since = digest, now
            return ""
        seconds = now - self._since
        if not self._frozen_after or seconds < self._frozen_after:
            return ""
        return f"the camera has handed over the same picture for {seconds:.0f} s"

    def _too_little(self, used: Loaded, seen: Observation) -> str:
        if self._limits[0] != used.name:
            known = read_drift_reference(used.detector.folder)
            measures = known.measures if known else {}
            self._limits = used.name, {name: min(values) for name, values in measures.items() if values}
        limits = self._limits[1]
        for measure, value, share, word in (
            ("brightness_mean", seen.brightness_mean, _DARK, "too dark: brightness"),
            ("sharpness", seen.sharpness, _BLURRED, "blurred: sharpness"),
        ):
            least = share * limits.get(measure, 0.0)
            if value is not None and value < least:
                return f"{word} {value:.3g}, at least {least:.3g} is needed"
        return ""


def draw_picture(seen: Seen) -> bytes | None:
    """Draw what was found on an image.

    Args:
        seen: Of an image that was scored, or not.

    Returns:
        A JPEG of the image, at most 900 pixels long, with its outlines; None where nothing was scored.
    """
    if seen.image is None or seen.scan is None:
        return None
    found = draw_regions(seen.scan.defects, *seen.scan.map.shape) > 0
    width = max(1, round(2 * max(seen.image.shape[:2]) / _SIDE))
    return encode_picture(shrink(outline(seen.image, found, FOUND, width), _SIDE))
