"""One review cycle on real boards: does rejecting false alarms, and training on them, lessen those on other boards?

A simulated reviewer, who knows the masks, looks at sound boards that were held back from the start: a threshold marks
some of them, these are rejected, and the surface is trained again with them. Both versions are then compared on boards
that neither has seen, at equal recall: `python -m tests.benchmarks.review_cycle ../shared/data/wood-boards /tmp/cycle`.
"""

import csv
import hashlib
import json
import shutil
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import numpy as np
import typer
from numpy.typing import NDArray
from PIL import Image
from rich.console import Console

from pipelines.errors import ToolError
from pipelines.imaging.decoding import decode_photograph
from pipelines.imaging.region import find_region
from pipelines.loader import Detector
from pipelines.metrics.paired import image_auroc_difference
from pipelines.paths import Project
from pipelines.prepared import PreparedImage, read_index, read_region
from pipelines.records import Label, Part
from pipelines.tracking.store import Tracking
from tests.benchmarks.command import run_command
from tests.conftest import make_project, run_knotwatch, set_training

SURFACE = "boards"
_ROUNDS = 2000
_SEED = 0

Floats = NDArray[np.float64]


class Scores(NamedTuple):
    """One version's scores of the unseen boards, in the same order for every version."""

    sound: Floats
    defective: Floats

    def false_alarms(self, recall: float) -> float:
        """Return the share of sound boards above the highest threshold that still finds a share `recall`."""
        found = np.sort(self.defective)[::-1]
        threshold = found[max(1, int(np.ceil(recall * found.size - 1e-9))) - 1]
        return float(np.mean(self.sound >= threshold))

    def of(self, sound: NDArray[np.int64], defective: NDArray[np.int64]) -> "Scores":
        return Scores(self.sound[sound], self.defective[defective])


def cycle(
    boards: Annotated[Path, typer.Argument(help="A data set of layout vsb with the column `split`.")],
    folder: Annotated[Path, typer.Argument(help="Where the project is made; must not exist.")],
    held_back: Annotated[int, typer.Option(help="Sound boards that the reviewer sees.")] = 150,
    unseen: Annotated[int, typer.Option(help="More sound boards held back, to compare the versions on.")] = 0,
    marked: Annotated[int, typer.Option(help="How many of these the review threshold marks.")] = 20,
    algorithm: Annotated[str, typer.Option(help="padim, fastflow or efficientad.")] = "padim",
    profile: Annotated[str, typer.Option(help="quick or full.")] = "full",
) -> None:
    """Train, review, train again, and compare on unseen boards."""
    pool, others = split_boards(boards, folder, held_back, unseen)
    project = make_project(folder / "project")
    run_knotwatch(project.root, "data", "add", SURFACE, str(folder / "boards"), "--layout", "vsb")
    set_training(project.root, SURFACE, algorithms=[algorithm])
    first = retrain(project, profile)
    say(f"version {first} is trained; the reviewer looks at {len(pool)} sound boards")
    review = review_pool(project, pool, marked, folder / "review.json")
    change = run_knotwatch(project.root, "data", "review", SURFACE, str(review), "--json").json
    say(f"{change['photographs']} boards reviewed, {change['rejected']} regions rejected, now in {change['parts']}")
    second = retrain(project, profile)
    before, after = (score_unseen(project, version, others) for version in (first, second))
    threshold = Detector(Tracking(project).folder(SURFACE, first)).info.image_threshold.threshold
    compare(before, after, float(np.mean(before.defective > threshold)))


def split_boards(boards: Path, folder: Path, held_back: int, unseen: int) -> tuple[list[Path], list[Path]]:
    """Copy the data set to `folder` without some of its sound training boards.

    Return those that the reviewer sees, and those that neither version is trained on.
    """
    with (boards / "labels.csv").open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))
    sound = sorted(row["image"] for row in rows if row["split"] == "train" and not (row["defects"] or "").strip())
    if len(sound) <= held_back + unseen:
        raise ToolError(f"{boards} has {len(sound)} sound training boards", cure="hold fewer back")
    drawn = np.random.default_rng(_SEED).permutation(sound)[: held_back + unseen].tolist()
    places = {name: folder / ("held-back" if number < held_back else "unseen") for number, name in enumerate(drawn)}
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


def review_pool(project: Project, pool: list[Path], marked: int, file: Path) -> Path:
    """Reject what the champion outlines on the held-back boards of the highest scores; none of them has a defect."""
    found = run_knotwatch(project.root, "inspect", SURFACE, str(pool[0].parent), "--no-pictures", "--json").json
    highest = sorted(found["images"], key=lambda image: -image["score"])[:marked]
    say(f"the review threshold is {highest[-1]['score']:.3f}; that of the version {found['image_threshold']:.3f}")
    content = {
        "kind": "knotwatch review",
        "schema_version": 1,
        "surface": SURFACE,
        "model": found["model"],
        "reviewed": "by a script",
        "photographs": [judge(image) for image in highest],
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
    """Score the test part and other sound boards without naming types: what names them has seen masks."""
    detector = Detector(Tracking(project).folder(SURFACE, version))
    prepared = project.surface(SURFACE).prepared

    def score(image: PreparedImage) -> float:
        return detector.scan_region(read_region(prepared, image)).score

    def score_file(file: Path) -> float:
        photograph = decode_photograph(file, detector.info.max_megapixels).image
        box = find_region(photograph, detector.info.region)
        return detector.scan_region(photograph[box.top : box.bottom, box.left : box.right]).score

    test = [i for i in read_index(prepared) if i.part == Part.TEST]
    sound, defective = ([score(i) for i in test if i.label == label] for label in (Label.NORMAL, Label.ANOMALOUS))
    return Scores(np.array(sound + [score_file(file) for file in others]), np.array(defective))


def compare(before: Scores, after: Scores, recall: float) -> None:
    """Print how many sound boards are marked at equal recall, and the paired difference with its 95 % interval."""
    rng = np.random.default_rng(_SEED)
    sizes = before.sound.size, before.defective.size
    draws = [tuple(rng.integers(0, size, size) for size in sizes) for _ in range(_ROUNDS)]
    say(f"{sizes[0]} sound and {sizes[1]} defective boards that neither version was trained on")
    for asked in sorted({round(recall, 3), 0.8, 0.9}):
        values = before.false_alarms(asked), after.false_alarms(asked)
        apart = [after.of(*draw).false_alarms(asked) - before.of(*draw).false_alarms(asked) for draw in draws]
        low, high = np.quantile(apart, [0.025, 0.975])
        said = " (that of the first version at its threshold)" if asked == round(recall, 3) else ""
        say(
            f"recall {asked:.3f}{said}: false alarms {values[0]:.3f} before, {values[1]:.3f} after, "
            f"difference {values[1] - values[0]:+.3f} ({low:+.3f} to {high:+.3f})"
        )
    scores = (np.concatenate([after.sound, after.defective]), np.concatenate([before.sound, before.defective]))
    found = image_auroc_difference(*scores, np.arange(sum(sizes)) >= sizes[0], _ROUNDS, _SEED)
    if found is not None:
        say(f"image AUROC: difference {found.value:+.4f} ({found.low:+.4f} to {found.high:+.4f})")


def say(text: str) -> None:
    Console(highlight=False, soft_wrap=True).print(text, markup=False)


if __name__ == "__main__":
    run_command(cycle)
