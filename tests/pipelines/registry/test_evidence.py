"""What the gate gathers of a candidate and a champion whose map is how bright a board is."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.paths import Project
from pipelines.core.records import Label, Layout, Part
from pipelines.core.surface_settings import RegionSettings, SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.registry.decision import Facts, Finding
from pipelines.registry.evidence import Contender, Ground, gather_facts
from pipelines.training.run_settings import EvaluationSettings
from tests.tiny_version import save_version, spoil_weights

SETTINGS = EvaluationSettings(bootstrap=10, planted=0)
FINE = Finding(ok=True, words="usable")


@pytest.fixture
def ground(tmp_path: Path) -> Ground:
    """Four sound boards and two white ones, all of the test part."""
    paths = Project(tmp_path / "project").surface("oak")
    images = []
    for number, level in enumerate((60, 80, 100, 120, 240, 250)):
        name, anomalous = f"{number}.png", level > 200
        for file in (paths.source / name, paths.prepared / "images" / name):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(file)
        known = {"path": name, "file": f"images/{name}", "mask": None, "defects": {}, "condition": None, "group": name}
        box = {"left": 0, "top": 0, "right": 32, "bottom": 32, "width": 32, "height": 32}
        kind = {"part": Part.TEST, "label": Label.ANOMALOUS if anomalous else Label.NORMAL, "key": "0", "digest": "0"}
        images.append(PreparedImage.model_validate({**known, **box, **kind}))
    own = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/x"), region=RegionSettings(rule="none"))
    return Ground(paths, own, images, SETTINGS, 0, tmp_path)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fresh process that loads a version takes seconds; tests/pipelines/registry/test_checks.py starts it."""
    monkeypatch.setattr("pipelines.registry.evidence.reproduce", lambda *_: FINE)


@pytest.fixture
def candidate(tmp_path: Path) -> Contender:
    return contender(tmp_path, 2)


def contender(folder: Path, number: int) -> Contender:
    version = folder / f"version {number}"
    version.mkdir()
    return Contender(number, "padim", save_version(version))


def gather(ground: Ground, candidate: Contender, champion: Contender | None = None) -> Facts:
    return gather_facts(ground, candidate, champion, FINE)


@pytest.mark.usefixtures("at_once")
def test_a_candidate_alone_is_scored_on_the_test_part(ground: Ground, candidate: Contender) -> None:
    facts = gather(ground, candidate)
    assert (facts.images.normal, facts.images.defective, facts.false_alarms) == (4, 2, 0)
    assert facts.references.ok
    assert facts.coordinates.ok
    assert not facts.parity.ok, "this version keeps no record of it"
    assert facts.candidate.image_auroc is not None
    assert facts.candidate.image_auroc.value == 1
    assert facts.candidate.recall is not None
    assert facts.candidate.recall.value == 1
    assert facts.comparison is None


@pytest.mark.usefixtures("at_once")
def test_what_either_has_seen_is_left_out(ground: Ground, candidate: Contender, tmp_path: Path) -> None:
    champion = contender(tmp_path, 1)._replace(seen=frozenset({"0.png", "4.png"}))
    facts = gather(ground, candidate._replace(seen=frozenset({"1.png"})), champion)
    assert (facts.images.normal, facts.images.defective) == (2, 1)
    assert facts.comparison is not None
    assert facts.comparison.champion.version == 1
    assert facts.comparison.image_auroc is not None
    assert facts.comparison.image_auroc.value == 0


@pytest.mark.usefixtures("at_once")
def test_a_damaged_champion_holds_nobody_up_and_is_named(ground: Ground, candidate: Contender, tmp_path: Path) -> None:
    champion = contender(tmp_path, 1)
    spoil_weights(champion.folder)
    facts = gather(ground, candidate, champion)
    assert facts.comparison is None
    assert "version 1" in facts.alone
    assert "gone" in gather(ground, candidate, champion._replace(lost="gone")).alone


def test_a_damaged_candidate_is_not_scored(ground: Ground, candidate: Contender) -> None:
    spoil_weights(candidate.folder)
    facts = gather(ground, candidate)
    assert not facts.references.ok
    assert facts.candidate.image_auroc is None
