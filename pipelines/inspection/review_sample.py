"""Stage: put images of a drifted batch into a folder, for a person to look at and review."""

import csv
import io
import logging
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.core.errors import ImageError
from pipelines.core.files import shorten_name, write_whole
from pipelines.detector.version import DriftReference
from pipelines.imaging.decoding import read_image_file, read_pixels
from pipelines.imaging.measures import MEASURES
from pipelines.inspection.drift import JUDGED, NAMES, SCORE, Drift, DriftKind

TABLE = "photographs.csv"
# One in four is drawn at random: only such images may be calibrated on once they were reviewed.
_RANDOM = 4
_MOST_MEGAPIXELS = 200.0  # of an image that is copied; a larger file is read by nobody who reviews
_COLUMNS = ("file", "path", "picked", "why", "version", "score", "anomalous", *MEASURES)

log = logging.getLogger(__name__)


def sample_for_review(
    found: Drift, reference: DriftReference, batch: pd.DataFrame, folder: Path, count: int
) -> Path | None:
    """Copy images of a drifted batch into a folder of its own, with a table that says why each is there.

    Three in four are the most drifted, the rest are drawn at random from the others. Only images that still exist are
    copied, and nothing that is none.

    Args:
        found: The check of `batch`; something moved.
        reference: What the batch was compared with.
        batch: The rows that were checked.
        folder: Where the new folder goes, named as the batch; one of that name is replaced.
        count: How many images are copied at most, 0 or more.

    Returns:
        The new folder; None where no image exists or `count` is 0, and nothing is written then.
    """
    # A history that was restored may be anybody's: a row need not have a path.
    there = batch[[isinstance(path, str) and Path(path).is_file() for path in batch["path"]]].reset_index(drop=True)
    if there.empty or count == 0:
        return None
    strangeness, why = _rank(found, reference, there)
    order = [int(i) for i in np.argsort(-strangeness, kind="stable")]
    drawn = min(count // _RANDOM, max(0, len(order) - (count - count // _RANDOM)))
    picked = [(i, "most drifted") for i in order[: count - drawn]]
    # The same batch draws the same images, so that a check that was killed may be made again.
    rng = np.random.default_rng(zlib.crc32(found.batch.encode()))
    rest = order[count - drawn :]
    picked += [(rest[int(j)], "at random") for j in rng.permutation(len(rest))[:drawn]]
    images = [(i, how) for i, how in picked if _is_image(Path(str(there["path"].iloc[i])))]
    if len(images) < len(picked):
        log.warning(
            "sampled for review %s: %d files are no images and are left out", found.surface, len(picked) - len(images)
        )
    if not images:
        return None
    part, target = folder / f".{found.batch}.part", folder / found.batch
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        rows = [_copy(part, rank, there.iloc[i], how, why[i]) for rank, (i, how) in enumerate(images, 1)]
        write_whole(part / TABLE, _as_csv(rows))
        shutil.rmtree(target, ignore_errors=True)
        part.replace(target)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    log.info("sampled for review %s: %d images of %s in %s", found.surface, len(rows), found.batch, target)
    return target


def _is_image(path: Path) -> bool:
    """Tell whether a file is an image: what the folder of reviews holds is backed up, and shown to others."""
    try:
        return read_pixels(read_image_file(path, _MOST_MEGAPIXELS)) > 0
    except (ImageError, OSError):
        return False


def _rank(found: Drift, reference: DriftReference, batch: pd.DataFrame) -> tuple[NDArray[np.float64], list[str]]:
    """Compute how strange each image is, and say why."""
    names = [figure.name for figure in found.figures if figure.moved and figure.name in reference.measures]
    if found.kind == DriftKind.CONTENT and {figure.name for figure in found.figures if figure.moved} & JUDGED:
        score = batch[SCORE].to_numpy(float)
        return score, [f"{NAMES[SCORE]} {value:.3f}" for value in score]
    away = {name: _deviations(reference.measures[name], batch[name].to_numpy(float)) for name in names}
    table = np.stack([away[name] for name in names])
    worst = table.argmax(axis=0)
    why = [
        f"{NAMES[names[w]]} {batch[names[w]].iloc[i]:.4g}, calibrated on {_range(reference.measures[names[w]])}"
        for i, w in enumerate(worst)
    ]
    return table.max(axis=0), why


def _deviations(reference: Sequence[float], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Count how many median absolute deviations of the reference each value is from its median."""
    median = np.median(reference)
    deviation = np.median(np.abs(np.asarray(reference) - median))
    return np.asarray(np.abs(values - median) / max(float(deviation), 1e-6))


def _range(values: Sequence[float]) -> str:
    return f"{min(values):.4g} to {max(values):.4g}"


def _copy(folder: Path, rank: int, row: "pd.Series[Any]", how: str, why: str) -> dict[str, object]:
    source = Path(str(row["path"]))
    # The ending is kept: it says what the file is.
    name = f"{rank:03d}-{shorten_name(source.stem, len(source.suffix.encode()) + 4)}{source.suffix}"
    shutil.copyfile(source, folder / name)
    facts = {name: row[name] for name in ("path", "version", "score", "anomalous", *MEASURES)}
    return {**facts, "file": name, "picked": how, "why": why}


def _as_csv(rows: Sequence[dict[str, object]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
