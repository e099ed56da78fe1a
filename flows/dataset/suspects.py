"""Which images that are taken for normal a person should look at first."""

import logging
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from flows.dataset.surface import prepared_images
from flows.runtime.champion import Loaded, load_version
from flows.runtime.session import Session, look_at
from pipelines.core.errors import CallError, ModelError
from pipelines.core.paths import Project
from pipelines.core.records import Label, Record
from pipelines.core.wording import share_in_words
from pipelines.data.manifest import read_manifest
from pipelines.data.prepared import PreparedImage
from pipelines.data.review_ledger import raw_file, read_reviews
from pipelines.data.versioning.versions import data_version
from pipelines.inspection.suspects import Unlike, rank_unlike, show_suspects, taken_for_normal
from pipelines.inspection.threshold_images import name_calibration_scores, threshold_without
from pipelines.reports.suspects_page import SuspectEntry, SuspectsPage, write_suspects_page

log = logging.getLogger(__name__)


class Suspect(Record):
    """One image that is taken for normal, and how unlike the others it is.

    `rank` counts from 1, `score` is in multiples of the median image's. `path` is relative to the project.
    `threshold_without` is what the champion's image threshold would be without this image, where that is lower.
    """

    path: str
    rank: int
    score: float
    split: str
    label: str
    threshold_without: float | None = None


class ThresholdImage(Record):
    """The calibration image whose score is the champion's image threshold; `rank` is its rank among the suspects."""

    model: str
    target_rate: float
    threshold: float
    path: str
    rank: int
    without: float | None


class SuspectsResult(Record):
    """Images taken for normal, those least like the rest first.

    `images` counts all that were ranked, `reviewed` those that a person called normal before, which are not listed.
    `threshold` is None where there is no champion, or it was calibrated on other images than the surface has now.
    """

    surface: str
    data_version: str | None
    images: int
    reviewed: int
    suspects: tuple[Suspect, ...]
    threshold: ThresholdImage | None
    page: str
    seconds: float


def find_suspects(project: Project, name: str, count: int, *, everything: bool = False) -> SuspectsResult:
    """Rank a surface's images that are taken for normal, and write the page on which the first of them are judged.

    Nothing of the surface is changed: what is judged comes back through `review_surface`.

    Args:
        project: Project that holds the surface; the page is written into the surface's reports.
        name: Surface whose images are prepared.
        count: How many images are listed at most, 1 or more.
        everything: Also list images that a person called normal before.

    Returns:
        The listed images, and which one the champion's threshold rests on.

    Raises:
        CallError: If the surface has no prepared images, or too few to compare.
        SourceError: If a raw image is gone.
        SettingsError: If there is no such surface, or its settings are wrong.
    """
    started = time.monotonic()
    session = look_at(name, project=project)
    images = prepared_images(project, name)
    normals = taken_for_normal(images)
    if not normals:
        raise CallError(
            f"'{name}' has no image that is taken for normal: {session.paths.prepared} holds {len(images)} images",
            hint=f"knotwatch data update {name}",
        )
    paths = session.paths
    ranked = rank_unlike(paths.prepared, normals, paths.work)
    reviewed = set() if everything else _called_normal(session) & {image.path for image in normals}
    ranks = {unlike.image.path: rank for rank, unlike in enumerate(ranked, 1)}
    listed = [unlike for unlike in ranked if unlike.image.path not in reviewed][:count]
    threshold, suspects = _with_thresholds(session, images, listed, ranks)
    page = paths.reports / "suspects.html"
    result = SuspectsResult(
        surface=name,
        data_version=data_version(project, name),
        images=len(ranked),
        reviewed=len(reviewed),
        suspects=suspects,
        threshold=threshold,
        page=page.relative_to(project.root).as_posix(),
        seconds=time.monotonic() - started,
    )
    _write_page(session, result, listed, page)
    return result.model_copy(update={"seconds": time.monotonic() - started})


def threshold_in_words(found: ThresholdImage) -> str:
    """Say which image a threshold rests on, and how far it would fall without it."""
    fall = "" if found.without is None else f"; without that image it would be {found.without:.3f}"
    return (
        f"The threshold of {found.model} for a false-positive rate of {share_in_words(found.target_rate)}, "
        f"{found.threshold:.3f}, is the score of the calibration image {found.path} (rank {found.rank} here){fall}."
    )


def _called_normal(session: Session) -> set[str]:
    """Return the paths of images that a person looked at and called normal, on whichever page."""
    normal = {review.sha256 for review in read_reviews(session.paths.ledger) if review.label == Label.NORMAL}
    if not normal:
        return set()
    manifest = read_manifest(session.paths.manifest)
    return set(manifest[manifest["sha256"].isin(normal)]["path"])


def _with_thresholds(
    session: Session, images: Sequence[PreparedImage], listed: Sequence[Unlike], ranks: dict[str, int]
) -> tuple[ThresholdImage | None, tuple[Suspect, ...]]:
    """Describe the listed images, and by the champion's calibration scores what its threshold owes to them."""
    champion = _load_champion(session)
    scores = {} if champion is None else name_calibration_scores(champion.detector, session.paths.prepared, images)
    rate = champion.detector.info.image_threshold.target_rate if champion else 0.0
    suspects = tuple(
        Suspect(
            path=_place(session, unlike.image),
            rank=ranks[unlike.image.path],
            score=unlike.score,
            split=unlike.image.split.value,
            label=unlike.image.label.value,
            threshold_without=threshold_without(scores, unlike.image.path, rate),
        )
        for unlike in listed
    )
    if champion is None or not scores:
        return None, suspects
    level = champion.detector.info.image_threshold.threshold
    nearest = min(scores, key=lambda path: abs(scores[path] - level))
    (image,) = (image for image in images if image.path == nearest)
    found = ThresholdImage(
        model=champion.name,
        target_rate=rate,
        threshold=level,
        path=_place(session, image),
        rank=ranks[nearest],
        without=threshold_without(scores, nearest, rate),
    )
    return found, suspects


def _load_champion(session: Session) -> Loaded | None:
    """Load the champion; a damaged one is no reason not to look at images."""
    version = session.tracking.champion(session.surface)
    try:
        return None if version is None else load_version(session.tracking, version)
    except ModelError as error:
        log.warning("%s: which images the threshold rests on is not told: %s", session.surface, error.problem)
        return None


def _place(session: Session, image: PreparedImage) -> str:
    return raw_file(session.paths.source, image.path).relative_to(session.project.root).as_posix()


def _write_page(session: Session, result: SuspectsResult, listed: Sequence[Unlike], page: Path) -> None:
    shown = show_suspects(listed, session.paths.source, session.settings.validation.max_megapixels)
    model = result.threshold.model if result.threshold else ""
    entries = tuple(
        SuspectEntry(
            shown=picture.model_copy(update={"path": suspect.path}),
            rank=suspect.rank,
            split=suspect.split,
            label=suspect.label,
            threshold=(
                f"The threshold of {model} rests on it: {result.threshold.threshold:.3f}, "
                f"without this image {suspect.threshold_without:.3f}."
                if result.threshold and suspect.threshold_without is not None
                else ""
            ),
        )
        for picture, suspect in zip(shown, result.suspects, strict=True)
    )
    write_suspects_page(
        SuspectsPage(
            surface=result.surface,
            model="knotwatch data suspects",
            data_version=result.data_version or "",
            date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
            images=result.images,
            reviewed=result.reviewed,
            entries=entries,
            threshold=threshold_in_words(result.threshold) if result.threshold else "",
        ),
        page,
    )
