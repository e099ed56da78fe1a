"""The gate: made-up candidates, each refused for its own reason alone, and what is accepted."""

import re
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.core.records import Interval
from pipelines.core.results import CalibratedThreshold
from pipelines.core.surface_settings import GateSettings, PolicySettings
from pipelines.metrics.curves import aupro
from pipelines.metrics.paired import image_auroc_difference
from pipelines.registry.decision import (
    ChampionComparison,
    Check,
    CheckOutcome,
    CheckResult,
    Decision,
    Evidence,
    EvidenceCounts,
    Scored,
)
from pipelines.registry.first_champion import find_excess
from pipelines.registry.gate import decide, is_worse

POLICY = GateSettings()
FINE = CheckResult(ok=True)
CHAMPION = Scored(version=3, algorithm="padim", image_auroc=Interval(value=0.93), aupro=Interval(value=0.82))
NO_LABELLED_DEFECTS = EvidenceCounts(normal=100, defective=0, masked=0, synthetic=130)


def around(value: float, half: float = 0.02) -> Interval:
    return Interval(value=value, low=value - half, high=value + half)


def compared(**changes: Any) -> ChampionComparison:
    equal: dict[str, Any] = {
        "image_auroc": around(0.0),
        "aupro": around(0.0),
        "recall": around(0.0),
        "latency_ratio": Interval(value=1.0, low=0.9, high=1.2),
    }
    return ChampionComparison(champion=CHAMPION, **{**equal, **changes})


def evidence(**changes: Any) -> Evidence:
    """Describe a candidate as good as the champion in all respects, but for `changes`."""
    equal: dict[str, Any] = {
        "surface": "boards",
        "candidate": Scored(
            version=4, algorithm="padim", image_auroc=around(0.93), aupro=around(0.82), recall=around(0.7)
        ),
        "comparison": compared(),
        "images": EvidenceCounts(normal=100, defective=220, masked=220, synthetic=130),
        "image_threshold": CalibratedThreshold(threshold=1.1, target_rate=0.01, achieved_rate=0.01, images=99),
        "false_alarms": 1,
        "validation": FINE,
        "references": FINE,
        "parity": FINE,
        "coordinates": FINE,
    }
    return Evidence(**{**equal, **changes})


def outcome(decision: Decision, name: str) -> CheckOutcome:
    return next(check.outcome for check in decision.checks if check.name == name)


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("image_auroc", {"comparison": compared(image_auroc=around(-0.05))}, r"0\.050 lower than version 3's"),
        ("aupro", {"comparison": compared(aupro=around(-0.06))}, r"AUPRO is 0\.060 lower"),
        ("image_auroc", {"comparison": compared(image_auroc=None)}, "not compared"),
        ("image_auroc", {"comparison": compared(image_auroc=Interval(value=float("nan")))}, "image AUROC"),
        (
            "latency",
            {"comparison": compared(latency_ratio=Interval(value=1.8, low=1.7, high=2.0))},
            r"1\.80 \(1\.70 to 2\.00\) times that of version 3, 1\.5 are",
        ),
        ("latency", {"comparison": compared(latency_ratio=None)}, "not measured"),
        (
            "latency",
            {"comparison": compared(latency_ratio=Interval(value=9), latency_ms=2100.0, allowed_ms=2000.0)},
            "or 2000 ms a megapixel, of which it takes 2100",
        ),
        ("parity", {"parity": CheckResult.of(["7 of 100 verdicts differ"], "agrees")}, "7 of 100 verdicts differ"),
        ("references", {"references": CheckResult(ok=False, message="tile 0.png has a peak of 9")}, "tile 0.png"),
        ("coordinates", {"coordinates": CheckResult(ok=False, message="map 10 x 10, image 20 x 10")}, "map 10 x 10"),
        ("validation", {"validation": CheckResult(ok=False, message="12 % are quarantined")}, "12 % are quarantined"),
        ("false_alarms", {"false_alarms": 30}, "30 of 100 normal images are flagged, .* 99 images allows 6"),
    ],
)
def test_a_made_up_candidate_is_refused_for_its_own_reason_alone(name: str, changes: dict[str, Any], said: str) -> None:
    found = decide(evidence(**changes), POLICY)
    assert not found.accepted
    assert [check.name for check in found.refusals] == [name]
    assert re.search(said, found.message)


