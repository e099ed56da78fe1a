"""What a line says of one image, in the form in which every sink gets it."""

from datetime import datetime
from enum import StrEnum

from pipelines.core.geometry import Box
from pipelines.core.records import Record


class Answer(StrEnum):
    """`uninspectable` is never good: nothing was seen, and a machine that hears it should fail safe."""

    GOOD = "good"
    ANOMALOUS = "anomalous"
    UNINSPECTABLE = "uninspectable"


class FoundDefect(Record):
    """One region: box and outline (x, y) in pixels of the image as a person sees it."""

    type: str
    score: float
    box: Box
    area: int
    outline: tuple[tuple[int, int], ...]


class Verdict(Record):
    """One image, judged once.

    `id` is the same whenever the verdict is delivered: a receiver that got it twice, because a connection broke before
    it could say so, tells by it. `number` counts from 1 and leaves nothing out. `time` is UTC, when the image was
    judged; `seconds` is from the moment at which it was whole. `reason` says why it is uninspectable; `score` is None
    then.
    """

    id: str
    number: int
    surface: str
    image: str
    time: datetime
    verdict: Answer
    reason: str = ""
    score: float | None = None
    image_threshold: float | None = None
    defects: tuple[FoundDefect, ...] = ()
    model: str
    version: int
    seconds: float
