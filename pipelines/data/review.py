"""Stage: take a reviewer's verdicts into a surface's raw data."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import FailFast, Field, ValidationError, model_validator

from pipelines.core.errors import CallError, ImageError
from pipelines.core.files import read_at_most, write_whole
from pipelines.core.geometry import Box
from pipelines.core.parsing import first_fault
from pipelines.core.paths import inside
from pipelines.core.progress import track
from pipelines.core.records import MOST_TYPES, NORMAL, UNKNOWN, Label, Record, Side
from pipelines.data.review_ledger import FOLDER, Reviewed, drop_unnamed, read_reviews, write_reviews
from pipelines.imaging.decoding import decode_image, read_image_file
from pipelines.imaging.overlay import encode_picture

UNTYPED = "defect"
# What filling outlines may take, as corners times rows: on an image of 8,000 rows 2,500 corners, or 3 seconds. What a
# page saves has a few hundred corners a region.
_MOST_WORK = 20_000_000
_MOST_BYTES = 200_000_000  # of a saved review


class JudgedDefect(Record):
    """One region and what was said of it; the outline is in pixels of the image as a person sees it."""

    outline: tuple[tuple[int, int], ...] = Field(min_length=1)
    verdict: Literal["confirmed", "rejected"]
    type: str | None = Field(default=None, min_length=1, max_length=60, pattern=r"^[^\x00-\x1f]+$")

    @property
    def name(self) -> str:
        """The defect's type; what the model could not name, or would have dropped, has none."""
        return UNTYPED if self.type is None or self.type in {NORMAL, "sound", UNKNOWN} else self.type

    @property
    def box(self) -> Box:
        """What the outline's pixels lie in; right and bottom are exclusive."""
        columns, rows = zip(*self.outline, strict=True)
        return Box(min(columns), min(rows), max(columns) + 1, max(rows) + 1)


class JudgedImage(Record):
    """One image of which everything that is outlined was judged.

    `drawn` says why it was on the report; `missed` that a defect is there which has no outline. `path` is where the
    user's image lay, anywhere: it is only read, and known by its SHA-256.
    """

    path: str = Field(min_length=1, pattern=r"^[^\x00]+$")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    width: Side
    height: Side
    drawn: Literal["score", "random"]
    missed: bool
    defects: tuple[JudgedDefect, ...]

    @model_validator(mode="after")
    def _fits_its_mask(self) -> "JudgedImage":
        corners = [corner for defect in self.defects for corner in defect.outline]
        outside = next((c for c in corners if not (0 <= c[0] < self.width and 0 <= c[1] < self.height)), None)
        if outside is not None:
            raise ValueError(f"the corner {outside} lies outside of {self.width} x {self.height} pixels"[:200])
        work = sum(_work_of(defect) for defect in self.confirmed)
        if work > _MOST_WORK:
            raise ValueError(f"the outlines are too many or too jagged: {work:,} corners times rows")
        if len(self.types) > MOST_TYPES:
            raise ValueError(f"{len(self.types)} types on one image, a mask holds at most {MOST_TYPES}")
        return self

    @property
    def types(self) -> dict[str, int]:
        """Number the types that were confirmed, from 1."""
        return {name: number for number, name in enumerate(sorted({d.name for d in self.confirmed}), 1)}

    @property
    def confirmed(self) -> list[JudgedDefect]:
        return [defect for defect in self.defects if defect.verdict == "confirmed"]

    @property
    def rejected(self) -> tuple[Box, ...]:
        return tuple(defect.box for defect in self.defects if defect.verdict == "rejected")


class Review(Record):
    """A review as an inspection's report saves it."""

    former: ClassVar[Mapping[str, str]] = {"photographs": "images"}

    kind: Literal["knotwatch review"]
    schema_version: Literal[1]
    surface: str
    model: str
    reviewed: str
    # The first fault is told; to collect a million takes minutes.
    images: Annotated[tuple[JudgedImage, ...], FailFast()] = Field(min_length=1)


def read_review(file: Path) -> Review:
    """Read a saved review; raise CallError where the file is none."""
    try:
        return Review.model_validate_json(read_at_most(file, _MOST_BYTES))
    except OSError as error:
        raise CallError(
            f"{file} cannot be read: {error.strerror}", hint="name the file that the report saved"
        ) from error
    except ValidationError as error:
        raise CallError(
            f"{file} is no review: {first_fault(error)}", hint="save it again on the report's page"
        ) from error


