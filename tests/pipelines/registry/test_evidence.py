"""What the gate gathers of a candidate and a champion whose map is how bright a board is."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from pipelines.core.paths import Project
from pipelines.core.records import Label, Layout, Split
from pipelines.core.surface_settings import RegionSettings, SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.detector.cache import RunCache
from pipelines.models.openvino.runtime import TileModel
from pipelines.registry.decision import CheckResult, Evidence
from pipelines.registry.evidence import Candidate, EvaluationContext, gather_evidence
from pipelines.training.run_settings import EvaluationSettings
from tests.tiny_version import save_version, spoil_weights

SETTINGS = EvaluationSettings(bootstrap=10, synthetic=0)
FINE = CheckResult(ok=True, message="usable")


@pytest.fixture
def context(tmp_path: Path) -> EvaluationContext:
    """Four normal boards and two white ones, all of the test split."""
    paths = Project(tmp_path / "project").surface("oak")
    images = []
    for number, level in enumerate((60, 80, 100, 120, 240, 250)):
        name, anomalous = f"{number}.png", level > 200
        for file in (paths.source / name, paths.prepared / "images" / name):
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.full((32, 32, 3), level, np.uint8)).save(file)
        known = {"path": name, "file": f"images/{name}", "mask": None, "defects": {}, "condition": None, "group": name}
        box = {"left": 0, "top": 0, "right": 32, "bottom": 32, "width": 32, "height": 32}
        kind = {"split": Split.TEST, "label": Label.ANOMALOUS if anomalous else Label.NORMAL, "key": "0", "digest": "0"}
        images.append(PreparedImage.model_validate({**known, **box, **kind}))
    own = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/x"), region=RegionSettings(rule="none"))
    return EvaluationContext(paths, own, images, SETTINGS, 0, tmp_path)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fresh process that loads a version takes seconds; tests/pipelines/registry/test_checks.py starts it."""
    monkeypatch.setattr("pipelines.registry.evidence.reproduce", lambda *_: FINE)


@pytest.fixture
def candidate(tmp_path: Path) -> Candidate:
    return contender(tmp_path, 2)


def contender(folder: Path, number: int) -> Candidate:
    version = folder / f"version {number}"
    version.mkdir()
    return Candidate(number, "padim", save_version(version))


def gather(context: EvaluationContext, candidate: Candidate, champion: Candidate | None = None) -> Evidence:
    return gather_evidence(context, candidate, champion, FINE)


@pytest.mark.usefixtures("at_once")
def test_a_candidate_alone_is_scored_on_the_test_split(context: EvaluationContext, candidate: Candidate) -> None:
    evidence = gather(context, candidate)
    assert (evidence.images.normal, evidence.images.defective, evidence.false_alarms) == (4, 2, 0)
    assert evidence.references.ok
    assert evidence.coordinates.ok
    assert not evidence.parity.ok, "this version keeps no record of it"
    assert evidence.candidate.image_auroc is not None
    assert evidence.candidate.image_auroc.value == 1
    assert evidence.candidate.recall is not None
    assert evidence.candidate.recall.value == 1
    assert evidence.comparison is None


@pytest.mark.usefixtures("at_once")
def test_maps_that_the_run_knows_are_not_computed_again(
    context: EvaluationContext, candidate: Candidate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = context._replace(wrap=RunCache(tmp_path / "maps").wrap)
    computed: list[int] = []
    infer = TileModel.infer

    def count(network: TileModel, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        computed.append(len(tiles))
        return infer(network, tiles)

    monkeypatch.setattr(TileModel, "infer", count)
    alone = gather(context, candidate)
    first = len(computed)
    assert gather(known, candidate) == alone
    assert len(computed) == 2 * first
    assert gather(known, candidate) == alone
    assert len(computed) == 3 * first - len(context.images), "only what checks coordinates looks at the images again"


@pytest.mark.usefixtures("at_once")
def test_what_either_has_seen_is_left_out(context: EvaluationContext, candidate: Candidate, tmp_path: Path) -> None:
    champion = contender(tmp_path, 1)._replace(seen=frozenset({"0.png", "4.png"}))
    evidence = gather(context, candidate._replace(seen=frozenset({"1.png"})), champion)
    assert (evidence.images.normal, evidence.images.defective) == (2, 1)
    assert evidence.comparison is not None
    assert evidence.comparison.champion.version == 1
    assert evidence.comparison.image_auroc is not None
    assert evidence.comparison.image_auroc.value == 0


@pytest.mark.usefixtures("at_once")
def test_a_damaged_champion_holds_nobody_up_and_is_named(
    context: EvaluationContext, candidate: Candidate, tmp_path: Path
) -> None:
    champion = contender(tmp_path, 1)
    spoil_weights(champion.folder)
    evidence = gather(context, candidate, champion)
    assert evidence.comparison is None
    assert "version 1" in evidence.alone
    assert "gone" in gather(context, candidate, champion._replace(lost="gone")).alone


def test_a_damaged_candidate_is_not_scored(context: EvaluationContext, candidate: Candidate) -> None:
    spoil_weights(candidate.folder)
    evidence = gather(context, candidate)
    assert not evidence.references.ok
    assert evidence.candidate.image_auroc is None
