"""Growth of a PaDiM fit's peak memory with the tiles against plain anomalib's."""

from pathlib import Path

from benchmarks.drawn_images import draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.fresh_process import peak_mb
from benchmarks.in_use import fit_padim_in_use

SUBJECT = "padim-fit-memory"
_DIFFERENT = 50


def fit_ours(folder: str, count: int) -> None:
    """Fit ours to the folder's tiles, repeated to `count`; runs in a process of its own."""
    fit_padim_in_use(repeat_tiles(sorted(Path(folder).glob("*.png")), count))


def fit_anomalib(folder: str, count: int) -> None:
    """Fit plain anomalib likewise."""
    from benchmarks.plain_anomalib import fit_plain

    fit_plain(repeat_tiles(sorted(Path(folder).glob("*.png")), count))


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Fit with few and with many tiles, each in a fresh process, once: peaks hardly vary."""
    draw_tiles(folder, _DIFFERENT)
    few, many = effort.memory_tiles
    ours, anomalib = (
        [peak_mb(f"{__name__}:{side.__name__}", str(folder), count) for count in (few, many)]
        for side in (fit_ours, fit_anomalib)
    )
    figure = ratio_figure(
        SUBJECT,
        f"anomalib's growth, {few} to {many} tiles",
        "MB",
        ours=[ours[1] - ours[0]],
        reference=[anomalib[1] - anomalib[0]],
        note=f"peaks: ours {ours[0]:.0f} and {ours[1]:.0f} MB, anomalib {anomalib[0]:.0f} and {anomalib[1]:.0f} MB",
    )
    return [figure]