def find_reviewed(review: Review, root: Path, folders: Sequence[Path] = ()) -> list[Path]:
    """Find each image of a review by its path, or below other folders, and know it by its SHA-256.

    Args:
        review: A review as the report saved it.
        root: Folder that the review's relative paths start from; absolute ones do not need it.
        folders: Where images of the same file name are looked for, at any depth, if they are gone from their path.

    Returns:
        One file for each of `review.images`, in their order.

    Raises:
        CallError: If one is not there any more, or was changed since.
    """
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.is_file()]
    named: dict[str, list[Path]] = {}
    for file in files:
        named.setdefault(file.name, []).append(file)
    found: list[Path] = []
    missing: list[str] = []
    for image in review.images:
        places = [root / image.path, *named.get(Path(image.path).name, [])]
        same = next((place for place in places if _sha256(place) == image.sha256), None)
        if same is None:
            missing.append(image.path)
        else:
            found.append(same)
    if missing:
        raise CallError(
            f"{len(missing)} of {len(review.images)} images are not there as they were: {missing[0][:300]}",
            hint="name the folder where they are now: --images FOLDER",
        )
    return found


def take_review(review: Review, files: Sequence[Path], ledger: Path, max_megapixels: float) -> list[Reviewed]:
    """Copy reviewed images into the ledger, draw their masks, and write down what was said of them.

    An image that was reviewed before has the later verdict, in the split that it is in: only a defect moves it, out of
    train and calibration. The table is written last; until then the earlier reviews hold.

    Args:
        review: A review as the report saved it; outlines are in pixels of the upright image.
        files: One image file for each of `review.images`, in their order, as `find_reviewed` returns them; only read.
        ledger: The surface's ledger; its folder `reviews` is written to.
        max_megapixels: Largest image that is decoded, in millions of pixels.

    Returns:
        What was taken, in the order of `review.images`; earlier reviews are not among them.

    Raises:
        ImageError: If an image cannot be decoded, or has another size than the review says.
        SourceError: If the ledger's table of reviews is damaged.
    """
    before = {r.sha256: r for r in read_reviews(ledger)}
    pairs = list(zip(review.images, files, strict=True))
    try:
        taken = [
            _take(image, file, ledger, max_megapixels, before.get(image.sha256))
            for image, file in track(pairs, len(pairs), "review")
        ]
        write_reviews(ledger, list({**before, **{r.sha256: r for r in taken}}.values()))
    except BaseException:
        drop_unnamed(ledger)
        raise
    return taken


def _take(judged: JudgedImage, file: Path, ledger: Path, max_megapixels: float, before: Reviewed | None) -> Reviewed:
    data = read_image_file(file, max_megapixels)
    height, width = decode_image(data, max_megapixels).image.shape[:2]
    if (width, height) != (judged.width, judged.height):
        raise ImageError(
            f"{file} is {width} x {height}, the review shows {judged.width} x {judged.height}",
            hint="review it again, on a new report",
        )
    plain = re.sub(r"[^-.\w]+", "_", file.stem)[:60].encode()[:180].decode(errors="ignore")
    stem = f"{plain}-{judged.sha256[:8]}"
    ending = re.sub(r"[^.\w]+", "_", file.suffix.lower())[:10]
    image = before.image if before else f"{FOLDER}/photographs/{stem}{ending}"
    write_whole(inside(ledger, image), data)
    types = judged.types
    mask = None
    # What nobody outlined would count as normal in a mask.
    if types and not judged.missed:
        # One file for each verdict: the table that names it is what changes in one step.
        drawn = encode_picture(_draw(judged), "png")
        mask = f"{FOLDER}/masks/{stem}-{hashlib.sha256(drawn).hexdigest()[:8]}.png"
        write_whole(inside(ledger, mask), drawn)
    label = Label.ANOMALOUS if types or judged.missed else Label.NORMAL
    numbers = {number: name for name, number in types.items()} or ({1: UNTYPED} if judged.missed else {})
    return Reviewed(
        sha256=judged.sha256,
        image=image,
        mask=mask,
        label=label,
        declared_split=_split(judged, label, before),
        defects=numbers,
        rejected=judged.rejected,
    )


def _split(
    judged: JudgedImage, label: Label, before: Reviewed | None
) -> Literal["test", "only train", "only calibration"]:
    if label == Label.ANOMALOUS:
        return "test"
    if before is not None:
        return before.declared_split
    return "only calibration" if judged.drawn == "random" else "only train"


def _work_of(defect: JudgedDefect) -> int:
    return len(defect.outline) * (defect.box.bottom - defect.box.top)


def _draw(judged: JudgedImage) -> NDArray[np.uint8]:
    """Fill confirmed outlines with the numbers of their types, the first one, of the highest score, on top."""
    mask = np.zeros((judged.height, judged.width), np.uint8)
    for defect in reversed(judged.confirmed):
        cv2.fillPoly(mask, [np.array(defect.outline, np.int32)], judged.types[defect.name])
    return mask


def _sha256(path: Path) -> str | None:
    try:
        if not path.is_file():  # a pipe or a device would never end
            return None
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None
