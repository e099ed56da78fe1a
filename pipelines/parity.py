"""Whether an exported network judges as the fitted one does, and which precision it is therefore run with."""

import logging
import math
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from pipelines.defects.synthetic import plant_defect
from pipelines.errors import ModelError
from pipelines.files import write_whole
from pipelines.imaging.scoring import ScoreRule
from pipelines.imaging.tiling import TileSet
from pipelines.loader import MapsTiles, scan_region
from pipelines.metrics.image import image_auroc
from pipelines.models.runtime import TileModel, machine_precisions
from pipelines.prepared import PreparedImage, read_region
from pipelines.progress import track
from pipelines.records import Algorithm, Label, Parity, Part, Precision, TilePlan

_REGIONS = 100  # one tile each, so that the cost does not grow with the photographs
_SOUND = 50
_CALIBRATION_TILES = 48
_AUROC_APART = 0.005
_VERDICTS_APART = 0.01
_WARM_UP, _ROUNDS = 2, 9
_NEAR = 1.25  # times the fastest: no gain worth rounding for
_FILE = "parity.json"

_Item = TypeVar("_Item")

log = logging.getLogger(__name__)


class Region(NamedTuple):
    """Pixels (H, W, 3) that make one tile; `planted` where they hold a synthetic defect."""

    image: NDArray[np.uint8]
    planted: bool


class Marks(NamedTuple):
    """A network's scores of regions, and which of them hold a synthetic defect."""

    scores: tuple[float, ...]
    planted: tuple[bool, ...]


class Exported(NamedTuple):
    """What an exported network is run with, how it agrees with torch, and how that was chosen."""

    precision: Precision
    parity: Parity | None
    words: str


def disagreements(parity: Parity, threshold: float) -> tuple[str, ...]:
    """Say in words where verdicts at `threshold`, a raw image score, or the ranking of regions differ too much.

    >>> disagreements(Parity(torch=(1.0, 3.0), exported=(1.1, 3.1), planted=(False, True)), threshold=2.0)
    ()
    >>> disagreements(Parity(torch=(1.0, 3.0), exported=(1.1, 1.9), planted=(False, True)), threshold=2.0)
    ('1 of 2 verdicts differs',)
    """
    torch, exported = np.asarray(parity.torch), np.asarray(parity.exported)
    if not np.isfinite(exported).all():
        return ("scores are not finite",)
    found = []
    areas = [image_auroc(scores, parity.planted) for scores in (torch, exported)]
    if areas[0] is not None and areas[1] is not None and abs(areas[0] - areas[1]) > _AUROC_APART:
        found.append(f"AUROC {areas[1]:.3f} instead of {areas[0]:.3f}")
    differ = int(((torch > threshold) != (exported > threshold)).sum())
    if differ > _VERDICTS_APART * torch.size:
        found.append(f"{differ} of {torch.size} verdicts {'differs' if differ == 1 else 'differ'}")
    return tuple(found)


def check_parity(parity: Parity, raw_threshold: float) -> None:
    """Let no version pass whose exported network judges otherwise than the fitted one.

    Args:
        parity: scores by both, of the version's own precision.
        raw_threshold: the version's image threshold in raw scores.

    Raises:
        ModelError: where ranking or verdicts differ too much.
    """
    found = disagreements(parity, raw_threshold)
    if found:
        raise ModelError(
            f"the exported network does not judge as the fitted one does: {'; '.join(found)}",
            cure="retrain with --set export.precision=f32; report this if it comes again",
        )


def write_parity(folder: Path, parity: Parity) -> None:
    """Keep with a version how it agreed with torch when it was exported."""
    write_whole(folder / _FILE, parity.model_dump_json() + "\n")


def read_parity(folder: Path) -> Parity | None:
    """Read what was kept; None in a version that was made without it."""
    path = folder / _FILE
    return Parity.model_validate_json(path.read_bytes()) if path.is_file() else None


