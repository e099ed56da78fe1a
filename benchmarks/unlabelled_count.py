"""Trained without a label on six images, and on all there are: what more of them are worth, and what they cost.

`python -m benchmarks.unlabelled_count [BOARDS]`: BOARDS is a data set of layout vsb; without it, slices of three
kinds of wood are drawn. What training sees is mostly normal, and its labels and masks are kept from it.
"""

import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.alternation import time_sides
from benchmarks.command import run_command
from benchmarks.figures import ratio_figure
from benchmarks.transfer_report import in_words, resampled
from flows.study.steps import Prepared, prepare_folder, train_model
from pipelines.core.errors import CallError
from pipelines.core.progress import track
from pipelines.core.records import Interval, Label, Layout, Split
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.detector.detector import Detector
from pipelines.imaging.procedural import WOOD_DEFECTS, draw
from pipelines.metrics.curves import image_auroc
from pipelines.metrics.paired import aupro_difference, image_auroc_difference
from pipelines.training.evaluate import ScoredTest, score_test
from pipelines.training.run_settings import RunSettings

SURFACE = SurfaceSettings(source=SourceSettings(layout=Layout.VSB))
# Drawn slices are cut into a grid, as whole ones are, and small: all of them are scanned to set thresholds.
_WHOLE, _GRID = RunSettings(), RunSettings.model_validate({"tiles": {"mode": "grid", "tile": 128}})
_RESAMPLES, _SEED = 1000, 0
_TIMED, _TURNS = 6, 15  # images that are scanned by both in turn, and how often
_LOOKS = ("walnut", "alder", "oak")

show = Console(width=150, highlight=False)


class DrawnSlices(NamedTuple):
    """How many slices are drawn to train on, and to compare on, half of these with a defect; their size in pixels."""

    many: int
    held_out: int = 48
    height: int = 390
    width: int = 520


class Trained(NamedTuple):
    """One version, and what it scored on the images that were held out."""

    detector: Detector
    scored: ScoredTest


