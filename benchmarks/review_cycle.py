"""One review cycle on real boards: does rejecting false alarms, and training on them, lessen those on other boards?

A simulated reviewer, who knows the masks, looks at normal boards that were held out from the start: a threshold marks
some of them, these are rejected, and the surface is trained again with them. Both versions are then compared on boards
that neither has seen, at equal recall: `python -m benchmarks.review_cycle ../shared/data/wood-boards /tmp/cycle`.
"""

import csv
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console
from scipy.stats import mannwhitneyu

from benchmarks.command import run_command
from pipelines.core.errors import ToolError
from pipelines.core.files import write_whole
from pipelines.core.paths import Project
from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage, read_index, read_region
from pipelines.detector.detector import Detector
from pipelines.imaging.decoding import decode_image
from pipelines.imaging.roi import find_region
from pipelines.tracking.store import Tracking
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE = "boards"
_ROUNDS = 2000
_SEED = 0

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """One version's scores: of normal boards by their names, and of the defective test boards in a fixed order."""

    normal: dict[str, float]
    defective: Floats

    def drawn(self, names: Sequence[str], numbers: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """Return the scores of those of the drawn normal boards that the version did not see, and of defective ones."""
        return np.array([self.normal[name] for name in names if name in self.normal]), self.defective[numbers]


class Cycle(NamedTuple):
    """Scores before and after one review, and the recall of the first version at its own threshold."""

    before: Scores
    after: Scores
    recall: float


def false_alarms(normal: Floats, defective: Floats, recall: float) -> float:
    """Return the share of normal boards above the highest threshold that still finds a share `recall`."""
    found = np.sort(defective)[::-1]
    threshold = found[max(1, int(np.ceil(recall * found.size - 1e-9))) - 1]
    return float(np.mean(normal >= threshold))


class Conditions(NamedTuple):
    """How one cycle is done."""

    held_out: int
    unseen: int
    flagged: int
    algorithm: str
    profile: str
    seed: int


def cycle(  # noqa: PLR0917 - a command has as many arguments as options
    boards: Annotated[Path, typer.Argument(help="A data set of layout vsb with the column `split`.")],
    folder: Annotated[Path, typer.Argument(help="Where the projects are made, and scores kept.")],
    held_out: Annotated[int, typer.Option(help="Normal boards that the reviewer sees.")] = 150,
    unseen: Annotated[int, typer.Option(help="More normal boards held out, to compare the versions on.")] = 0,
    flagged: Annotated[int, typer.Option(help="How many of these the review threshold marks.")] = 20,
    algorithm: Annotated[str, typer.Option(help="padim, fastflow or efficientad.")] = "padim",
    profile: Annotated[str, typer.Option(help="quick or full.")] = "full",
    cycles: Annotated[int, typer.Option(min=1, help="Cycles, each with other boards held out.")] = 1,
) -> None:
    """Train, review, train again, and compare on unseen boards."""
    done = [
        run_cycle(boards, folder / str(number), Conditions(held_out, unseen, flagged, algorithm, profile, number))
        for number in range(cycles)
    ]
    compare_cycles(done)


def run_cycle(boards: Path, folder: Path, how: Conditions) -> Cycle:
    """Do one cycle in `folder`; what an earlier call kept there under the same conditions is taken as it is."""
    kept = folder / "scores.json"
    if kept.is_file():
        conditions, before, after, recall = json.loads(kept.read_text(encoding="utf-8"))
        if conditions != list(how):
            raise ToolError(f"{folder} holds a cycle under other conditions: {conditions}", hint="name another folder")
        return Cycle(*(Scores(normal, np.array(defective)) for normal, defective in (before, after)), recall)
    if folder.exists():
        raise ToolError(f"{folder} is there without the scores of a cycle", hint="remove it, or name another folder")
    pool, others = split_boards(boards, folder, how)
    project = make_project(folder / "project")
    run_knotwatch(project.root, "data", "add", SURFACE, str(folder / "boards"), "--layout", "vsb")
    set_training(project.root, SURFACE, algorithms=[how.algorithm])
    first = retrain(project, how.profile)
    say(f"cycle {how.seed}: version {first} is trained; the reviewer looks at {len(pool)} normal boards")
    review = review_pool(project, pool, how.flagged, folder / "review.json")
    change = run_knotwatch(project.root, "data", "review", SURFACE, str(review), "--json").json
    say(f"{change['images']} boards reviewed, {change['rejected']} regions rejected, now in {change['splits']}")
    second = retrain(project, how.profile)
    before, after = (score_unseen(project, version, others) for version in (first, second))
    threshold = Detector(Tracking(project).folder(SURFACE, first)).info.image_threshold.threshold
    found = Cycle(before, after, float(np.mean(before.defective > threshold)))
    write_whole(
        kept, json.dumps([list(how), *((s.normal, s.defective.tolist()) for s in (before, after)), found.recall])
    )
    return found


def split_boards(boards: Path, folder: Path, how: Conditions) -> tuple[list[Path], list[Path]]:
    """Copy the data set to `folder` without some of its normal training boards, drawn with the seed.

    Return those that the reviewer sees, and those that neither version is trained on.
    """
    with (boards / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    normal = sorted(row["image"] for row in rows if row["split"] == "train" and not (row["defects"] or "").strip())
    held_out, away = how.held_out, how.held_out + how.unseen
    if len(normal) <= away:
        raise ToolError(f"{boards} has {len(normal)} normal training boards", hint="hold fewer back")
    drawn = np.random.default_rng(how.seed).permutation(normal)[:away].tolist()
    places = {name: folder / ("held-back" if number < held_out else "unseen") for number, name in enumerate(drawn)}
    target = folder / "boards"
    for row in rows:
        place = places.get(row["image"], target / "images")
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(boards / "images" / row["image"], place)
        if row["image"] not in places and row["mask"]:
            (target / "masks").mkdir(exist_ok=True)
            shutil.copy2(boards / "masks" / row["mask"], target / "masks")
    with (target / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, list(rows[0]))
        table.writeheader()
        table.writerows(row for row in rows if row["image"] not in places)
    return sorted((folder / "held-back").glob("*")), sorted((folder / "unseen").glob("*"))


def retrain(project: Project, profile: str) -> int:
    found = run_knotwatch(project.root, "retrain", SURFACE, "--profile", profile, "--json").json
    return int(found["models"][0]["version"])


def review_pool(project: Project, pool: list[Path], flagged: int, file: Path) -> Path:
    """Reject what the champion outlines on the held-out boards of the highest scores; none of them has a defect."""
    found = run_knotwatch(project.root, "inspect", SURFACE, str(pool[0].parent), "--no-pictures", "--json").json
    highest = sorted(found["images"], key=lambda image: -image["score"])[:flagged]
    say(f"the review threshold is {highest[-1]['score']:.3f}; that of the version {found['image_threshold']:.3f}")
    content = {
        "kind": "knotwatch review",
        "schema_version": 1,
        "surface": SURFACE,
        "model": found["model"],
        "reviewed": "by a script",
        "images": [judge(image) for image in highest],
    }
    file.write_text(json.dumps(content))
    return file


def judge(image: dict[str, Any]) -> dict[str, Any]:
    rejected = [{"outline": d["outline"], "verdict": "rejected", "type": None} for d in image["defects"]]
    path = Path(image["path"])
    facts = {"path": str(path), "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "drawn": "score"}
    with Image.open(path) as file:
        return {**facts, "width": file.width, "height": file.height, "missed": False, "defects": rejected}


def score_unseen(project: Project, version: int, others: list[Path]) -> Scores:
    """Score the test split and other normal boards without naming types: what names them has seen masks."""
    detector = Detector(Tracking(project).folder(SURFACE, version))
    prepared = project.surface(SURFACE).prepared

    def score(image: PreparedImage) -> float:
        return detector.scan_region(read_region(prepared, image)).score

    def score_file(file: Path) -> float:
        source_image = decode_image(file, detector.info.max_megapixels).image
        box = find_region(source_image, detector.info.region)
        return detector.scan_region(source_image[box.top : box.bottom, box.left : box.right]).score

    test = [i for i in read_index(prepared) if i.split == Split.TEST]
    normal = {Path(i.path).name: score(i) for i in test if i.label == Label.NORMAL}
    defective = [score(i) for i in sorted(test, key=lambda i: i.path) if i.label == Label.ANOMALOUS]
    return Scores({**normal, **{file.name: score_file(file) for file in others}}, np.array(defective))


def compare_cycles(done: Sequence[Cycle]) -> None:
    """Print how many normal boards are flagged at equal recall, and paired differences with their 95 % intervals.

    Figures are means over the cycles. A resample draws boards, and takes them for all cycles and both versions alike.
    """
    rng = np.random.default_rng(_SEED)
    names, defective = sorted({n for one in done for n in one.before.normal}), done[0].before.defective.size
    whole = (names, np.arange(defective))
    draws = [(rng.choice(names, len(names)).tolist(), rng.integers(0, defective, defective)) for _ in range(_ROUNDS)]
    say(f"{len(names)} normal and {defective} defective boards; no version is compared on one that it was trained on")

    def measure(of: Callable[[Cycle, Floats, Floats], float]) -> tuple[float, float, str]:
        def apart(draw: tuple[Sequence[str], NDArray[np.int64]]) -> Floats:
            return np.mean([[of(one, *s.drawn(*draw)) for s in (one.before, one.after)] for one in done], axis=0)

        before, after = apart(whole).tolist()
        low, high = np.quantile([np.diff(apart(draw))[0] for draw in draws], [0.025, 0.975])
        return before, after, f"difference {after - before:+.4f} ({low:+.4f} to {high:+.4f})"

    recall = float(np.mean([one.recall for one in done]))
    before, after, words = measure(lambda one, normal, bad: false_alarms(normal, bad, one.recall))
    say(f"recall {recall:.3f}, of the first version at its threshold: false alarms {before:.3f}, {after:.3f}, {words}")
    for requested in (0.8, 0.9):
        before, after, words = measure(lambda _, normal, bad, requested=requested: false_alarms(normal, bad, requested))
        say(f"recall {requested:.3f}: false alarms {before:.3f} before, {after:.3f} after, {words}")
    before, after, words = measure(lambda _, normal, bad: mean_false_alarms(normal, bad))
    say(f"averaged over all recalls: false alarms {before:.4f} before, {after:.4f} after, {words}")


def mean_false_alarms(normal: Floats, defective: Floats) -> float:
    """Return the share of false alarms, averaged over all recalls: 1 less the image AUROC (Mann, Whitney 1947)."""
    return float(mannwhitneyu(normal, defective).statistic) / (normal.size * defective.size)


def say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


if __name__ == "__main__":
    run_command(cycle)
