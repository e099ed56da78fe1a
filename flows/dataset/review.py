"""From a saved review to the next data version."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from flows.dataset.surface import reproduce, track_raw
from flows.runtime.session import hold, look_at
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.results import ValidationReport
from pipelines.data.intake import Intake, note_arrivals
from pipelines.data.manifest import read_manifest
from pipelines.data.review import find_reviewed, read_review, take_review

log = logging.getLogger(__name__)


class ReviewChange(Record):
    """What a review came to: images, defects confirmed and rejected, and images in each split.

    `new` counts the images that the surface did not know.
    """

    surface: str
    data_version: str | None
    images: int
    new: int
    confirmed: int
    rejected: int
    splits: dict[str, int]
    verdict: ValidationReport


def review_surface(project: Project, name: str, file: Path, folders: Sequence[Path] = ()) -> ReviewChange:
    """Take a saved review into a surface's data, then measure and prepare what changed.

    Args:
        project: Paths of the review that are relative are below its root.
        name: Surface that the review is of.
        file: JSON that an inspection's report saved.
        folders: Where images that were moved since may lie, at any depth; they are known by their SHA-256.

    Returns:
        Counts of images, verdicts and splits, and the data version that they made.

    Raises:
        CallError: If the file is no review of this surface, or its images are not found as they were.
        ImageError: If an image is larger than the surface takes, or of another size than the review says.
        GateError: If too many images are bad then.
        BusyError: If another process changes the surface.
    """
    session = look_at(name, project=project)
    settings = session.settings
    review = read_review(file)
    if review.surface != name:
        raise CallError(f"{file} reviews surface '{review.surface}', not '{name}'", hint="name that surface")
    paths = project.surface(name)
    files = find_reviewed(review, project.root, folders)
    with hold(session, "data review"):
        known = set(read_manifest(paths.manifest)["sha256"]) if paths.manifest.is_file() else set()
        taken = take_review(review, files, paths.ledger, settings.validation.max_megapixels)
        note_arrivals(settings.source.layout, paths.source, paths.arrivals)
        track_raw(project, paths, settings)
        intake = Intake(images=len(taken), new=len(taken), changed=0, removed=0)
        change = reproduce(project, name, settings, intake)
    shown = {r.sha256 for r in taken}
    manifest = read_manifest(paths.manifest)
    told = manifest[manifest["sha256"].isin(shown) & (manifest["duplicate_of"] == "")]
    judged = [defect.verdict for image in review.images for defect in image.defects]
    return ReviewChange(
        surface=name,
        data_version=change.data_version,
        images=len(taken),
        new=len(shown - known),
        confirmed=judged.count("confirmed"),
        rejected=judged.count("rejected"),
        splits=dict(Counter(told["split"])),
        verdict=change.verdict,
    )
