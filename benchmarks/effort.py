"""How much a benchmark tries."""

from pipelines.core.records import Record


class Effort(Record):
    """Rounds of every timing; tiles of the timed fit; tiles of the smaller and the larger fit of the memory."""

    resamples: int
    fit_tiles: int
    memory_tiles: tuple[int, int]


def choose_effort(resamples: int, full: bool) -> Effort:
    """Choose sizes: a default run takes under four minutes on two idle cores, a full one about a quarter of an hour."""
    if full:
        return Effort(resamples=resamples, fit_tiles=400, memory_tiles=(200, 2000))
    return Effort(resamples=resamples, fit_tiles=100, memory_tiles=(100, 400))
