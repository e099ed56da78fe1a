"""What a retrain need not train again: which versions are known, and when nothing at all is left to do."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from flows.steps.unchanged import Known, find_known
from pipelines.core.paths import Project
from pipelines.core.records import Interval
from pipelines.core.results import CalibratedThreshold, Quarantined, ValidationReport, VersionSummary
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import DecisionRecord
from pipelines.tracking.data import SUMMARY
from pipelines.tracking.runs import Run
from pipelines.tracking.store import Tracking
from pipelines.training.ensemble.settings import EnsembleSettings
from tests.flows.sessions import looking_at

WANTED = {"padim": "f" * 16, "fastflow": "e" * 16}
AUROC = {"padim": 0.8, "fastflow": 0.9}
MEMBERS = EnsembleSettings(least_auroc=0.1)
VERDICT = ValidationReport(accepted=True, images=30, usable=29, quarantined=(Quarantined(path="a", reason="torn"),))


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tracking]:
    """A project's own MLflow store, which takes seconds to make; each test has a surface of its own in it."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
        yield Tracking(Project(tmp_path_factory.mktemp("unchanged")))


class Trained:
    """A surface as retrains left it, written without training anything."""

    def __init__(self, store: Tracking, surface: str) -> None:
        self.store, self.surface = store, surface
        self.project = Project(Path(store.uri.removeprefix("sqlite:///")).parents[2])
        self.paths = self.project.surface(surface)
        self.paths.verdict.parent.mkdir(parents=True)
        self.paths.verdict.write_text(VERDICT.model_dump_json())
        store.client.create_registered_model(surface)

    def train(
        self,
        algorithm: str,
        *,
        summary: str | None = None,
        registered: bool = True,
        fate: Callable[[Run], object] = bool,
        parent: str | None = None,
    ) -> int | None:
        """Leave what a run of the wanted fingerprint leaves; `summary` stands for its own, `fate` befalls it."""
        tags = {"algorithm": algorithm, "fingerprint": WANTED[algorithm]}
        with self.store.run(self.surface, algorithm, parent=parent, tags=tags) as run:
            version = self._register(run, tags) if registered else None
            text = summarise(algorithm, version, run.id) if summary is None else summary
            if text:
                run.text(text, SUMMARY)
            fate(run)
        return version

    def retrain(self, *algorithms: str) -> str:
        """Leave algorithms, by default both, below one parent run, with its page; return the parent's id."""
        with self.store.run(self.surface, "retrain", tags={}) as parent:
            for algorithm in algorithms or WANTED:
                self.train(algorithm, parent=parent.id)
        page = self.paths.reports / parent.id / "index.html"
        page.parent.mkdir(parents=True)
        page.write_text("<p>")
        return parent.id

    def decide(self, version: int) -> DecisionRecord:
        log, about = DecisionLog(self.store, self.surface), self.store.version(self.surface, version)
        record = DecisionRecord.proposed(log.next_number(about), about, None, "a test wants it to")
        log.add(about, record, "<p>")
        return record

    def find(self, **other: str) -> Known:
        """Ask as a retrain would that begins now; `other` fingerprints than those trained, by algorithm."""
        return find_known(looking_at(self.project, self.surface, self.store), "d4", {**WANTED, **other}, MEMBERS)

    def _register(self, run: Run, tags: dict[str, str]) -> int:
        made = self.store.client.create_model_version(self.surface, f"runs:/{run.id}/model", run.id, tags=tags)
        return int(made.version)


def summarise(algorithm: str, version: int | None, run_id: str) -> str:
    figure = Interval(value=AUROC[algorithm] - 0.1, low=0.0, high=1.0)
    return VersionSummary(
        algorithm=algorithm,
        version=version,
        run_id=run_id,
        metrics={"image_auroc": figure},
        validation={"image_auroc": AUROC[algorithm]},
        image_threshold=CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=99),
        tiles=8,
        seconds=3.0,
        peak_rss_mb=100.0,
        folder_mb=1.0,
    ).model_dump_json()


@pytest.fixture
def trained(store: Tracking, tmp_path: Path) -> Trained:
    return Trained(store, tmp_path.name.replace("_", "-"))


