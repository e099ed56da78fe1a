"""Which precision a fitted network is exported and run in: the least rounded of the fast ones that agree with torch."""

import logging
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision
from pipelines.core.results import Parity
from pipelines.detector.scan import MapsTiles
from pipelines.imaging.image_score import ScoreRule
from pipelines.imaging.synthetic.anomalies import add_synthetic_anomaly
from pipelines.imaging.tiling import TileSet
from pipelines.models.openvino.runtime import TileModel, machine_precisions
from pipelines.models.registry import find_algorithm
from pipelines.training.parity import ENOUGH, ParityRegion, RegionScores, disagreements, is_same, score_regions
from pipelines.training.run_settings import ExportSettings

UNROUNDED = "unrounded"  # where a network in int8 keeps the exact one until it is calibrated
_QUANTISATION_TILES = 48
_WARM_UP, _TIMED = 2, 9
_NEAR = 1.25  # times the fastest: no gain worth rounding for

log = logging.getLogger(__name__)


class Exported(NamedTuple):
    """What an exported network is run with, how it agrees with torch, and how that was chosen."""

    precision: Precision
    parity: Parity | None
    message: str


def choose_precision(
    milliseconds: Mapping[Precision, float], disagree: Callable[[Precision], tuple[str, ...]]
) -> tuple[Precision, dict[Precision, str]]:
    """Choose the precision to run a network in, and say why others do not agree with torch.

    It is the least rounded of those that take at most a quarter longer than the fastest, so that what else the machine
    does while they are timed hardly ever decides. Where that one disagrees, it is chosen among the others: what would
    not be run is not set against torch, which takes longer than the timing.

    Args:
        milliseconds: Time of one tile by each precision that may be chosen.
        disagree: Says in words where a precision and torch disagree, empty where they agree; slow, so asked only where
            the answer matters, once for each.

    Returns:
        The precision, f32 where none agrees, and in words why each one that was refused does not agree.

    >>> choose_precision({Precision.F32: 9.0, Precision.BF16: 5.0, Precision.INT8: 4.5}, lambda _: ())
    (<Precision.BF16: 'bf16'>, {})
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


def time_models(models: Mapping[Precision, MapsTiles], tile: NDArray[np.uint8]) -> dict[Precision, float]:
    """Time networks on one tile, in turns.

    Other work on the machine lengthens times and shortens none.

    Args:
        models: Networks that take tiles of the same size.
        tile: uint8, shape (h, w, 3).

    Returns:
        Milliseconds by precision, the shortest of nine after two to warm up.
    """
    seconds: dict[Precision, list[float]] = {precision: [] for precision in models}
    for _ in range(_WARM_UP + _TIMED):
        for precision, model in models.items():
            started = time.perf_counter()
            model.infer(tile[None])
            seconds[precision].append(time.perf_counter() - started)
    return {precision: 1000 * min(found[_WARM_UP:]) for precision, found in seconds.items()}


def quantisation_tiles(tiles: TileSet) -> list[NDArray[np.uint8]]:
    """Return up to 48 tiles spread over the set, and as many with synthetic anomalies.

    Both fix what int8 can express.
    """
    normal = [tiles[i] for i in tiles.subsample(_QUANTISATION_TILES // 2)]
    return normal + [add_synthetic_anomaly(tile, np.random.default_rng(n)).image for n, tile in enumerate(normal)]


def export_agreeing(
    algorithm: str,
    model: Any,
    tiles: TileSet,
    regions: Callable[[], Iterable[ParityRegion]],
    rule: ScoreRule,
    requested: ExportSettings,
    folder: Path,
) -> Exported:
    """Export a fitted torch model at a precision in which it agrees with torch.

    Args:
        algorithm: Name of the algorithm that fitted it.
        model: The fitted torch module, on the CPU, in eval mode.
        tiles: The ones trained on; at least one. They fix what int8 can express, and the first one is timed.
        regions: Draws the same ones each time, at least one of them normal, for they may be too many to be kept.
        rule: How a map becomes a score.
        requested: A forced precision, or the least rounded of the fast ones.
        folder: Existing folder that model.xml and model.bin are written to. Where int8 was chosen, not forced, its
            subfolder `unrounded` has the network in float32.

    Returns:
        The precision that the network is to be run with; `parity` is never None.

    Raises:
        ModelError: If the requested precision does not agree with torch, or this processor has none such.
    """
    from pipelines.models.openvino.quantize import move_ir, quantise

    possible = tuple(p for p in machine_precisions() if p in find_algorithm(algorithm).precisions)
    tried = possible if requested.precision == "auto" else tuple(p for p in possible if p != Precision.INT8)
    wanted = (Precision(requested.precision),) if requested.forced else tried
    if not set(wanted) <= set(machine_precisions()):
        raise ModelError(
            f"this processor does not compute in {requested.precision}", hint="set export.precision to auto"
        )
    find_algorithm(algorithm).export(model, tiles.plan, folder)
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        if Precision.INT8 in wanted:
            quantise(folder, quantisation_tiles(tiles), Path(scratch))
        models = {p: TileModel(Path(scratch) if p == Precision.INT8 else folder, p) for p in wanted}
        exported = _choose(algorithm, model, models, tiles, regions, rule, requested)
        if exported.precision == Precision.INT8:
            if not requested.forced:
                (folder / UNROUNDED).mkdir()
                move_ir(folder, folder / UNROUNDED)
            move_ir(Path(scratch), folder)
    log.info("export %s: %s", algorithm, exported.message)
    return exported


def _choose(
    algorithm: str,
    fitted: Any,
    models: Mapping[Precision, TileModel],
    tiles: TileSet,
    regions: Callable[[], Iterable[ParityRegion]],
    rule: ScoreRule,
    requested: ExportSettings,
) -> Exported:
    """Choose among exported networks, and say how the chosen one agrees with the fitted one.

    There is no threshold yet: the 99 % quantile of torch's scores of normal regions stands in. Where the first regions
    come out the same, as they do of what is not rounded, the others are not scored; nor where no more are requested.
    """
    from pipelines.models.openvino.export import TorchTiles

    milliseconds = time_models(models, tiles[0])
    score = partial(score_regions, plan=tiles.plan, rule=rule)
    fitted_tiles = TorchTiles(fitted)
    torch: dict[int, RegionScores] = {}
    parities: dict[Precision, Parity] = {}

    def compare(precision: Precision, start: int, stop: int) -> Parity:
        if start not in torch:
            torch[start] = score(fitted_tiles, regions=islice(regions(), start, stop), label="parity, torch")
        ours = torch[start]
        theirs = score(models[precision], regions=islice(regions(), start, stop), label=f"parity, {precision}")
        return Parity(torch=ours.scores, exported=theirs.scores, synthetic=ours.synthetic)

    def disagree(precision: Precision) -> tuple[str, ...]:
        parity = compare(precision, 0, ENOUGH)
        if not is_same(parity) and requested.regions > ENOUGH:
            parity = _join(parity, compare(precision, ENOUGH, requested.regions))
        parities[precision] = parity
        normal = [s for s, p in zip(parity.torch, parity.synthetic, strict=True) if not p]
        return disagreements(parity, float(np.quantile(normal, 0.99)))

    chosen, refused = choose_precision(milliseconds, disagree)
    if requested.forced and refused:
        raise ModelError(
            f"{algorithm} in {requested.precision} does not agree with torch: {'; '.join(refused.values())}",
            hint="set export.precision to auto",
        )
    return Exported(chosen, parities[chosen], _describe(chosen, milliseconds, refused))


def _join(first: Parity, rest: Parity) -> Parity:
    return Parity(
        torch=first.torch + rest.torch,
        exported=first.exported + rest.exported,
        synthetic=first.synthetic + rest.synthetic,
    )


def export_unchecked(algorithm: str, model: Any, plan: TilePlan, requested: ExportSettings, folder: Path) -> Exported:
    """Export a fitted torch model without setting its scores against torch's.

    Args:
        algorithm: Name of the algorithm that fitted it.
        model: The fitted torch module, on the CPU, in eval mode.
        plan: Gives the size of a tile.
        requested: What is not forced is bf16 where this processor has it, which agrees with torch in all but rare
            cases; f32 stands in for int8.
        folder: Existing folder that model.xml and model.bin are written to.

    Returns:
        The precision that the network is to be run with; `parity` is None.
    """
    find_algorithm(algorithm).export(model, plan, folder)
    quick = Precision.BF16 if Precision.BF16 in machine_precisions() else Precision.F32
    # int8 is made by a calibration of its own, and then told apart from torch: here f32 stands in for it.
    forced = "f32" if requested.precision == "int8" else requested.precision
    precision = Precision(forced) if requested.forced else quick
    return Exported(precision, None, f"{precision}, not compared with torch ({algorithm})")


def _describe(chosen: Precision, milliseconds: Mapping[Precision, float], refused: Mapping[Precision, str]) -> str:
    others = [
        f"{p} {time:.1f}" + (f", disagrees: {refused[p]}" if p in refused else "")
        for p, time in milliseconds.items()
        if p != chosen
    ]
    doubt = f", although it disagrees: {refused[chosen]}" if chosen in refused else ""
    return f"{chosen}, {milliseconds[chosen]:.1f} ms a tile" + (f" ({'; '.join(others)})" if others else "") + doubt
