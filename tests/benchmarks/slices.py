"""Training on unlabelled slices, against outlines drawn by hand: `python -m tests.benchmarks.slices FOLDER`.

FOLDER holds raw/ and annotations.json. Training sees no outline; figures against them were looked at while the two
scales were tried, so that choice is not free of them.
"""

import json
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, NamedTuple

import cv2
import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from rich.table import Table
from sklearn.metrics import average_precision_score, roc_auc_score

from pipelines.calibrate import calibrate
from pipelines.config import PartSettings, RunSettings, SourceSettings, SurfaceSettings, ValidationSettings
from pipelines.loader import Detector, Scan
from pipelines.memory import reset_peak
from pipelines.prepared import PreparedImage, read_index
from pipelines.preprocess import preprocess
from pipelines.records import Algorithm, Defect, Layout, Verdict
from pipelines.sources import read_source
from pipelines.sources.manifest import assign_groups, assign_parts, measure_rows
from pipelines.train import peak_rss_mb, train

_TOLERANCE = 8  # pixels
_EVERY = 7  # pixel that is counted: an outline is thousands wide
_SURFACE = SurfaceSettings(source=SourceSettings(layout=Layout.UNLABELLED))
show = Console(width=150)


class Scored(NamedTuple):
    """One outlined photograph: scores and truth of its pixels with each tolerance, and what was found."""

    name: str
    strict: tuple[NDArray[np.float32], NDArray[np.bool_]]
    even: tuple[NDArray[np.float32], NDArray[np.bool_]]
    outlined: int
    found: int
    false: int
    foreign: bool


def slices(
    folder: Annotated[Path, typer.Argument(help="Holds raw/ and annotations.json.")],
    algorithm: Annotated[Algorithm, typer.Option(help="What to train.")] = Algorithm.PADIM,
    leave_out: Annotated[bool, typer.Option(help="Also train once without each outlined photograph.")] = True,
    precision: Annotated[str, typer.Option(help="auto takes longer: every precision is tried.")] = "f32",
) -> None:
    """Train on all slices without labels and find the outlined defects; then again on a slice that was left out."""
    settings = RunSettings.model_validate({"export": {"precision": precision}})
    outlines = json.loads((folder / "annotations.json").read_text())["images"]
    with tempfile.TemporaryDirectory() as scratch:
        prepared = Path(scratch) / "prepared"
        images = _prepare(folder / "raw", prepared)
        outlined = [i for i in images if outlines.get(i.path)]
        everything = list(_score(folder, prepared, images, outlined, outlines, algorithm, settings, Path(scratch)))
        _report("trained on all", everything)
        if not leave_out:
            return
        apart: list[Scored] = []
        for image in outlined:
            rest = [i for i in images if i.path != image.path]
            apart += _score(folder, prepared, rest, [image], outlines, algorithm, settings, Path(scratch))
        _report("left out", apart)


def _prepare(raw: Path, prepared: Path) -> list[PreparedImage]:
    table = measure_rows(read_source(Layout.UNLABELLED, raw), raw, ValidationSettings())
    table = assign_parts(assign_groups(table, ValidationSettings().near_duplicate_bits), PartSettings())
    verdict = Verdict(accepted=True, images=len(table), usable=len(table))
    preprocess(table, verdict, raw, _SURFACE.region, 200.0, prepared)
    return read_index(prepared)


def _score(  # noqa: PLR0917 - one training and all that it needs
    folder: Path,
    prepared: Path,
    images: Sequence[PreparedImage],
    looked_at: Sequence[PreparedImage],
    outlines: dict[str, list[dict[str, object]]],
    algorithm: Algorithm,
    settings: RunSettings,
    scratch: Path,
) -> Iterator[Scored]:
    reset_peak()
    started = time.monotonic()
    trained = train(algorithm, prepared, images, settings, scratch / "model")
    calibrate(trained, prepared, images, "slices", _SURFACE, settings.of(algorithm).score, "none")
    show.print(f"{algorithm}: {trained.notes}, {time.monotonic() - started:.0f} s, peak {peak_rss_mb():.0f} MB")
    detector = Detector(scratch / "model")
    for image in looked_at:
        started = time.monotonic()
        with Image.open(folder / "raw" / image.path) as file:
            photograph = np.asarray(file.convert("RGB"))
        scan = detector.scan(photograph)
        show.print(f"{image.path}: {time.monotonic() - started:.1f} s, {len(scan.defects)} regions", highlight=False)
        found = _compare(image.path, scan, outlines[image.path])
        show.print(_row(found), highlight=False)
        yield found


def _compare(name: str, scan: Scan, outlines: Sequence[dict[str, object]]) -> Scored:
    numbers = np.zeros(scan.map.shape, np.int32)
    for number, outline in enumerate(outlines, 1):
        cv2.fillPoly(numbers, [np.round(np.asarray(outline["polygon"])).astype(np.int32)], number)
    truth = (numbers > 0).astype(np.uint8)
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _TOLERANCE + 1,) * 2)
    wide, narrow = cv2.dilate(truth, disc) > 0, cv2.erode(truth, disc) > 0
    counted = [~wide | (truth > 0), ~wide | narrow]
    pixels = [(scan.map[place][::_EVERY], truth[place][::_EVERY] > 0) for place in counted]
    touched = [_touched(defect, numbers, disc) for defect in scan.defects]
    found = set().union(*touched)
    false = sum(not numbers for numbers in touched)
    return Scored(name, pixels[0], pixels[1], len(outlines), len(found), false, scan.foreign)


def _touched(defect: Defect, numbers: NDArray[np.int32], disc: NDArray[np.uint8]) -> set[int]:
    """Return the outlines that a region comes within 8 px of."""
    region = np.zeros(numbers.shape, np.uint8)
    cv2.fillPoly(region, [np.array(defect.outline, np.int32)], 1)
    return set(np.unique(numbers[cv2.dilate(region, disc) > 0]).tolist()) - {0}


def _report(title: str, scored: Sequence[Scored]) -> None:
    table = Table("photograph", "AUROC, AP", "+-8 px of outlines out", "found", "false regions", "foreign", title=title)
    for one in scored:
        table.add_row(*_row(one))
    rates = [_rates([one.strict for one in scored]), _rates([one.even for one in scored])]
    found = f"{sum(one.found for one in scored)} of {sum(one.outlined for one in scored)}"
    table.add_row("together", *rates, found, f"{np.mean([one.false for one in scored]):.1f} each", "")
    show.print(table)


def _row(one: Scored) -> list[str]:
    rates = [_rates([pixels]) for pixels in (one.strict, one.even)]
    return [one.name, *rates, f"{one.found} of {one.outlined}", str(one.false), str(one.foreign)]


def _rates(pixels: Sequence[tuple[NDArray[np.float32], NDArray[np.bool_]]]) -> str:
    scores, truth = (np.concatenate(column) for column in zip(*pixels, strict=True))
    if not truth.any():
        return "none left"
    return f"{roc_auc_score(truth, scores):.3f}, {average_precision_score(truth, scores):.3f}"


if __name__ == "__main__":
    typer.run(slices)
