"""Wall time of a PaDiM fit against plain anomalib's."""

from pathlib import Path

from benchmarks.alternation import time_sides
from benchmarks.drawn_images import draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.in_use import fit_padim_in_use

SUBJECT = "padim-fit"


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Fit both to the same drawn tiles, reading included."""
    from benchmarks.plain_anomalib import fit_plain

    files = draw_tiles(folder, effort.fit_tiles)
    tiles = repeat_tiles(files, effort.fit_tiles)
    few = repeat_tiles(files, 8)
    # The first fit in a process also pays for what the libraries do once.
    fit_padim_in_use(few)
    fit_plain(few)
    sides = {"ours": lambda: fit_padim_in_use(tiles), "anomalib": lambda: fit_plain(tiles)}
    seconds = time_sides(sides, effort.resamples)
    figure = ratio_figure(
        SUBJECT,
        f"anomalib's Engine().fit, {effort.fit_tiles} tiles",
        "s",
        ours=seconds["ours"],
        reference=seconds["anomalib"],
        note="ours keeps its statistics at stride 8, anomalib at the finest layer's stride, 4",
    )
    return [figure]
