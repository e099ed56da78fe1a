"""What is chosen among attempts: never the comparison, never by the test split."""

from collections.abc import Sequence

import numpy as np
import pytest

from flows.adapting.attempt import Attempt
from flows.adapting.choice import choose_attempt
from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Label, Strategy
from pipelines.core.results import CalibratedThreshold, ScoredImage, Selection

HELD = [False, *[True] * 20] * 4
TEST = [False] * 30 + [True] * 30


def _scores(labels: Sequence[bool], gap: float, seed: int) -> list[float]:
    return (np.random.default_rng(seed).normal(size=len(labels)) + gap * np.array(labels)).tolist()


def _attempt(strategy: Strategy, held: float, test: float, algorithm: str = "padim", *, few: bool = False) -> Attempt:
    labels = [] if few else HELD
    images = [
        ScoredImage(path="p", label=Label.ANOMALOUS if bad else Label.NORMAL, score=abs(score), anomalous=False)
        for bad, score in zip(TEST, _scores(TEST, test, 5), strict=True)
    ]
    return Attempt(
        algorithm=algorithm,
        strategy=strategy,
        shots=1 if few else 16,
        run_id=f"{algorithm} {strategy}",
        folder="f",
        plan=TilePlan(mode="fit", tile_height=64, tile_width=64),
        metrics={},
        selection=Selection(
            images=4,
            synthetic=80,
            metrics={} if few else {"image_auroc": 0.5 + held / 10},
            scores=tuple(_scores(labels, held, 3)),
            holds_defect=tuple(labels),
        ),
        test=tuple(images),
        image_threshold=CalibratedThreshold(threshold=1, target_rate=0.01, achieved_rate=0.2, images=4),
        alarming=False,
        notes={"export": "bf16", "prior": "none"},
        seconds=1.0,
    )


def test_held_out_images_choose_and_the_test_split_only_reports() -> None:
    """The test split prefers what the held-out images do not: it is told, and not followed."""
    found = choose_attempt(
        [_attempt(Strategy.SCRATCH, 0.3, 4), _attempt(Strategy.STATISTICS, 4, 0.1), _attempt(Strategy.NEAREST, 9, 9)],
        None,
        0,
    )
    assert found.attempt.strategy == Strategy.STATISTICS
    assert found.with_labels == "padim scratch"
    assert found.on_test
    assert found.gain is not None
    assert found.gain.value < 0


def test_the_algorithm_follows_from_the_chosen_strategies() -> None:
    attempts = [_attempt(Strategy.SCRATCH, 1, 1), _attempt(Strategy.SCRATCH, 4, 1, "fastflow")]
    found = choose_attempt(attempts, None, 0)
    assert found.attempt.algorithm == "fastflow"
    assert "among algorithms" in found.reason


def test_of_a_few_images_the_bank_of_tokens_is_taken_where_it_was_tried() -> None:
    attempts = [_attempt(Strategy.SCRATCH, 4, 1), _attempt(Strategy.SCRATCH, 1, 1, "anomalydino")]
    found = choose_attempt(attempts, None, 0)
    assert found.attempt.algorithm == "anomalydino"
    assert "synthetic anomalies would have taken padim" in found.reason
    assert choose_attempt(attempts, None, 0, "padim").attempt.algorithm == "padim", "the user's word counts"
    few = [_attempt(Strategy.SCRATCH, 4, 1, few=True), _attempt(Strategy.SCRATCH, 1, 1, "anomalydino", few=True)]
    assert choose_attempt(few, None, 0).attempt.algorithm == "anomalydino"


def test_what_did_without_the_source_is_set_against_the_best_that_learnt_from_it() -> None:
    attempts = [
        _attempt(Strategy.SCRATCH, 1, 4, "anomalydino"),
        _attempt(Strategy.REUSE, 0.1, 0.1),
        _attempt(Strategy.STATISTICS, 3, 1),
        _attempt(Strategy.SCRATCH, 0.1, 9),
    ]
    found = choose_attempt(attempts, None, 0)
    assert found.attempt.algorithm == "anomalydino"
    assert found.compared is not None
    assert (found.compared.algorithm, found.compared.strategy) == ("padim", Strategy.STATISTICS)
    assert found.on_test
    assert found.gain is not None
    assert found.gain.value < -0.1, "of the two, not of padim's own start from scratch"


def test_what_is_requested_is_taken_and_compared() -> None:
    attempts = [_attempt(Strategy.SCRATCH, 4, 4), _attempt(Strategy.REUSE, 0.1, 0.1)]
    found = choose_attempt(attempts, Strategy.REUSE, 0)
    assert found.attempt.strategy == Strategy.REUSE
    assert found.gain is not None
    assert found.gain.high is not None
    assert found.gain.high < 0


def test_one_image_is_taken_by_rule_and_nothing_is_refused() -> None:
    attempts = [_attempt(s, 1, 1, few=True) for s in (Strategy.REUSE, Strategy.STATISTICS, Strategy.SCRATCH)]
    assert choose_attempt(attempts, None, 0).attempt.strategy == Strategy.STATISTICS
    with pytest.raises(ModelError, match="no strategy"):
        choose_attempt([_attempt(Strategy.NEAREST, 1, 1)], None, 0)


def test_a_chosen_network_is_made_again_from_its_own_state() -> None:
    start = _attempt(Strategy.FINETUNE, 1, 1).finished({"adapted": "from boards/1"})
    assert (start.strategy, start.folder, start.checked) == (Strategy.REUSE, "f", True)
    assert start.notes == {"prior": "none", "adapted": "from boards/1"}
