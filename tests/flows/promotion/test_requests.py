"""Promotion that can say no: made-up candidates, aliases set by hand, and what a killed process leaves."""

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
import yaml

from flows.promotion.decide import judge
from flows.promotion.lineage import find_data_users
from flows.promotion.requests import decide_promotion, decide_proposal, settle_requests
from flows.promotion.rollback import release_hold, roll_back
from flows.runtime.session import look_at
from pipelines.core.errors import CallError, GateError
from pipelines.core.paths import Project
from pipelines.core.records import Label, Split
from pipelines.data.prepared import read_index
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.record import DecisionRecord, Outcome, Trigger
from pipelines.tracking.store import Tracking
from tests.conftest import call_knotwatch, run_knotwatch
from tests.flows.candidates import add_anomaly, alarming, elsewhere, equal, ignorant, silent, slow, tampered
from tests.flows.projects import SURFACE, work_in_copy

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*An input example was not provided:UserWarning"),
]


@pytest.fixture
def project(trained_once: Project, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    """A copy of the trained project, with the registry as it was after the first retrain."""
    copy = work_in_copy(trained_once, tmp_path / "project", monkeypatch)
    set_gate(copy)
    return copy


@pytest.fixture
def tracking(project: Project) -> Tracking:
    return Tracking(project)


def set_gate(project: Project, **gate: Any) -> None:
    """Write the policy; both versions are measured in turns, the margin is for what else the machine may do.

    No line waits: what is slower than the champion is too slow.
    """
    set_policy(project, gate={"max_latency_ratio": 2.5, **gate}, latency_ms=0.001)


def set_policy(project: Project, **policy: Any) -> None:
    path = project.surface(SURFACE).settings
    values = yaml.safe_load(path.read_text())
    path.write_text(yaml.safe_dump({**values, "policy": {**values.get("policy", {}), **policy}}))


def names(record: DecisionRecord) -> list[str]:
    assert record.decision is not None
    return [check.name for check in record.decision.refusals]


def by_hand(tracking: Tracking, alias: str, version: int) -> None:
    """Set an alias as MLflow's page does, through its client."""
    mlflow.MlflowClient(tracking.uri).set_registered_model_alias(SURFACE, alias, str(version))


@pytest.mark.slow
def test_made_up_candidates_are_refused_each_for_its_own_reason(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The champion stays what it was, and every decision is kept with its figures and its page."""
    # The slow one is told from the others at once; half a minute, three times on a busy machine, would tell no more.
    monkeypatch.setattr("pipelines.registry.checks._LONGEST_TIMING", 5.0)
    synthetic = {
        "image_auroc": add_anomaly(project, tracking, ignorant),
        "latency": add_anomaly(project, tracking, slow),
        "references": add_anomaly(project, tracking, tampered),
        "false_alarms": add_anomaly(project, tracking, alarming),
        "recall": add_anomaly(project, tracking, silent),
        "validation": add_anomaly(project, tracking, equal, validated=False),
        "coordinates": add_anomaly(project, tracking, elsewhere),
    }
    for number, (reason, version) in enumerate(synthetic.items(), 2):
        record = decide_promotion(look_at(SURFACE), version)
        assert (record.accepted, record.after, record.number) == (False, 1, number), record.message
        assert reason in names(record), record.message
        # What is bright is no defect, and at no threshold.
        besides = {"aupro", "recall"} if reason == "image_auroc" else {"aupro"}
        assert set(names(record)) <= {reason} | besides, record.message
        page = project.surface(SURFACE).reports / "decisions" / f"{number:04d}.html"
        assert "<strong>refused</strong>" in page.read_text()
        run_id = tracking.version(SURFACE, version).run_id
        kept = DecisionRecord.model_validate_json(tracking.read_text(run_id, f"decisions/{number:04d}.json"))
        assert kept == record
    assert tracking.aliases(SURFACE) == {"champion": 1}
    assert [r.number for r in DecisionLog(tracking, SURFACE).read()] == list(range(1, 9))


def test_synthetic_anomalies_tell_recall_where_labelled_ones_are_too_few(project: Project, tracking: Tracking) -> None:
    set_gate(project, least_anomalies=17)
    for change, accepted in ((silent, False), (equal, True)):
        record = decide_promotion(look_at(SURFACE), add_anomaly(project, tracking, change), dry_run=True)
        assert (record.accepted, names(record)) == (accepted, [] if accepted else ["recall"])
        assert record.decision is not None
        assert record.decision.evidence.images.defective == 16
        (check,) = (check for check in record.decision.checks if check.name == "recall")
        assert "synthetic anomalies at the image threshold" in check.message


def test_a_refused_one_needs_force_and_a_reason_and_a_better_one_is_accepted(
    project: Project, tracking: Tracking
) -> None:
    # One multiplication is all that the ignorant network does.
    set_gate(project, max_latency_ratio=1000)
    bad, good = add_anomaly(project, tracking, ignorant), add_anomaly(project, tracking, equal)
    seen = decide_promotion(look_at(SURFACE), bad, dry_run=True)
    assert not seen.accepted
    assert len(DecisionLog(tracking, SURFACE).read()) == 1, "a dry run kept something"
    forced = decide_promotion(look_at(SURFACE), bad, force_reason="a trial on line 3")
    assert (forced.accepted, forced.moved, forced.reason) == (False, True, "a trial on line 3")
    assert tracking.aliases(SURFACE) == {"champion": bad, "previous": 1}
    better = decide_promotion(look_at(SURFACE), good)
    assert better.accepted, better.message
    assert better.decision is not None
    assert better.decision.evidence.comparison is not None
    assert better.decision.evidence.comparison.image_auroc is not None
    assert better.decision.evidence.comparison.image_auroc.value > 0
    assert tracking.aliases(SURFACE) == {"champion": good, "previous": bad}
    with pytest.raises(CallError, match="champion already"):
        decide_promotion(look_at(SURFACE), good)


def test_a_challenger_set_by_hand_is_decided_and_nothing_twice(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[Any, ...]] = []
    monkeypatch.setattr("flows.promotion.decide.notify", lambda *message: told.append(message[1:]))
    bad, good = add_anomaly(project, tracking, alarming), add_anomaly(project, tracking, equal)
    assert settle_requests(look_at(SURFACE)) == []
    by_hand(tracking, "challenger", bad)
    (refused,) = settle_requests(look_at(SURFACE))
    assert (refused.trigger, refused.accepted, names(refused)) == (Trigger.CHALLENGER, False, ["false_alarms"])
    assert tracking.aliases(SURFACE) == {"champion": 1}, "a request that was answered is open still"
    assert told == [(SURFACE, f"version {bad} was refused", refused.summary)]
    by_hand(tracking, "challenger", good)
    (accepted,) = settle_requests(look_at(SURFACE))
    assert (accepted.accepted, tracking.aliases(SURFACE)) == (True, {"champion": good, "previous": 1})
    assert len(told) == 1
    assert settle_requests(look_at(SURFACE)) == []


def test_a_champion_moved_by_hand_is_kept_with_a_warning_or_put_back(project: Project, tracking: Tracking) -> None:
    bad = add_anomaly(project, tracking, alarming)
    by_hand(tracking, "champion", bad)
    (kept,) = settle_requests(look_at(SURFACE))
    assert (kept.trigger, kept.accepted, kept.before, kept.after) == (Trigger.CHAMPION, False, 1, bad)
    assert "set by hand" in kept.message
    assert tracking.aliases(SURFACE) == {"champion": bad, "previous": 1}
    roll_back(look_at(SURFACE))
    set_gate(project, on_alias_moved="revert")
    by_hand(tracking, "champion", bad)
    (back,) = settle_requests(look_at(SURFACE))
    assert (back.accepted, back.before, back.after) == (False, 1, 1)
    assert tracking.aliases(SURFACE)["champion"] == 1
    mlflow.MlflowClient(tracking.uri).delete_registered_model_alias(SURFACE, "champion")
    (noted,) = settle_requests(look_at(SURFACE))
    assert (noted.outcome, tracking.aliases(SURFACE)["champion"]) == (Outcome.NOTED, 1)
    assert settle_requests(look_at(SURFACE)) == []


def test_rollback_goes_further_back_each_time_and_holds_until_released(project: Project, tracking: Tracking) -> None:
    second, third, recipe = (add_anomaly(project, tracking, equal) for _ in range(3))
    for version in (second, third):
        assert decide_promotion(look_at(SURFACE), version).accepted
    first = roll_back(look_at(SURFACE), reason="misses on pine")
    assert (first.before, first.after, first.reason) == (third, second, "misses on pine")
    assert tracking.aliases(SURFACE) == {"champion": second, "previous": 1}
    assert roll_back(look_at(SURFACE)).after == 1
    assert tracking.aliases(SURFACE) == {"champion": 1}
    with pytest.raises(CallError, match="no earlier champion"):
        roll_back(look_at(SURFACE))
    waiting = decide_proposal(look_at(SURFACE), tracking.version(SURFACE, recipe), "the bad recipe")
    assert waiting is not None
    assert (waiting.outcome, "held by the rollback" in waiting.message) == (Outcome.PROPOSED, True)
    assert settle_requests(look_at(SURFACE)) == []
    assert tracking.aliases(SURFACE) == {"champion": 1, "challenger": recipe}
    assert "held by the rollback" in release_hold(look_at(SURFACE))
    (decided,) = settle_requests(look_at(SURFACE))
    assert (decided.trigger, decided.after) == (Trigger.RETRAIN, recipe)
    assert decide_proposal(look_at(SURFACE), tracking.version(SURFACE, recipe), "again") == decided.model_copy(
        update={"decision": None}
    ), "it was decided twice"


def test_a_rollback_waits_for_no_gate_and_what_was_judged_meanwhile_is_judged_again(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    second, third = (add_anomaly(project, tracking, equal) for _ in range(2))
    assert decide_promotion(look_at(SURFACE), second).accepted
    judged: list[int] = []

    def judge_while_somebody_rolls_back(*said: Any) -> DecisionRecord:
        record = judge(*said)
        judged.append(record.number)
        if len(judged) == 1:
            # The surface is held here, as by a retrain.
            run_knotwatch(project.root, "rollback", SURFACE)
        return record

    monkeypatch.setattr("flows.promotion.requests.judge", judge_while_somebody_rolls_back)
    record = decide_proposal(look_at(SURFACE), tracking.version(SURFACE, third), "a test proposes it")
    assert record is not None
    assert (record.outcome, record.number, judged) == (Outcome.PROPOSED, 4, [3])
    assert "held by the rollback" in record.message
    assert tracking.aliases(SURFACE)["champion"] == 1
    release_hold(look_at(SURFACE))
    assert decide_promotion(look_at(SURFACE), third).number == 5


def test_rollback_refuses_what_does_not_reproduce_its_tiles(project: Project, tracking: Tracking) -> None:
    assert decide_promotion(look_at(SURFACE), add_anomaly(project, tracking, equal)).accepted
    tampered(tracking.folder(SURFACE, 1))
    with pytest.raises(GateError, match="version 1 of 'drawn' is not returned to: "):
        roll_back(look_at(SURFACE))
    assert tracking.aliases(SURFACE) == {"champion": 2, "previous": 1}
    assert DecisionLog(tracking, SURFACE).hold() == ""


def test_without_automatic_promotion_a_proposal_waits_for_promote(
    project: Project, tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    set_gate(project, automatic=False)
    version = tracking.version(SURFACE, add_anomaly(project, tracking, equal))
    record = decide_proposal(look_at(SURFACE), version, "better on the validation split")
    assert record is not None
    assert (record.outcome, tracking.aliases(SURFACE)["challenger"]) == (Outcome.PROPOSED, version.version)
    shown = call_knotwatch(capsys, "promote", SURFACE, "--json").json
    assert (shown["outcome"], shown["after"]) == ("accepted", version.version)
    assert tracking.aliases(SURFACE) == {"champion": version.version, "previous": 1}


def test_a_first_champion_that_flags_many_good_images_waits_until_the_user_says_otherwise(
    project: Project, tracking: Tracking, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = tracking.version(SURFACE, add_anomaly(project, tracking, equal))
    (tracking.folder(SURFACE, 1) / "model.bin").unlink()  # nothing is left to compare with
    judged: list[int] = []

    def judge_with_alarms(*words: Any) -> DecisionRecord:
        judged.append(words[1].version)
        record = judge(*words)
        assert record.decision is not None
        alarming = record.decision.evidence.model_copy(update={"false_alarms": 5})
        return record.model_copy(update={"decision": record.decision.model_copy(update={"evidence": alarming})})

    monkeypatch.setattr("flows.promotion.requests.judge", judge_with_alarms)
    record = decide_proposal(look_at(SURFACE), version, "the only one")
    assert record is not None
    assert (record.outcome, record.after) == (Outcome.PROPOSED, 1)
    assert "policy.max_false_positive_rate" in record.message
    assert tracking.aliases(SURFACE) == {"champion": 1, "challenger": version.version}
    assert decide_proposal(look_at(SURFACE), version, "the only one") == record.model_copy(update={"decision": None})
    assert len(judged) == 1, "it was judged again"
    assert decide_promotion(look_at(SURFACE), version.version, dry_run=True).accepted
    set_policy(project, max_false_positive_rate=1.0)
    settle_requests(look_at(SURFACE))
    assert tracking.aliases(SURFACE) == {"champion": version.version, "previous": 1}


def test_a_champion_whose_files_are_lost_holds_no_candidate_up(project: Project, tracking: Tracking) -> None:
    version = add_anomaly(project, tracking, equal)
    (tracking.folder(SURFACE, 1) / "model.bin").unlink()
    record = decide_promotion(look_at(SURFACE), version)
    assert record.accepted
    assert "the champion, version 1, cannot be compared with" in record.message


def test_the_commands_answer_with_their_exit_codes(
    project: Project, tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = str(add_anomaly(project, tracking, alarming))
    assert "--reason" in call_knotwatch(capsys, "promote", SURFACE, "--version", bad, "--force", expect=2).err
    refused = call_knotwatch(capsys, "promote", SURFACE, "--version", bad, expect=3)
    assert "refused: " in refused.out
    forced = ("--version", bad, "--force", "--reason", "a <b>trial</b>")
    assert "forced: a <b>trial</b>" in call_knotwatch(capsys, "promote", SURFACE, *forced).out
    page = project.surface(SURFACE).reports / "decisions" / "0003.html"
    assert "a &lt;b&gt;trial&lt;/b&gt;" in page.read_text()
    rolled = call_knotwatch(capsys, "rollback", SURFACE, "--json").json
    assert (rolled["before"], rolled["after"]) == (int(bad), 1)
    listed = call_knotwatch(capsys, "models", SURFACE, "--json").json
    assert "held by the rollback" in listed["hold"]
    assert [m["aliases"] for m in listed["models"]] == [[], ["champion"]]
    assert "forced: a <b>trial</b>" in listed["models"][0]["why"]
    assert call_knotwatch(capsys, "rollback", SURFACE, "--release", "--json").json["released"] == listed["hold"]
    assert DecisionLog(tracking, SURFACE).hold() == ""


def test_lineage_leads_from_a_version_to_its_data_and_back(
    project: Project, tracking: Tracking, capsys: pytest.CaptureFixture[str]
) -> None:
    found = call_knotwatch(capsys, "models", SURFACE, "--lineage", "--json").json
    assert (found["version"], found["algorithm"], found["parameters"]["padim.features"]) == (1, "padim", "40")
    assert sum(found["counts"].values()) == len(found["images"]) == 81
    assert {i["split"] for i in found["images"]} == {"train", "validation", "calibration", "test"}
    assert found["decisions"][0]["decision"]["evidence"]["images"]["defective"] == 16
    assert found["retrain_run_id"]
    assert [(m.surface, m.version) for m in find_data_users(project, tracking, found["data_version"][:6])] == [
        (SURFACE, 1)
    ]
    assert json.loads(tracking.read_text(found["run_id"], "data_version.json"))["version"] == found["data_version"]
    with pytest.raises(CallError, match="no model saw"):
        find_data_users(project, tracking, "ffff")


def test_images_that_a_version_was_trained_on_are_not_judged_by(project: Project, tracking: Tracking) -> None:
    """The parts were drawn anew since: what is the test split now was trained on then."""
    images = [i for i in read_index(project.surface(SURFACE).prepared) if i.split == Split.TEST]
    seen = [i.path for i in images if i.label == Label.ANOMALOUS][:6] + [i.path for i in images if not i.defects][:3]
    record = decide_promotion(look_at(SURFACE), add_anomaly(project, tracking, equal, seen=seen), dry_run=True)
    assert record.decision is not None
    sample = record.decision.evidence.images
    assert (sample.defective, sample.normal) == (16 - 6, len(images) - 16 - 3)