def test_a_better_and_an_equal_candidate_are_accepted_with_every_check_listed() -> None:
    better = compared(image_auroc=around(0.03), aupro=around(0.02), latency_ratio=Interval(value=0.4))
    for comparison in (better, compared()):
        found = decide(evidence(comparison=comparison), POLICY)
        assert found.accepted
        assert {check.name for check in found.checks} == {
            *("validation", "references", "parity", "coordinates", "image_auroc", "aupro", "synthetic_auroc"),
            *("recall", "false_alarms", "latency"),
        }
        assert found.basis == ("judged by 220 defective and 100 normal test images; compared with version 3")
        assert outcome(found, "synthetic_auroc") == CheckOutcome.NOT_JUDGED
        table = {check.name: (check.found, check.wanted) for check in found.checks}
        assert "on 220 defective and 100 normal images" in table["image_auroc"][0]
        assert "of 220 labelled anomalies" in table["recall"][0]
        assert "at most 0.005 from torch's, at most 1 % of verdicts" in table["parity"][1]
    assert Decision.model_validate_json(found.model_dump_json()) == found


def test_a_first_champion_that_flags_many_normal_images_is_for_a_person_to_judge() -> None:
    few = EvidenceCounts(normal=10, defective=12, masked=0, synthetic=0)

    def excess(flagged: int, most: float = 0.1, **changes: Any) -> str:
        return find_excess(evidence(comparison=None, images=few, false_alarms=flagged, **changes), most)

    assert (excess(2), excess(10, 1.0)) == ("", "")
    assert re.search(r"3 of 10 .* \(30 %\), more than the 10 % .* knotwatch promote boards$", excess(3))
    assert find_excess(evidence(images=few, false_alarms=9), 0.1) == "", "it is compared with a champion"


def test_every_bad_thing_is_named_at_once() -> None:
    bad = CheckResult(ok=False, message="bad")
    found = decide(evidence(validation=bad, parity=bad, false_alarms=99), POLICY)
    assert [check.name for check in found.refusals] == ["validation", "parity", "false_alarms"]
    assert found.message.count("bad") == 2


def test_limits_are_the_policy_s_and_reaching_one_is_allowed() -> None:
    edge = compared(
        image_auroc=around(0.94 - 0.95, 0.001), aupro=around(0.80 - 0.82, 0.001), latency_ratio=Interval(value=1.5)
    )
    assert decide(evidence(comparison=edge, false_alarms=6), POLICY).accepted
    strict = GateSettings(
        margins={"image_auroc": 0.009, "aupro": 0.019}, max_latency_ratio=1.4, false_alarm_quantile=0.95
    )
    found = decide(evidence(comparison=edge, false_alarms=6), strict)
    assert [check.name for check in found.refusals] == ["image_auroc", "aupro", "false_alarms", "latency"]


def test_the_first_champion_is_held_to_absolute_limits() -> None:
    found = decide(evidence(comparison=None), POLICY)
    assert found.accepted
    assert "no champion: held to absolute limits" in found.basis
    assert outcome(found, "latency") == CheckOutcome.NOT_JUDGED
    guessing = Scored(
        version=1,
        algorithm="fastflow",
        image_auroc=Interval(value=0.52),
        aupro=Interval(value=0.15),
        recall=Interval(value=0.01),
    )
    refused = decide(evidence(comparison=None, candidate=guessing, false_alarms=20), POLICY)
    assert [check.name for check in refused.refusals] == ["image_auroc", "aupro", "false_alarms"]
    assert not decide(evidence(comparison=None, candidate=Scored(version=1, algorithm="padim")), POLICY).accepted


def test_a_map_that_says_nothing_has_the_aupro_that_the_floor_is_set_against() -> None:
    anywhere = np.ones(3000)
    assert float(aupro(anywhere, anywhere)) == pytest.approx(0.15)
    assert POLICY.floors.aupro > 0.15


