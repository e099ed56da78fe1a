"""Which members an ensemble should have, leaving one surface out: `python -m benchmarks.members SURFACE SURFACE ...`.

Every combination of the surfaces' newest versions scores the test images. The one that is best on all surfaces but one
is reported on that one: nothing is chosen on what it is reported on.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command
from benchmarks.newest import newest_versions
from pipelines.core.errors import CallError, ModelError
from pipelines.core.files import write_whole
from pipelines.core.paths import Project, find_project
from pipelines.core.progress import track
from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage, read_index, read_region, without_anomalies
from pipelines.detector.members import open_parts
from pipelines.detector.scan import Part, average_maps, scan_parts
from pipelines.detector.version import read_info
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.metrics.curves import image_auroc
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking
from pipelines.training.ensemble.settings import EnsembleSettings

# A letter an algorithm, and how much its map may count; 0: it is no member.
_WEIGHTS = {
    "fastflow": (0.0, 1.0),
    "padim": (0.0, 1.0),
    "anomalydino": (0.0, 1.0),
    "efficientad": (0.0, 0.3, 0.5, 1.0),
}
_LETTERS = {"fastflow": "F", "padim": "P", "anomalydino": "D", "efficientad": "E"}
Combination = tuple[float, ...]  # weights, in the order of _WEIGHTS


class Figures(NamedTuple):
    """Image AUROC of one surface: of each version by itself, by its own rule, and of each combination by its name."""

    single: dict[str, float]
    together: dict[str, float]


def members(
    surface: Annotated[list[str], typer.Argument(help="Labelled surfaces with versions of their current data.")],
) -> None:
    """Score every combination of versions, and print which is taken without a surface and what it comes to there.

    Example: python -m benchmarks.members wood-boards magnetic-tile fabric-tiles solar-cells
    """
    if len(set(surface)) < 2:
        raise CallError("one surface cannot be left out of itself", hint="name two surfaces or more")
    project = find_project()
    console = Console(width=None if sys.stdout.isatty() else 170)
    found = {name: _score_surface(project, name) for name in dict.fromkeys(surface)}
    console.print(_table_all(found))
    console.print(_table_left_out(found))


def name_combination(weights: Combination, trained: Sequence[str]) -> str:
    """Name a combination of the algorithms that a surface has versions of, such as F+P+0.3 E."""
    words = [
        _LETTERS[a] if weight == 1 else f"{weight:g} {_LETTERS[a]}"
        for a, weight in zip(_WEIGHTS, weights, strict=True)
        if weight and a in trained
    ]
    return "+".join(words)


def choose_without(found: Mapping[str, Figures], left_out: str) -> Combination:
    """Choose the combination with the least regret, in the mean over all surfaces but one."""
    others = [figures for name, figures in found.items() if name != left_out]
    return min(_combinations(), key=lambda weights: float(np.mean([regret(one, weights) for one in others])))


def regret(figures: Figures, weights: Combination) -> float:
    """Say by how much the best single version's image AUROC is higher; 1 where none of the members was trained."""
    together = figures.together.get(name_combination(weights, list(figures.single)))
    return 1.0 if together is None else max(figures.single.values()) - together


def _combinations() -> list[Combination]:
    # Alone, a version is the same however much it counts.
    return [weights for weights in product(*_WEIGHTS.values()) if sum(w > 0 for w in weights) > 1 or 1 in weights]


def _score_surface(project: Project, surface: str) -> Figures:
    """Score a surface's test images, or read what the same versions came to before."""
    tracking = Tracking(project)
    newest = newest_versions(project, tracking, surface)
    taken = {algorithm: newest[algorithm] for algorithm in _WEIGHTS if algorithm in newest}
    if len(taken) < 2:
        raise ModelError(f"{surface}: fewer than two algorithms have a version", hint=f"knotwatch retrain {surface}")
    mark = hashlib.sha256("\n".join(v.run_id for v in taken.values()).encode()).hexdigest()[:12]
    path = project.state / "members" / f"{surface}-{mark}.json"
    if not path.is_file():
        write_whole(path, json.dumps(_measure(project, surface, tracking, taken), indent=1) + "\n")
    return Figures(**json.loads(path.read_text("utf-8")))