def choose_precision(
    milliseconds: Mapping[Precision, float], disagree: Callable[[Precision], tuple[str, ...]]
) -> tuple[Precision, dict[Precision, str]]:
    """Return the precision to run, f32 where none agrees with torch, and why others do not agree.

    It is the least rounded of those that take at most a quarter longer than the fastest, so that what else the machine
    does while they are timed hardly ever decides. Where that one disagrees, it is chosen among the others: what would
    not be run is not set against torch, which takes longer than the timing.
    """
    refused: dict[Precision, str] = {}
    while left := [p for p in Precision if p in milliseconds and p not in refused]:
        enough = _NEAR * min(milliseconds[p] for p in left)
        chosen = next(p for p in left if milliseconds[p] <= enough)
        found = disagree(chosen)
        if not found:
            return chosen, refused
        refused[chosen] = "; ".join(found)
    return Precision.F32, refused


def draw_regions(prepared: Path, images: Sequence[PreparedImage], plan: TilePlan, seed: int) -> Iterator[Region]:
    """Yield 100 regions of one tile each: up to 50 sound ones, and those again with planted defects.

    Select normals come first, train images fill up. Where a plan cuts many tiles, a region is a crop of that size.
    """
    parts = [[i for i in images if i.part == part and i.label != Label.ANOMALOUS] for part in (Part.SELECT, Part.TRAIN)]
    chosen = _spread(parts[0], _SOUND)
    chosen += _spread(parts[1], _SOUND - len(chosen))
    for number in range(_REGIONS if chosen else 0):
        random = np.random.default_rng((seed, number))
        cropped = _crop(read_region(prepared, chosen[number % len(chosen)]), plan, random)
        planted = number >= len(chosen)
        yield Region(plant_defect(cropped, random).image if planted else cropped, planted)


def score_regions(
    model: MapsTiles, plan: TilePlan, rule: ScoreRule, regions: Iterable[Region], label: str = "parity"
) -> Marks:
    """Score regions by one network, torch's or exported."""
    rows = [(scan_region(model, plan, rule, r.image).score, r.planted) for r in track(regions, _REGIONS, label)]
    scores, planted = zip(*rows, strict=True)
    return Marks(scores, planted)


def time_models(models: Mapping[Precision, MapsTiles], tile: NDArray[np.uint8]) -> dict[Precision, float]:
    """Return each network's shortest time for one tile (h, w, 3), milliseconds, taken in turns.

    Other work on the machine lengthens times and shortens none.
    """
    seconds: dict[Precision, list[float]] = {precision: [] for precision in models}
    for _ in range(_WARM_UP + _ROUNDS):
        for precision, model in models.items():
            started = time.perf_counter()
            model.infer(tile[None])
            seconds[precision].append(time.perf_counter() - started)
    return {precision: 1000 * min(found[_WARM_UP:]) for precision, found in seconds.items()}


