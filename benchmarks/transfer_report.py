"""The table of a transfer experiment: mean over draws, with an interval over the test images."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from rich.table import Table

from pipelines.core.records import Strategy
from pipelines.metrics.curves import auroc
from pipelines.metrics.intervals import rank_bins, resample_weights

_ROUNDS, _SEED = 1000, 0


class Outcome(NamedTuple):
    """One strategy on one draw: AUROC on synthetic anomalies (None where nothing is held out) and the test's scores."""

    algorithm: str
    strategy: str
    shots: int
    draw: int
    chosen: bool
    synthetic: float | None
    scores: tuple[float, ...]


def read_outcomes(path: Path) -> list[Outcome]:
    """Read what an earlier run kept; a last line that was cut off is passed over."""
    lines = path.read_text("utf-8").splitlines() if path.is_file() else []
    return [Outcome(**json.loads(line)) for line in lines if line.endswith("}")]


def resampled(scored: Iterable[ArrayLike], labels: ArrayLike) -> NDArray[np.float64]:
    """Return the AUROC of each row of scores (rows, 1 + rounds): first of all images, then of each resample."""
    defective = np.asarray(labels, dtype=bool)
    weights = np.vstack([np.ones((1, defective.size), np.int64), resample_weights(defective, _ROUNDS, _SEED)])
    rows = []
    for scores in scored:
        one_hot = rank_bins(np.asarray(scores, np.float64))
        rows.append(auroc((weights * ~defective) @ one_hot, (weights * defective) @ one_hot))
    return np.stack(rows)


def _mean(outcomes: Iterable[Outcome], labels: Sequence[bool]) -> NDArray[np.float64]:
    mean: NDArray[np.float64] = resampled((o.scores for o in outcomes), labels).mean(0)
    return mean


def make_table(outcomes: Sequence[Outcome], labels: Sequence[bool]) -> Table:
    """Put strategies in columns; the last ones are what was chosen, and how much higher than scratch it is."""
    strategies = [s.value for s in Strategy]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("algorithm", "shots", "draws", *strategies, "chosen", "chosen - scratch", "taken"):
        table.add_column(column)
    for algorithm, shots in sorted({(o.algorithm, o.shots) for o in outcomes}, key=lambda r: (r[0] != "padim", r)):
        rows = sorted((o for o in outcomes if (o.algorithm, o.shots) == (algorithm, shots)), key=lambda o: o.draw)
        by = {s: [o for o in rows if o.strategy == s] for s in strategies}
        chosen = [o for o in rows if o.chosen]
        difference = _mean(chosen, labels) - _mean(by["scratch"], labels)
        counts = {s: sum(o.strategy == s for o in chosen) for s in strategies}
        table.add_row(
            *(algorithm, str(shots), str(len(chosen))),
            *(in_words(_mean(by[s], labels)) if by[s] else "-" for s in strategies),
            in_words(_mean(chosen, labels)),
            in_words(difference, sign="+"),
            ", ".join(f"{s} {n}" for s, n in counts.items() if n),
        )
    return table


def in_words(values: NDArray[np.float64], sign: str = "") -> str:
    """Write the first of values (1 + rounds,) with the interval that the others span."""
    low, high = np.quantile(values[1:], (0.025, 0.975))
    return f"{values[0]:{sign}.3f} ({low:{sign}.3f} to {high:{sign}.3f})"