def test_without_labelled_defects_synthetic_ones_and_false_alarms_are_judged_by() -> None:
    figures = {"synthetic_auroc": around(0.83), "synthetic_recall": around(0.5)}
    images, candidate = NO_LABELLED_DEFECTS, Scored(version=4, algorithm="padim", **figures)
    differences = {"synthetic_auroc": Interval(value=-0.02), "synthetic_recall": Interval(value=0.0)}
    comparison = ChampionComparison(champion=CHAMPION, **differences, latency_ratio=Interval(value=1.0))
    found = decide(evidence(images=images, candidate=candidate, comparison=comparison), POLICY)
    assert found.accepted
    assert found.basis == (
        "no labelled defects: judged by false alarms on 100 normal test images and 130 synthetic anomalies; "
        "compared with version 3"
    )
    assert {outcome(found, name) for name in ("image_auroc", "aupro")} == {CheckOutcome.NOT_JUDGED}
    worse = comparison.model_copy(update={"synthetic_auroc": Interval(value=-0.04)})
    refused = decide(evidence(images=images, candidate=candidate, comparison=worse, false_alarms=30), POLICY)
    assert [check.name for check in refused.refusals] == ["synthetic_auroc", "false_alarms"]
    first = candidate.model_copy(update={"synthetic_auroc": around(0.55)})
    assert not decide(evidence(images=images, candidate=first, comparison=None), POLICY).accepted


def test_without_any_label_the_decision_says_that_nothing_tells_of_defects() -> None:
    nothing = EvidenceCounts(normal=0, defective=0, masked=0, synthetic=0)
    estimate = CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=6, in_sample=True)
    first = evidence(images=nothing, image_threshold=estimate, false_alarms=0, comparison=None)
    found = decide(first, POLICY)
    assert found.accepted
    assert "no labelled defects: nothing tells how well defects are found" in found.basis
    assert outcome(found, "false_alarms") == CheckOutcome.NOT_JUDGED
    assert not decide(first.model_copy(update={"parity": CheckResult(ok=False)}), POLICY).accepted


def test_an_in_sample_threshold_is_held_to_what_a_guarantee_from_as_many_images_allows() -> None:
    few = CalibratedThreshold(threshold=1.0, target_rate=0.01, achieved_rate=0.01, images=8, in_sample=True)
    assert decide(evidence(image_threshold=few, false_alarms=30), POLICY).accepted
    many = few.model_copy(update={"images": 200})
    refused = decide(evidence(image_threshold=many, false_alarms=30), POLICY)
    assert "an in-sample threshold for 1 % from 200 images" in refused.message


def test_masks_may_be_missing_where_defects_are_labelled() -> None:
    candidate = Scored(version=4, algorithm="padim", image_auroc=around(0.93), recall=around(0.7))
    images = EvidenceCounts(normal=100, defective=220, masked=0, synthetic=0)
    found = decide(evidence(candidate=candidate, images=images, comparison=compared(aupro=None)), POLICY)
    assert found.accepted
    assert outcome(found, "aupro") == CheckOutcome.NOT_JUDGED


@pytest.mark.parametrize(
    ("difference", "worse"),
    [
        (around(-0.05, 0.01), True),
        (around(-0.05, 0.06), False),  # few images
        (around(-0.008, 0.002), False),  # surely lower, but within the margin
        (around(-0.05, 0.05), False),  # no difference lies in the interval
        (Interval(value=-0.02), True),
        (Interval(value=-0.005), False),
        (Interval(value=float("nan"), low=0.0, high=float("nan")), True),
    ],
)
def test_worse_means_beyond_the_margin_and_beyond_chance(difference: Interval, worse: bool) -> None:
    assert is_worse(difference, 0.01) is worse


def recalled(value: float, difference: float | None = None, **changes: Any) -> Decision:
    """Decide on a candidate with a recall, and with a champion's where a difference from it is given."""
    figures = {"recall": around(value), "synthetic_recall": around(value), "synthetic_auroc": around(0.8)}
    candidate, against = evidence().candidate.model_copy(update=figures), None
    if difference is not None:
        apart = {"recall": around(difference), "synthetic_recall": around(difference), "synthetic_auroc": around(0.0)}
        against = compared(**apart, image_threshold=changes.pop("theirs", None))
    return decide(evidence(candidate=candidate, comparison=against, **changes), POLICY)


def recall_check(decision: Decision) -> Check:
    return next(check for check in decision.checks if check.name == "recall")


@pytest.mark.parametrize(
    ("images", "kind"),
    [(evidence().images, "220 labelled"), (NO_LABELLED_DEFECTS, "130 synthetic")],
    ids=["labelled", "synthetic"],
)
@pytest.mark.parametrize("difference", [None, -0.7], ids=["first", "champion"])
def test_a_threshold_that_calls_everything_good_is_refused(
    images: EvidenceCounts, kind: str, difference: float | None
) -> None:
    found = recalled(0.0, difference, images=images, false_alarms=0)
    assert [check.name for check in found.refusals] == ["recall"]
    assert f"recall of {kind} anomalies at the image threshold is 0.000, at least 0.01 is needed" in found.message