def count(
    boards: Annotated[Path | None, typer.Argument(help="A data set of layout vsb; without: drawn slices.")] = None,
    algorithm: Annotated[str, typer.Option(help="What to train.")] = "padim",
    few: Annotated[int, typer.Option(min=1, help="How many images are few.")] = 6,
    many: Annotated[int, typer.Option(min=2, help="How many are drawn to be many; of boards, all are.")] = 600,
    draws: Annotated[int, typer.Option(min=1, help="How often the few are drawn.")] = 5,
    defective: Annotated[float, typer.Option(min=0, max=0.5, help="Their share of what is trained on.")] = 0.1,
) -> None:
    """Train without labels on few and on many images, and compare both on others, paired."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        source = boards or draw_slices(folder / "drawn", DrawnSlices(many), defective)
        prepared = prepare_folder(source, folder / "prepared", surface=SURFACE)
        pool, held = split(prepared.images, defective)
        if len(pool) <= few:
            raise CallError(f"{source} has {len(pool)} images to train on", hint="name fewer with --few")
        if len({image.label for image in held}) < 2:
            raise CallError("no image with a defect, or no normal one, is held out", hint="lower --defective")
        show.print(f"{len(pool)} images to draw from, {sum(i.label != Label.NORMAL for i in pool)} with a defect")
        settings = _WHOLE if boards else _GRID
        whole = train_unlabelled(prepared, pool, held, folder / "many", algorithm, settings)
        table = Table(
            *("trained on", "image AUROC", "AUPRO", "pixel AUROC, AP", f"{len(pool)} rank higher by", "AUPRO by")
        )
        table.add_row(str(len(pool)), *figures(whole.scored), "", "")
        scores = []
        for number in range(draws):
            drawn = np.random.default_rng(number).choice(len(pool), few, replace=False)
            chosen = [pool[n] for n in sorted(drawn)]
            small = train_unlabelled(prepared, chosen, held, folder / f"few-{number}", algorithm, settings)
            table.add_row(str(few), *figures(small.scored), *compare(whole.scored, small.scored))
            scores.append(small.scored.scores)
        show.print(table)
        labels = whole.scored.anomalous
        higher = resampled([whole.scored.scores], labels)[0] - resampled(scores, labels).mean(0)
        show.print(
            f"image AUROC, mean of the draws: {len(pool)} rank higher than {few} by {in_words(higher, sign='+')}"
        )
        compare_time(small.detector, whole.detector, held, prepared.folder)


def draw_slices(folder: Path, size: DrawnSlices, defective: float) -> Path:
    """Draw slices of three kinds of wood in layout vsb; a share of those to train on has a defect."""
    rng = np.random.default_rng(_SEED)
    for place in ("images", "masks"):
        (folder / place).mkdir(parents=True)
    rows = []
    total = size.many + size.held_out
    for number in track(range(total), total, "draw slices"):
        held = number >= size.many
        shown = number % 2 == 0 if held else number < round(defective * size.many)
        defect, look = int(rng.choice([*WOOD_DEFECTS])), _LOOKS[number % len(_LOOKS)]
        drawn = draw("wood", number, size.height, size.width, [WOOD_DEFECTS[defect]] if shown else [], look=look)
        name = f"{number:04}.png"
        Image.fromarray(drawn.image).save(folder / "images" / name, compress_level=1)
        Image.fromarray(drawn.mask).save(folder / "masks" / name)
        split_name = "test" if held or shown else "train"
        rows.append([name, name if shown else "", "0", split_name, str(defect) if shown else ""])
    with (folder / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([["image", "mask", "location", "split", "defects"], *rows])
    return folder


def split(images: Sequence[PreparedImage], defective: float) -> tuple[list[PreparedImage], list[PreparedImage]]:
    """Take all that is not test, and defective ones to their share, to train on; the others are held out.

    No image that is held out resembles one that is trained on: groups stay together.
    """
    normal = [i for i in images if i.split != Split.TEST]
    spoilt = [i for i in images if i.label == Label.ANOMALOUS]
    wanted = round(defective / (1 - defective) * len(normal))
    order = np.random.default_rng(_SEED).permutation(len(spoilt))[:wanted]
    pool = [*normal, *(spoilt[n] for n in order)]
    groups = {i.group for i in pool}
    return pool, [i for i in images if i.split == Split.TEST and i.group not in groups]


def train_unlabelled(
    prepared: Prepared,
    chosen: Sequence[PreparedImage],
    held: Sequence[PreparedImage],
    folder: Path,
    algorithm: str,
    settings: RunSettings,
) -> Trained:
    """Train on images of which nothing is said, and score the others."""
    unsaid: dict[str, Any] = {"label": Label.UNKNOWN, "split": Split.TRAIN, "mask": None, "defects": {}}
    model = train_model(prepared, [i.model_copy(update=unsaid) for i in chosen], folder, algorithm, settings)
    trained = model.trained
    took = f"{trained.tiles} tiles, {trained.seconds:.0f} s, peak {trained.peak_rss_mb:.0f} MB"
    show.print(f"{folder.name}: {len(chosen)} images, {took}, {trained.notes}")
    maps = folder.with_name(f"{folder.name}-maps")
    return Trained(model.detector, score_test(model.detector, prepared.folder, held, maps))


def figures(scored: ScoredTest) -> tuple[str, str, str]:
    """Write a version's figures."""
    ranks, pixels = image_auroc(scored.scores, scored.anomalous), scored.table.metrics()
    return f"{ranks:.3f}", f"{pixels['aupro']:.3f}", f"{pixels['pixel_auroc']:.3f}, {pixels['pixel_ap']:.3f}"


def compare(whole: ScoredTest, small: ScoredTest) -> Iterable[str]:
    """Write how much higher the version of many images is, paired over those held out."""
    for found in (
        image_auroc_difference(whole.scores, small.scores, whole.anomalous, _RESAMPLES, _SEED),
        aupro_difference(whole.table, small.table, _RESAMPLES, _SEED),
    ):
        yield _interval(found) if found else "none"


def _interval(found: Interval) -> str:
    return f"{found.value:+.3f} ({found.low:+.3f} to {found.high:+.3f})"


def compare_time(small: Detector, whole: Detector, held: Sequence[PreparedImage], prepared: Path) -> None:
    """Scan the same images with both in turn."""
    regions = [read_region(prepared, image) for image in held[:_TIMED]]
    sides = {
        name: lambda detector=detector: [detector.scan_region(region) for region in regions]
        for name, detector in (("few", small), ("many", whole))
    }
    seconds = time_sides(sides, _TURNS, settling=1)
    each = {name: [s / len(regions) for s in found] for name, found in seconds.items()}
    figure = ratio_figure("scan", "few", "s", ours=each["many"], reference=each["few"])
    show.print(
        f"an image takes {1000 * figure.ours:.0f} ms by the version of many, {1000 * figure.reference:.0f} ms by "
        f"that of few: {figure.ratio:.2f} of it ({figure.low:.2f} to {figure.high:.2f}, {figure.resamples} rounds in "
        "turn)"
    )


if __name__ == "__main__":
    run_command(count)