def test_the_same_fingerprints_are_found_with_their_figures_and_a_whole_result(trained: Trained) -> None:
    trained.retrain("padim")
    last = trained.retrain("fastflow")
    decided = trained.decide(2)
    trained.store.set_alias(trained.surface, "champion", 1)
    result = trained.find().result
    assert result is not None
    assert (result.surface, result.data_version, result.skipped, result.failed) == (trained.surface, "d4", True, ())
    assert (result.validation.images, result.validation.quarantined) == (30, 1)
    assert [(m.algorithm, m.version, m.reused) for m in result.models] == [("padim", 1, True), ("fastflow", 2, True)]
    assert result.models[1].metrics == pytest.approx({"image_auroc": 0.8, "validation_image_auroc": 0.9})
    assert result.proposed is not None
    assert (result.proposed.algorithm, result.proposed.version) == ("fastflow", 2)
    assert result.decision == decided
    assert result.champion is not None
    assert (result.champion.algorithm, result.champion.version) == ("padim", 1)
    assert result.report == f"data/reports/{trained.surface}/{last}/index.html"


def test_of_two_versions_of_one_fingerprint_the_newer_is_known(trained: Trained) -> None:
    for _ in range(2):
        trained.train("padim")
    assert trained.find().models["padim"].version == 2


def test_another_fingerprint_leaves_the_others_known_and_no_result(trained: Trained) -> None:
    trained.retrain()
    trained.decide(2)
    found = trained.find(padim="0" * 16)
    assert {name: model.version for name, model in found.models.items()} == {"fastflow": 2}
    assert found.result is None


def kill(_: Run) -> None:
    raise KeyboardInterrupt


def test_what_is_no_whole_version_is_not_known_and_an_older_whole_one_is(trained: Trained) -> None:
    trained.train("padim", summary="")  # lost
    trained.train("padim", summary='{"algorithm": "pad')  # torn
    # Registered and summarised, and ended after that: only the run's end tells.
    trained.train("padim", fate=lambda run: run.fail("no space left"))
    with pytest.raises(KeyboardInterrupt):
        trained.train("padim", fate=kill)
    trained.train("padim", registered=False)  # a trial
    assert not trained.find().models
    trained.train("padim")
    trained.train("padim", fate=lambda run: run.fail("no space left"))
    assert trained.find().models["padim"].version == 5


def test_where_nothing_was_decided_on_the_proposed_version_there_is_something_left_to_do(trained: Trained) -> None:
    trained.retrain()
    trained.decide(1)
    trained.store.set_alias(trained.surface, "champion", 1)
    found = trained.find()
    assert found.models.keys() == WANTED.keys()
    assert found.result is None, "the decision on another version counted"
    trained.decide(2)
    assert trained.find().result is not None


def test_a_proposed_version_that_is_champion_already_needs_no_decision(trained: Trained) -> None:
    trained.retrain()
    assert trained.find().result is None
    trained.store.set_alias(trained.surface, "champion", 2)
    result = trained.find().result
    assert result is not None
    assert result.decision is None


def test_an_ensemble_that_would_have_one_member_is_not_missed(trained: Trained) -> None:
    trained.retrain()
    trained.decide(2)
    assert trained.find(ensemble="d" * 16).result is None, "two members make one"
    session = looking_at(trained.project, trained.surface, trained.store)
    wanted = {**WANTED, "ensemble": "d" * 16}
    result = find_known(session, "d4", wanted, EnsembleSettings(least_auroc=0.85)).result
    assert result is not None
    assert [model.algorithm for model in result.models] == list(WANTED)
    assert result.proposed is not None
    assert (result.proposed.algorithm, "nothing joins it in an ensemble" in result.proposed.reason) == (
        "fastflow",
        True,
    )
    assert "padim: image AUROC 0.800 on synthetic anomalies, below 0.85" in result.proposed.reason


def test_a_command_and_its_flow_get_the_same_answer(trained: Trained) -> None:
    session = looking_at(trained.project, trained.surface, trained.store)
    first = find_known(session, "d4", WANTED, MEMBERS)
    trained.train("padim")
    assert find_known(session, "d4", WANTED, MEMBERS) is first
    assert "padim" in find_known(session, "d5", WANTED, MEMBERS).models, "of other data, an answer of its own"
