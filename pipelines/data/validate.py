"""Stage: measure every image of a surface once, and judge the manifest."""

import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from pipelines.core.errors import KnotwatchError, explain_os_error
from pipelines.core.files import write_whole
from pipelines.core.paths import find_project
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import SurfaceSettings, read_surface
from pipelines.data import intake
from pipelines.data.expectations import judge
from pipelines.data.layouts import read_source
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows, read_manifest, write_manifest
from pipelines.data.reuse import hash_modules, keep_for_reuse, may_reuse
from pipelines.data.review_ledger import Reviewed, read_reviews
from pipelines.data.splits.warnings import measure_splits

_CODE = hash_modules(
    "pipelines.data.manifest",
    "pipelines.data.review_ledger",
    *(f"pipelines.imaging.{name}" for name in ("decoding", "depth", "measures")),
)

log = logging.getLogger(__name__)


def build_manifest(
    source: Path,
    arrivals: dict[str, int],
    settings: SurfaceSettings,
    known: pd.DataFrame | None,
    reviews: Sequence[Reviewed] = (),
) -> pd.DataFrame:
    """Measure what is new, then group and split the images.

    A reviewed image that the source did not have before is an image of its own.

    Args:
        source: The surface's raw images; files of reviews lie in the folder `ledger` beside it.
        arrivals: By path, the number of the batch it came with, from 1. What is not in it came last.
        settings: Layout, limits and shares of the surface.
        known: An earlier manifest whose figures are taken over where files are the same; None measures everything.
        reviews: All reviews of the surface.

    Returns:
        The manifest, in the order of paths, with `arrival` besides its own columns.

    Raises:
        SourceError: If the source does not lie as its layout says.
    """
    own_rows = read_source(settings.source.layout, source)
    rows = [*own_rows, *(review.as_row() for review in reviews)]
    frame = measure_rows(rows, source, settings.validation, known, {review.sha256: review for review in reviews})
    # What the ledger does not know yet came last. The order decides groups and splits, and is not part of the data:
    # the same images in the same splits are the same data version, however they came.
    latest = max(arrivals.values(), default=0) + 1
    frame = frame.assign(arrival=[arrivals.get(path, latest) for path in frame["path"]])
    own = frame["path"].isin([review.image for review in reviews])
    frame = frame[~own | (frame["arrival"] == frame.groupby("sha256")["arrival"].transform("min"))]
    bits = settings.validation.near_duplicate_bits
    frame = assign_groups(frame.sort_values("path", ignore_index=True), bits, settings.split)
    held = {row.path for row in own_rows if row.declared_split == "test"}
    return assign_splits(frame, settings.split, set(frame.loc[frame["declared_split"] == "test", "path"]) - held)


def validate(manifest: pd.DataFrame, settings: SurfaceSettings, docs: Path | None) -> ValidationReport:
    """Judge a manifest. A verdict is always left, also a bad one.

    Args:
        manifest: As `build_manifest` returns it.
        settings: The surface's; `validation` holds the limits, `split` the shares.
        docs: Folder that Data Docs are written to; None writes none.

    Returns:
        What is quarantined and why, how large the splits are, and whether the run may go on.

    Raises:
        ToolError: If Great Expectations could not evaluate one of its expectations.
    """
    verdict = judge(manifest, settings.validation, docs)
    left_out = {file.path for file in (*verdict.quarantined, *verdict.duplicates)}
    usable = manifest[~manifest["path"].isin(left_out)]
    return verdict.model_copy(update={"splits": measure_splits(usable, settings.split)})


def read_arrivals(path: Path) -> dict[str, int]:
    """Read the ledger: which batch each file came with."""
    frame = intake.read_arrivals(path)
    return dict(zip(frame["path"], frame["arrival"], strict=True))


def main(name: str) -> None:
    """Run the stage for one surface, as dvc.yaml does."""
    started = time.monotonic()
    project = find_project()
    paths = project.surface(name)
    settings = read_surface(project, name)
    note = paths.manifest.with_name("manifest.made-by.json")
    known = read_manifest(paths.manifest) if may_reuse(paths.manifest, note, _CODE) else None
    arrivals, reviews = read_arrivals(paths.arrivals), read_reviews(paths.ledger)
    manifest = build_manifest(paths.source, arrivals, settings, known, reviews)
    verdict = validate(manifest, settings, paths.reports / "validation")
    write_manifest(manifest, paths.manifest)
    keep_for_reuse(paths.manifest, note, _CODE)
    write_whole(paths.verdict, verdict.model_dump_json(indent=1, exclude={"unused"}) + "\n")
    log.info(
        "validate %s: %d images, %d quarantined, %d duplicates, %.1f s",
        *(name, verdict.images, len(verdict.quarantined), len(verdict.duplicates), time.monotonic() - started),
    )


if __name__ == "__main__":
    logging.basicConfig(format="%(message)s")
    log.setLevel(logging.INFO)
    try:
        main(sys.argv[1])
    except KnotwatchError as error:
        sys.exit(f"{error}")
    except OSError as error:
        sys.exit(f"{explain_os_error(error)}")
