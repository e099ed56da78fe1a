"""What one look at a batch of inspections found: records that the looks, their pages and their messages share."""

from enum import StrEnum

from pydantic import Field

from pipelines.records import Record

MARKED = "marked"  # the share of photographs that were called anomalous
SCORE = "score"
# The same of the last photographs, over several batches: a wave of defects shows there before it does in small batches.
LATELY = " lately"
JUDGED = frozenset({MARKED, SCORE, MARKED + LATELY, SCORE + LATELY})
NAMES = {
    SCORE: "image score",
    MARKED: "share marked",
    SCORE + LATELY: "image score lately",
    MARKED + LATELY: "share marked lately",
    "brightness_mean": "brightness",
    "brightness_std": "contrast",
    "sharpness": "sharpness",
    "saturated_share": "saturated share",
}


class DriftKind(StrEnum):
    LIGHTING = "lighting"
    CONTENT = "content"


class Figure(Record):
    """One figure of a look at so many photographs: its median (a share for `marked`) in the reference and now.

    `p_value` is adjusted for the number of figures; `size` is the stability index less what chance adds, for `marked`
    how far the share exceeds the usual one. It `moved` where both say so.
    """

    name: str
    photographs: int
    reference: float
    now: float
    p_value: float
    size: float
    moved: bool


class Drift(Record):
    """What one look at a batch found; `kind` is None where nothing moved.

    `number` counts the looks since this version became champion, `level` is what was left for this one to err with.
    """

    surface: str
    version: int
    batch: str
    number: int = Field(ge=1)
    photographs: int
    level: float
    figures: tuple[Figure, ...]
    kind: DriftKind | None = None
    words: str = ""