def calibration_tiles(tiles: TileSet) -> list[NDArray[np.uint8]]:
    """Return up to 48 tiles spread over the set, and as many with planted defects: both fix what int8 can express."""
    sound = [tiles[i] for i in _spread(range(len(tiles)), _CALIBRATION_TILES // 2)]
    return sound + [plant_defect(tile, np.random.default_rng(n)).image for n, tile in enumerate(sound)]


def export_agreeing(
    algorithm: Algorithm,
    model: Any,
    tiles: TileSet,
    regions: Callable[[], Iterable[Region]],
    rule: ScoreRule,
    asked: str,
    folder: Path,
) -> Exported:
    """Export a fitted torch model to `folder` at the precision asked for, or with `auto` at the fastest that agrees.

    `tiles` are the ones trained on; `regions` draws the same ones each time, for they may be too many to be kept.

    Raises:
        ModelError: where the precision asked for does not agree with torch, or this processor has none such.
    """
    from pipelines.models.export import export_openvino
    from pipelines.models.quantise import move_ir, quantise

    wanted = machine_precisions() if asked == "auto" else (Precision(asked),)
    if not set(wanted) <= set(machine_precisions()):
        raise ModelError(f"this processor does not compute in {asked}", cure="set export.precision to auto")
    export_openvino(model, tiles.plan.tile_height, tiles.plan.tile_width, folder)
    with tempfile.TemporaryDirectory(dir=folder) as beside:
        if Precision.INT8 in wanted:
            quantise(folder, calibration_tiles(tiles), Path(beside))
        models = {p: TileModel(Path(beside) if p == Precision.INT8 else folder, p) for p in wanted}
        exported = _choose(algorithm, model, models, tiles, regions, rule, asked)
        if exported.precision == Precision.INT8:
            move_ir(Path(beside), folder)
    log.info("export %s: %s", algorithm, exported.words)
    return exported


def _choose(
    algorithm: Algorithm,
    fitted: Any,
    models: Mapping[Precision, TileModel],
    tiles: TileSet,
    regions: Callable[[], Iterable[Region]],
    rule: ScoreRule,
    asked: str,
) -> Exported:
    """Choose among exported networks, and say how the chosen one agrees with the fitted one.

    There is no threshold yet: the 99 % quantile of torch's scores of sound regions stands in.
    """
    from pipelines.models.export import TorchTiles

    milliseconds = time_models(models, tiles[0])
    torch, planted = score_regions(TorchTiles(fitted), tiles.plan, rule, regions(), "parity, torch")
    threshold = float(np.quantile([s for s, p in zip(torch, planted, strict=True) if not p], 0.99))
    parities: dict[Precision, Parity] = {}

    def disagree(precision: Precision) -> tuple[str, ...]:
        marks = score_regions(models[precision], tiles.plan, rule, regions(), f"parity, {precision}")
        parities[precision] = Parity(torch=torch, exported=marks.scores, planted=planted)
        return disagreements(parities[precision], threshold)

    chosen, refused = choose_precision(milliseconds, disagree)
    if asked != "auto" and refused:
        raise ModelError(
            f"{algorithm} in {asked} does not agree with torch: {'; '.join(refused.values())}",
            cure="set export.precision to auto",
        )
    return Exported(chosen, parities[chosen], _describe(chosen, milliseconds, refused))


def export_unchecked(algorithm: Algorithm, model: Any, plan: TilePlan, asked: str, folder: Path) -> Exported:
    """Export a fitted torch model to `folder` without setting its scores against torch's.

    `auto` is bf16 where this processor has it, which agrees with torch in all but rare cases.
    """
    from pipelines.models.export import export_openvino

    export_openvino(model, plan.tile_height, plan.tile_width, folder)
    quick = Precision.BF16 if Precision.BF16 in machine_precisions() else Precision.F32
    # int8 is made by a calibration of its own, and then told apart from torch: here f32 stands in for it.
    precision = quick if asked == "auto" else Precision.F32 if asked == Precision.INT8 else Precision(asked)
    return Exported(precision, None, f"{precision}, not compared with torch ({algorithm})")


def _describe(chosen: Precision, milliseconds: Mapping[Precision, float], refused: Mapping[Precision, str]) -> str:
    others = [
        f"{p} {time:.1f}" + (f", disagrees: {refused[p]}" if p in refused else "")
        for p, time in milliseconds.items()
        if p != chosen
    ]
    doubt = f", although it disagrees: {refused[chosen]}" if chosen in refused else ""
    return f"{chosen}, {milliseconds[chosen]:.1f} ms a tile" + (f" ({'; '.join(others)})" if others else "") + doubt


def _crop(region: NDArray[np.uint8], plan: TilePlan, random: np.random.Generator) -> NDArray[np.uint8]:
    if plan.mode == "fit":
        return region
    sides = [math.floor(side / plan.scale) for side in (plan.tile_height, plan.tile_width)]
    top, left = (int(random.integers(max(0, have - side) + 1)) for have, side in zip(region.shape, sides, strict=False))
    return region[top : top + sides[0], left : left + sides[1]]


def _spread(items: Sequence[_Item], count: int) -> list[_Item]:
    """Take up to `count` items, evenly over all."""
    return [items[i] for i in np.unique(np.linspace(0, len(items) - 1, min(count, len(items))).astype(int))]