def test_recall_is_held_against_the_champion_s_where_its_threshold_guarantees_no_less() -> None:
    worse = recalled(0.3, -0.4)
    assert [check.name for check in worse.refusals] == ["recall"]
    assert "is 0.400 lower than version 3's, more than the margin of 0.3" in worse.message
    assert recalled(0.3, 0.0).accepted
    assert recalled(0.3, -0.29).accepted, "the margin"
    loose = CalibratedThreshold(threshold=0.9, target_rate=0.01, achieved_rate=0.1, images=9)
    stricter = recalled(0.3, -0.4, theirs=loose)
    assert stricter.accepted, "fewer false positives cost recall"
    assert "threshold for false positives of 1 %, not 10 %" in recall_check(stricter).message
    assert not recalled(0.3, -0.4, theirs=loose.model_copy(update={"achieved_rate": 0.01})).accepted


def test_what_few_images_cannot_tell_is_accepted_and_said_in_the_decision_s_own_line() -> None:
    lower = {"image_auroc": around(-0.08, 0.09), "recall": around(-0.4, 0.5)}
    doubtful = decide(evidence(comparison=compared(**lower)), POLICY)
    assert doubtful.accepted
    assert doubtful.message.endswith(
        "; but image AUROC is 0.080 lower than version 3's, which these few images cannot tell from chance"
        "; but recall of 220 labelled anomalies at the image threshold is 0.400 lower than version 3's, "
        "which these few images cannot tell from chance"
    )
    assert "; but" not in decide(evidence(comparison=compared(image_auroc=around(-0.005))), POLICY).message


def test_fewer_anomalies_than_needed_tell_nothing_of_recall_and_the_decision_says_so() -> None:
    few = EvidenceCounts(normal=100, defective=9, masked=9, synthetic=0)
    found = recalled(0.0, images=few)
    assert found.accepted
    assert recall_check(found).outcome == CheckOutcome.NOT_JUDGED
    assert "9 labelled and 0 synthetic anomalies are fewer than the 10 needed" in recall_check(found).message
    assert [c.name for c in recalled(0.0, images=few.model_copy(update={"synthetic": 40})).refusals] == ["recall"]


def refused_share(images: int, shift: float) -> float:
    """Simulate candidates whose defects stand out by `shift`, against champions with 2.1, AUROC 0.931."""
    refused = 0
    for seed in range(60):
        generator = np.random.default_rng(seed)
        labels = np.arange(images) % 2 == 0
        shared = generator.normal(0, 0.8, images)
        candidate, champion = (shared + generator.normal(0, 0.6, images) + labels * by for by in (shift, 2.1))
        found = image_auroc_difference(candidate, champion, labels, resamples=200, seed=seed)
        refused += found is not None and is_worse(found, POLICY.margins.image_auroc)
    return refused / 60


def test_few_images_refuse_no_equal_candidate_and_many_refuse_a_worse_one() -> None:
    assert refused_share(images=24, shift=2.1) <= 0.1
    assert refused_share(images=800, shift=1.67) >= 0.95, "an AUROC of 0.88 passed"


def test_a_misspelt_key_of_the_gate_is_refused() -> None:
    assert PolicySettings.model_validate({"gate": {"margins": {"aupro": 0.1}}}).gate.margins.image_auroc == 0.01
    for gate in ({"margin": {}}, {"margins": {"auroc": 0.1}}, {"on_alias_moved": "ignore"}):
        with pytest.raises(ValidationError):
            PolicySettings.model_validate({"gate": gate})


def test_false_alarms_cannot_be_negative_nor_a_fact_be_left_out() -> None:
    with pytest.raises(ValidationError):
        evidence(false_alarms=-1)
    with pytest.raises(ValidationError):
        Evidence.model_validate(evidence().model_dump(exclude={"references"}))


def test_slower_than_the_champion_is_no_fault_within_the_surfaces_own_limit() -> None:
    """Better versions are slower as a rule; what a line can wait for is the user's word."""
    slow = compared(latency_ratio=Interval(value=9), latency_ms=1900.0, allowed_ms=2000.0)
    assert decide(evidence(comparison=slow), POLICY).accepted