def _measure(
    project: Project, surface: str, tracking: Tracking, taken: Mapping[str, ModelVersion]
) -> dict[str, dict[str, float]]:
    prepared = project.surface(surface).prepared
    images = sorted(read_index(prepared), key=lambda i: i.path)
    test = [i for i in images if i.split == Split.TEST and i.label != Label.UNKNOWN]
    labels = [i.label == Label.ANOMALOUS for i in test]
    score = EnsembleSettings().score
    rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
    parts, rules = {}, {}
    for algorithm, version in taken.items():
        folder = Path(tracking.folder(surface, version.version))
        info = read_info(folder)
        parts[algorithm], rules[algorithm] = open_parts(folder, (), info.plan, info.precision)[0], info.score_rule
    parts = _balance(parts, rule, prepared, without_anomalies(images, Split.VALIDATION))
    named = {name_combination(weights, list(parts)): weights for weights in _combinations()}
    named.pop("", None)
    single: dict[str, list[float]] = {algorithm: [] for algorithm in parts}
    together: dict[str, list[float]] = {name: [] for name in named}
    for image in track(test, len(test), surface):
        maps = {a: scan_parts([part], rule, read_region(prepared, image)).map for a, part in parts.items()}
        for algorithm, one in maps.items():
            single[algorithm].append(image_score(one, rules[algorithm]))
        for name, weights in named.items():
            together[name].append(image_score(_combine(maps, weights), rule))
    return {
        "single": {algorithm: _auroc(scores, labels) for algorithm, scores in single.items()},
        "together": {name: _auroc(scores, labels) for name, scores in together.items()},
    }


def _balance(
    parts: Mapping[str, Part], rule: ScoreRule, prepared: Path, normal: Sequence[PreparedImage]
) -> dict[str, Part]:
    """Divide each version's maps by the median score of normal validation images, as an ensemble does."""
    regions = [read_region(prepared, image) for image in normal]
    return {
        algorithm: part._replace(divisor=float(np.median([scan_parts([part], rule, r).score for r in regions])))
        for algorithm, part in parts.items()
    }


def _combine(maps: Mapping[str, NDArray[np.float32]], weights: Combination) -> NDArray[np.float32]:
    counted = {a: w for a, w in zip(_WEIGHTS, weights, strict=True) if w and a in maps}
    return average_maps(maps[a] * np.float32(w) for a, w in counted.items())


def _auroc(scores: Sequence[float], labels: Sequence[bool]) -> float:
    found = image_auroc(scores, labels)
    if found is None:
        raise CallError("the test split lacks normal or defective images", hint="name a surface with labels")
    return found


def _table_all(found: Mapping[str, Figures]) -> Table:
    """Put surfaces in columns: the regret of every combination, the best in the mean first."""
    table = Table("members", *found, "mean", "worst", title="image AUROC below the best single version")
    best = [f"{max(f.single, key=lambda a: f.single[a])} {max(f.single.values()):.3f}" for f in found.values()]
    table.add_row("best single", *best, "", "")
    rows = [(weights, [regret(figures, weights) for figures in found.values()]) for weights in _combinations()]
    for weights, values in sorted(rows, key=lambda row: float(np.mean(row[1]))):
        words = (f"{value:.3f}" if value < 1 else "-" for value in values)
        table.add_row(name_combination(weights, list(_WEIGHTS)), *words, f"{np.mean(values):.3f}", f"{max(values):.3f}")
    return table


def _table_left_out(found: Mapping[str, Figures]) -> Table:
    """Say of each surface what the others choose, and what that comes to."""
    columns = ("left out", "chosen on the others", "image AUROC", "best single version", "regret")
    table = Table(*columns, title="leaving one surface out")
    for name, figures in found.items():
        weights = choose_without(found, name)
        best = max(figures.single, key=lambda a: figures.single[a])
        lost = regret(figures, weights)
        value = f"{max(figures.single.values()) - lost:.3f}"
        words = f"{best} {figures.single[best]:.3f}"
        table.add_row(name, name_combination(weights, list(_WEIGHTS)), value, words, f"{lost:.3f}")
    return table


if __name__ == "__main__":
    run_command(members)
