"""Set guarantee against observation on real boards: `python -m tests.guarantees ../shared/data/wood-boards`.

One PaDiM is trained on some normal boards and scores all others once. Random splits of those into a calibration and a
test half then ask how often a threshold set on the one marks a board of the other. For a fixed pool of scores the
number of false alarms of a random split is beta-binomial (Vovk 2012), so both the mean and the spread are known.
"""

import logging
import sys
import tempfile
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from scipy.stats import betabinom

from flows.cli.printing import print_table, say
from flows.dataset.surface import add_surface
from flows.runtime.environment import log_to_terminal
from pipelines.core.paths import Project
from pipelines.core.progress import track
from pipelines.core.records import Label, Layout, Split
from pipelines.core.surface_settings import SourceSettings, read_surface
from pipelines.data.prepared import PreparedImage, read_index, read_region
from pipelines.detector.detector import Detector
from pipelines.metrics.conformal import conformal_threshold, places_above
from pipelines.training.calibrate import calibrate
from pipelines.training.run_settings import resolve_run
from pipelines.training.train import train
from tests.conftest import make_project

_TRAINED, _SCALED = 80, 20
_CALIBRATION = 199  # (199 + 1) * 1 % is whole: the guarantee is met exactly, not undercut
_SURFACE = "boards"


class Observed(NamedTuple):
    """What splits of one pool of scores gave; rates are shares of the test scores."""

    rate: float
    mean: float
    error: float
    low: int
    high: int
    inside: float


def observe(scores: NDArray[np.float64], rate: float, calibration: int, splits: int, seed: int) -> Observed:
    """Split (images,) scores at random, set the threshold on one part, and count what it marks of the other.

    `error` is the mean's standard error; `inside` the share of splits within the central 95 % of the beta-binomial,
    `low` to `high` false alarms.
    """
    generator = np.random.default_rng(seed)
    tested, counts = scores.size - calibration, []
    for _ in range(splits):
        order = generator.permutation(scores)
        threshold = conformal_threshold(order[:calibration], rate).threshold
        counts.append(int((order[calibration:] > threshold).sum()))
    found = np.array(counts)
    above = places_above(rate, calibration)
    low, high = (int(betabinom.ppf(q, tested, above, calibration + 1 - above)) for q in (0.025, 0.975))
    inside = float(((found >= low) & (found <= high)).mean())
    error = float(found.std(ddof=1) / np.sqrt(splits) / tested)
    return Observed(rate, float(found.mean() / tested), error, low, high, inside)


def score_held_out(folder: Path, source: Path) -> NDArray[np.float64]:
    """Train PaDiM on 80 normal boards, set its scale on 20, and score all others."""
    project = make_project(folder / "project")
    add_surface(project, _SURFACE, SourceSettings(layout=Layout.VSB, path=str(source)))
    own, prepared = read_surface(project, _SURFACE), project.surface(_SURFACE).prepared
    settings = resolve_run(project, own, "full", [])
    images = _split_anew(project, seed=0)
    trained = train("padim", prepared, images, settings, folder / "model")
    calibrate(trained, prepared, images, _SURFACE, own, settings.padim.score, "0" * 16)
    detector = Detector(folder / "model")
    held_out = [i for i in images if i.split == Split.CALIBRATION]
    regions = (read_region(prepared, image) for image in track(held_out, len(held_out), "score"))
    return np.array([detector.scan_region(region).score for region in regions])


def _split_anew(project: Project, seed: int) -> list[PreparedImage]:
    normals = [i for i in read_index(project.surface(_SURFACE).prepared) if i.label == Label.NORMAL]
    order = np.random.default_rng(seed).permutation(len(normals))
    splits = (
        [Split.TRAIN] * _TRAINED
        + [Split.VALIDATION] * _SCALED
        + [Split.CALIBRATION] * (len(normals) - _TRAINED - _SCALED)
    )
    return [normals[i].model_copy(update={"split": split}) for i, split in zip(order, splits, strict=True)]


def main(
    source: Annotated[Path, typer.Argument(help="A folder in the layout vsb.")],
    splits: Annotated[int, typer.Option(min=2, help="Random splits.")] = 50,
) -> None:
    """Print guaranteed against observed rates."""
    log_to_terminal()
    with tempfile.TemporaryDirectory() as folder:
        scores = score_held_out(Path(folder), source.resolve())
    tested = scores.size - _CALIBRATION
    rows = []
    for rate in (0.01, 0.05):
        found = observe(scores, rate, _CALIBRATION, splits, seed=0)
        mean = f"{100 * found.mean:.2f} % ± {100 * found.error:.2f} %"
        band = f"{found.low} to {found.high} of {tested}"
        rows.append((f"{100 * rate:g} %", mean, band, f"{100 * found.inside:.0f} %"))
    print_table(["promised", "observed, mean of the splits", "95 % band", "splits inside"], rows)
    say(f"{scores.size} normal boards that were not trained on; {splits} splits into {_CALIBRATION} and {tested}")


if __name__ == "__main__":
    logging.captureWarnings(True)
    sys.exit(typer.run(main))
