"""From a mislabelled image among the normal ones to a data version that neither trains nor calibrates on it."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from flows.dataset import suspects
from flows.dataset.review import review_surface
from flows.dataset.surface import add_surface, prepared_images
from pipelines.core.errors import CallError
from pipelines.core.paths import Project
from pipelines.core.records import Label, Layout, Split
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface
from pipelines.data.manifest import read_manifest
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.inspection.suspects import Unlike


def paint(path: Path, seed: int, *, dark: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(100 * dark + seed).normal(60 if dark else 170, 25, (64, 96, 3))
    Image.fromarray(np.clip(noise, 0, 255).astype(np.uint8)).save(path)


def judge(project: Project, verdicts: dict[str, bool], file: Path) -> Path:
    """Save what the page of suspects saves: by the path of an image, whether it is anomalous."""
    images = [
        {
            "path": path,
            "sha256": hashlib.sha256((project.root / path).read_bytes()).hexdigest(),
            "width": 96,
            "height": 64,
            "drawn": "score",
            "missed": anomalous,
            "defects": [],
        }
        for path, anomalous in verdicts.items()
    ]
    facts = {"kind": "knotwatch review", "schema_version": 1, "surface": "oak", "model": "none", "reviewed": "now"}
    file.write_text(json.dumps({**facts, "images": images}))
    return file


def splits(project: Project) -> dict[str, tuple[str, str]]:
    rows = read_manifest(project.surface("oak").manifest)
    return {row["path"]: (row["split"], row["label"]) for row in rows.to_dict(orient="records")}


def rank_by_darkness(prepared: Path, images: Sequence[PreparedImage], scratch: Path) -> list[Unlike]:
    """Stand in for DINOv2, which tests of its own try: a planted image is black."""
    assert scratch.is_dir()
    darkness = {image.path: float(255 - read_region(prepared, image).mean()) for image in images}
    cells = np.ones((2, 4), np.float32)
    ranked = [Unlike(image, darkness[image.path], cells, 0.5) for image in images]
    return sorted(ranked, key=lambda unlike: -unlike.score)


@pytest.mark.services
@pytest.mark.parametrize("layout", [Layout.FOLDER, Layout.UNLABELLED])
def test_what_is_judged_counts_in_the_next_data_version(
    project: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, layout: Layout
) -> None:
    monkeypatch.setattr(suspects, "rank_unlike", rank_by_darkness)
    monkeypatch.setattr(suspects, "_load_champion", lambda _: None)
    folder = tmp_path / "boards" / ("good" if layout == Layout.FOLDER else "")
    for number in range(16):
        paint(folder / f"{number:02d}.png", number)
    # Of several, some are drawn into splits that are ranked.
    for number in range(4):
        paint(folder / f"planted {number}.png", number, dark=True)
    add_surface(project, "oak", SourceSettings(layout=layout, path=str(tmp_path / "boards")))
    before = splits(project)
    found = suspects.find_suspects(project, "oak", 5)
    assert found.images == len([split for split, _ in before.values() if split != Split.TEST])
    assert (len(found.suspects), found.threshold) == (5, None)
    first, normal = found.suspects[0].path, found.suspects[-1].path
    assert "planted" in first
    assert (project.root / found.page).read_text(encoding="utf-8").count("<article") == 5

    change = review_surface(project, "oak", judge(project, {first: True, normal: False}, tmp_path / "review.json"))
    assert change.data_version != found.data_version
    after = splits(project)
    name, kept = (path.split("/source/")[1] for path in (first, normal))
    assert before[name][0] != Split.TEST
    assert after[name] == (Split.TEST, Label.ANOMALOUS)
    assert after[kept] == (before[kept][0], Label.NORMAL)
    trained = {(i.path, i.label) for i in prepared_images(project, "oak") if i.split != Split.TEST}
    assert name not in {path for path, _ in trained}
    assert Label.ANOMALOUS not in {label for _, label in trained}

    again = suspects.find_suspects(project, "oak", 50)
    assert (again.images, again.reviewed) == (len(trained), 1)
    assert {first, normal}.isdisjoint(suspect.path for suspect in again.suspects)
    everything = suspects.find_suspects(project, "oak", 50, everything=True)
    assert normal in {suspect.path for suspect in everything.suspects}
    assert first not in {suspect.path for suspect in everything.suspects}


def test_a_surface_without_prepared_images_is_told_what_to_do(project: Project) -> None:
    write_surface(project, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/nowhere")))
    with pytest.raises(CallError, match="no image that is taken for normal") as raised:
        suspects.find_suspects(project, "oak", 5)
    assert raised.value.hint == "knotwatch data update oak"
