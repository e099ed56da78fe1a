"""What people said of images on an inspection's report, kept in a surface's ledger beside the order of arrival.

The images themselves lie there too: DVC keeps reviews with the raw data, and a clean run sees them again.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import ValidationError

from pipelines.core.errors import SourceError
from pipelines.core.files import write_whole
from pipelines.core.geometry import ReadBox
from pipelines.core.parsing import first_fault, parse_json
from pipelines.core.paths import InsidePath, inside
from pipelines.core.records import Label, MaskValue, Record, SourceRow

FOLDER = "reviews"
_PREFIX = f"{FOLDER}/"
_TABLE = f"{FOLDER}/reviews.csv"


class Reviewed(Record):
    """One reviewed image; `image` and `mask` are relative to the ledger.

    `defects` maps the mask's values to types, as for SourceRow. `declared_split` says which split it is for: `test`
    where it holds or held a defect (a part of these is chosen on, see splits/labelled.py), else what it was shown for
    decides. Images that were picked by their score are normal ones that look odd: calibrating on them would raise the
    thresholds. `rejected` are boxes of false alarms, in its pixels.
    """

    former: ClassVar[Mapping[str, str]] = {"split": "declared_split"}
    former_values: ClassVar[Mapping[str, Mapping[str, str]]] = {
        "declared_split": {"only calibrate": "only calibration"}
    }

    sha256: str
    image: InsidePath
    mask: InsidePath | None
    label: Label
    declared_split: Literal["test", "only train", "only calibration"]
    defects: dict[MaskValue, str]
    rejected: tuple[ReadBox, ...] = ()

    def as_row(self) -> SourceRow:
        """Describe it as an image that came with its review."""
        facts = self.model_dump(include={"label", "mask", "defects", "declared_split"})
        return SourceRow(path=self.image, typed_mask=self.mask is not None, **facts)

    def over(self, row: SourceRow) -> SourceRow:
        """Correct a row of the source that shows the same image; it stays in the split that it is in."""
        if self.label == Label.ANOMALOUS and self.mask is None and row.label == Label.ANOMALOUS:
            return row
        kept = {Label.NORMAL: None, Label.UNKNOWN: "only train", Label.ANOMALOUS: "test"}[row.label]
        facts = self.model_dump(include={"label", "mask", "defects"})
        return row.model_copy(
            update={**facts, "typed_mask": self.mask is not None, "declared_split": row.declared_split or kept}
        )


def is_reviewed(name: str) -> bool:
    """Tell whether a manifest's image or mask came from a review.

    >>> is_reviewed("reviews/masks/a.png"), is_reviewed("masks/a.png")
    (True, False)
    """
    return name.startswith(_PREFIX)


def raw_file(source: Path, name: str) -> Path:
    """Find a manifest's image or mask: reviewed ones lie in the ledger beside the source.

    No layout names files in a folder `reviews`.

    Args:
        source: The surface's folder of raw images, whose neighbour is the folder `ledger`.
        name: POSIX path as the manifest has it.

    Returns:
        Where the file lies; it need not be there.

    Raises:
        PathError: If the name leads out of source or ledger.

    >>> raw_file(Path("wood/source"), "reviews/masks/a.png").as_posix()
    'wood/ledger/reviews/masks/a.png'
    """
    return inside(source.with_name("ledger") if is_reviewed(name) else source, name)


def read_reviews(ledger: Path) -> list[Reviewed]:
    """Read a surface's reviews, in the order of images; none where there were none.

    Raises:
        SourceError: where the table is damaged.
    """
    table = ledger / _TABLE
    if not table.is_file():
        return []
    try:
        with table.open(encoding="utf-8", newline="") as lines:
            return [_read_row(row) for row in csv.DictReader(lines)]
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        fault = first_fault(error) if isinstance(error, ValidationError) else repr(error)
        raise SourceError(
            f"{table} is damaged ({fault})", hint="restore it from DVC: `dvc checkout --force`"
        ) from error


def _read_row(row: Mapping[str, str]) -> Reviewed:
    # Tables written before rejected regions were kept have no such column.
    told = {"mask": row["mask"] or None, "defects": parse_json(row["defects"])}
    found = Reviewed.model_validate({**row, **told, "rejected": parse_json(row.get("rejected") or "[]")})
    for name in (found.image, found.mask):
        if name and (not name.startswith(_PREFIX) or name == _TABLE):
            raise ValueError(f"'{name}' is no file of a review")
    return found


def write_reviews(ledger: Path, reviews: Sequence[Reviewed]) -> None:
    """Write the table of reviews, then remove images and masks that it does not name.

    Args:
        ledger: The surface's ledger; reviews.csv there is replaced whole.
        reviews: All reviews of the surface, earlier ones included, in any order. Their files are there already.

    Raises:
        PathError: If the folder of reviews is a link that leads out of the ledger.
    """
    text = io.StringIO()
    rows = csv.DictWriter(text, list(Reviewed.model_fields), lineterminator="\n")
    rows.writeheader()
    for review in sorted(reviews, key=lambda r: r.image):
        written = {"defects": json.dumps(review.defects, ensure_ascii=False), "rejected": json.dumps(review.rejected)}
        rows.writerow({**review.model_dump(mode="json"), **written})
    write_whole(ledger / _TABLE, text.getvalue())
    drop_unnamed(ledger)


def drop_unnamed(ledger: Path) -> None:
    """Remove what a review that did not come to its end left."""
    # Where the folder were a link, what it leads to would be emptied.
    inside(ledger, _TABLE)
    named = {name for review in read_reviews(ledger) for name in (review.image, review.mask) if name}
    for path in (ledger / FOLDER).rglob("*"):
        if path.is_file() and path.name != "reviews.csv" and path.relative_to(ledger).as_posix() not in named:
            path.unlink()
