"""A bank of tokens against anomalib's, which keeps all of them: filling it, its size, and one tile's anomaly map."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.exported import run_in_float
from benchmarks.figures import Figure, ratio_figure
from benchmarks.plain_anomalib import to_float
from benchmarks.plain_detection import fit_plain_anomalydino
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.fit import fit_bank
from pipelines.models.anomalydino.settings import AnomalydinoSettings

SUBJECT = "anomalydino-bank"
_DIFFERENT = 60  # tiles: those of a bank must differ, or it would stay empty
_CALLS, _SETTLING = 5, 2
_MB = 1e6


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Fill both banks with the same tiles, in turn, then score the same tile: ours exported, anomalib's in torch."""
    from pipelines.models.openvino.export import export_openvino

    settings = AnomalydinoSettings()
    tiles = repeat_tiles(draw_tiles(folder / "tiles", _DIFFERENT), _DIFFERENT)
    made: dict[str, Any] = {}

    def keep(name: str, fit: Callable[[TileSet, AnomalydinoSettings], Any]) -> Side:
        def filled() -> None:
            made[name] = fit(tiles, settings)

        return filled

    sides = {"ours": keep("ours", fit_bank), "theirs": keep("theirs", fit_plain_anomalydino)}
    seconds = time_sides(sides, effort.resamples)
    ours, theirs = made["ours"].model, made["theirs"]
    note = f"{_DIFFERENT} tiles of {SIDE} x {SIDE}; the same network and blocks"
    fit = ratio_figure(SUBJECT, "anomalib, a fit", "s", ours=seconds["ours"], reference=seconds["theirs"], note=note)
    sizes = [bank.numel() * bank.element_size() / _MB for bank in (ours.bank_0, theirs.memory_bank)]
    size = ratio_figure(SUBJECT, "anomalib, the bank", "MB", ours=sizes[:1], reference=sizes[1:], note=note)
    export_openvino(ours, SIDE, SIDE, folder / "ours")
    exported = run_in_float(folder / "ours", tiles[0][None])
    timed = time_sides(
        {**exported, "theirs": _in_torch(theirs, to_float(tiles[0])[None])},
        effort.resamples,
        calls=_CALLS,
        settling=_SETTLING,
    )
    one = [
        ratio_figure(
            SUBJECT,
            f"anomalib in torch, float32, one tile; ours in {precision}",
            "ms",
            ours=[1000 * second for second in timed[precision]],
            reference=[1000 * second for second in timed["theirs"]],
            note=note,
        )
        for precision in exported
    ]
    return [fit, size, *one]


def _in_torch(model: Any, tile: Any) -> Side:
    import torch

    def score() -> object:
        with torch.no_grad():
            return model(tile).anomaly_map

    return score
