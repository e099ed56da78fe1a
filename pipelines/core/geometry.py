"""Boxes, tile plans and defects: where things are on an image."""

from typing import Annotated, Literal, NamedTuple

from pydantic import AfterValidator, Field

from pipelines.core.records import _LONGEST_SIDE, _LONGEST_TILE, _MOST_GROWTH, FiniteRecord, Record


class Box(NamedTuple):
    """A rectangle in pixels of the image as a person sees it; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def width(self) -> int:
        return self.right - self.left

    @property
    def height(self) -> int:
        return self.bottom - self.top


def _check_box(box: Box) -> Box:
    if not (0 <= box.left < box.right <= _LONGEST_SIDE and 0 <= box.top < box.bottom <= _LONGEST_SIDE):
        raise ValueError(f"{tuple(box)} is no box of an image")
    return box


# A box that was read from a file.
ReadBox = Annotated[Box, AfterValidator(_check_box)]


class TilePlan(FiniteRecord):
    """How an image's region of interest becomes model input, and the maps a map again.

    `fit`: the region is resized to one tile. `grid`: the region is resized by `scale`, padded by reflection to at
    least one tile and cut into overlapping tiles; maps are blended with a Hann window.
    """

    mode: Literal["fit", "grid"]
    tile_height: int = Field(ge=1, le=_LONGEST_TILE)
    tile_width: int = Field(ge=1, le=_LONGEST_TILE)
    scale: float = Field(default=1.0, gt=0, le=_MOST_GROWTH)
    stride_height: int = Field(default=0, ge=0)
    stride_width: int = Field(default=0, ge=0)

    @property
    def covers(self) -> bool:
        """Tell whether its tiles leave no pixel out."""
        strides = ((self.stride_height, self.tile_height), (self.stride_width, self.tile_width))
        return self.mode == "fit" or all(0 < stride <= tile for stride, tile in strides)


class Defect(Record):
    """One connected region above the pixel threshold, in pixels of the image as a person sees it.

    `outline` is a closed line (x, y) without its first point again. `orientation` is the long axis against the
    horizontal, degrees in (-90, 90]; `length` and `width` are the sides of the smallest rectangle around it. `score`
    is the map's peak inside, `mean_score` its mean. `type` and `confidence` are None where nothing names types; a type
    `unknown` has no confidence. `also` are other types that its parts show: a knot that a crack touches is one region.
    """

    box: Box
    outline: tuple[tuple[int, int], ...]
    area: int
    orientation: float
    length: float
    width: float
    score: float
    mean_score: float
    type: str | None = None
    confidence: float | None = None
    also: tuple[str, ...] = ()

    @property
    def types(self) -> str:
        """All that it is, in words."""
        return " + ".join((self.type or "defect", *self.also))
