"""The figures: what was measured, what was found, and both against a person's outlines."""

from collections.abc import Sequence
from typing import NamedTuple

from flows.study.folder import Profile, Study
from flows.study.outlines import Outlines
from flows.study.shown import Table, Words
from flows.study.steps import Model, Prepared, Scanned, scan, train_without_labels
from pipelines.core.wording import count_in_words, threshold_in_words
from pipelines.metrics.outlines import OutlineFigures, Pixels, compare_with_outlines, rank_pixels

NO_OUTLINES = Words(
    "No figures: this folder has no annotations.json, so nothing says where the defects really are. Outline some "
    "images to learn how many are found."
)
FIGURES = ("image", "AUROC, AP", "+-8 px of outlines out", "found", "false regions", "out of distribution")


class VersionSummary(NamedTuple):
    """One outlined image: figures, and whether it was taken to be of a kind that was not trained on."""

    name: str
    figures: OutlineFigures
    out_of_distribution: bool


def tabulate_images(prepared: Prepared) -> Table:
    """List the images with what was measured of them, and what was left out and why."""
    rows = tuple(
        (
            str(row["path"]),
            f"{row['width']:.0f} x {row['height']:.0f}",
            *(f"{row[name]:.0f}" for name in ("brightness_mean", "brightness_std", "sharpness")),
        )
        for row in prepared.manifest.to_dict(orient="records")
        if not row["error"]
    )
    out = [f"{q.path}: {q.reason}" for q in (*prepared.verdict.quarantined, *prepared.verdict.duplicates)]
    words = f"{prepared.verdict.usable} of {count_in_words(prepared.verdict.images, 'image')} can be used."
    left_out = f" Left out: {'; '.join(out)}." if out else ""
    return Table(("image", "pixels", "brightness", "contrast", "sharpness"), rows, words + left_out)


def describe_model(model: Model) -> Table:
    """Say what was trained, how images are cut, and what stands behind the thresholds."""
    info, trained = model.detector.info, model.trained
    size = "at full size" if trained.plan.scale == 1 else f"at {trained.plan.scale:.2f} of the full size"
    plan = f"{trained.plan.tile_width} x {trained.plan.tile_height} px, {size}"
    rows = (
        ("algorithm", f"{trained.algorithm} on {count_in_words(trained.tiles, 'tile')}"),
        *trained.notes.items(),
        ("a tile", plan),
        ("images", threshold_in_words(info.image_threshold, "images")),
        ("area", threshold_in_words(info.pixel_threshold, "the area")),
    )
    return Table(("what", "how"), tuple((name, text) for name, text in rows if name != "export"))


def tabulate_defects(scanned: Sequence[Scanned]) -> Table:
    """List the regions: where, how large, which way, how high."""
    rows = [
        (
            one.name,
            f"{d.box.left}, {d.box.top}",
            f"{d.length:.0f} x {d.width:.0f}",
            f"{d.area:,}",
            f"{d.orientation:.0f}°",
            f"{d.score:.2f}",
        )
        for one in scanned
        for d in one.scan.defects
    ]
    flagged = sum(one.scan.anomalous for one in scanned)
    words = f"{count_in_words(len(rows), 'region')}; {flagged} of {count_in_words(len(scanned), 'image')} flagged."
    columns = ("image", "left, top", "length x width, px", "area, px", "direction", "score")
    return Table(columns, tuple(rows), words)


def compare(scanned: Sequence[Scanned], outlines: Outlines) -> list[VersionSummary]:
    """Set each image that a person outlined against the outlines.

    Args:
        scanned: Images without an entry in `outlines` are passed over.
        outlines: By image name, in pixels of the image.

    Returns:
        Figures of each outlined image, in the order of `scanned`.
    """
    return [
        VersionSummary(
            one.name,
            compare_with_outlines(
                one.scan.map, [o.polygon for o in outlines[one.name]], [d.outline for d in one.scan.defects]
            ),
            one.scan.out_of_distribution,
        )
        for one in scanned
        if one.name in outlines
    ]


def tabulate_figures(compared: Sequence[VersionSummary], words: str = "") -> Table:
    """List the figures of outlined images, and of all their pixels together.

    Args:
        compared: At least one image.
        words: Sentence below the table; may be empty.

    Returns:
        A row for each image, and one for all.
    """
    figures = [one.figures for one in compared]
    rates = [in_words([f.strict for f in figures]), in_words([f.even for f in figures])]
    found = f"{sum(f.found for f in figures)} of {sum(f.outlined for f in figures)}"
    false = f"{sum(f.false for f in figures) / len(figures):.1f} each"
    together = ("together", *rates, found, false, "")
    return Table(FIGURES, (*(figure_row(one) for one in compared), together), words)


def figure_row(one: VersionSummary) -> tuple[str, ...]:
    figures = one.figures
    rates = (in_words([figures.strict]), in_words([figures.even]))
    return (
        one.name,
        *rates,
        f"{figures.found} of {figures.outlined}",
        str(figures.false),
        str(one.out_of_distribution),
    )


def in_words(pixels: Sequence[Pixels]) -> str:
    """Write AUROC and average precision."""
    ranking = rank_pixels(pixels)
    return "none left" if ranking is None else f"{ranking.auroc:.3f}, {ranking.ap:.3f}"


def show_figures(study: Study, scanned: Sequence[Scanned]) -> Table | Words:
    """Set what was found against the outlines, where the study has some.

    Args:
        study: Whose outlines are compared with.
        scanned: By a model that was trained on these images.

    Returns:
        The figures; a sentence where none of the images is outlined.
    """
    compared = compare(scanned, study.outlines)
    if not compared:
        return NO_OUTLINES
    return tabulate_figures(compared, "Trained on these very images, without a label.")


def leave_one_out(study: Study, prepared: Prepared, scanned: Sequence[Scanned]) -> Table | Words:
    """Train again without each outlined image, and set both networks' figures of it beside each other.

    Args:
        study: Its profile `quick` leaves this out.
        prepared: All images, two or more.
        scanned: By a model that was trained on all of them.

    Returns:
        Two rows for each outlined image; a sentence where nothing was measured.
    """
    names = [one.name for one in scanned if one.name in study.outlines]
    if not names:
        return NO_OUTLINES
    if study.profile == Profile.QUICK or len(prepared.images) < 2:
        return Words("Not measured: the quick profile trains once, and one image leaves none to train on.")
    apart = [one for name in names for one in scan(train_without_labels(prepared, name), prepared, [name])]
    sides = {"trained on": compare(scanned, study.outlines), "left out": compare(apart, study.outlines)}
    rows = [(side, *row) for side, compared in sides.items() for row in tabulate_figures(compared).rows]
    words = "Left out: found by a network that had not seen the image; together, by as many networks."
    return Table(("image was", *FIGURES), tuple(rows), words)
