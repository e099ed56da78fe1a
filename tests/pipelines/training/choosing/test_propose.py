"""Which algorithm is proposed, on figures of the validation split alone."""

import pytest

from pipelines.core.records import Interval
from pipelines.core.results import Selection
from pipelines.models.registry import BUILT_IN
from pipelines.training.choosing.figures import flatten_selection
from pipelines.training.choosing.propose import Proposal, choose_proposal
from pipelines.training.ensemble.settings import ENSEMBLE

PADIM, FASTFLOW, EFFICIENTAD = "padim", "fastflow", "efficientad"


def figures(image: float, aupro: float) -> dict[str, float]:
    return {"image_auroc": image, "aupro": aupro, "pixel_auroc": 0.5}


@pytest.mark.parametrize(
    ("candidates", "proposed", "said"),
    [
        ({PADIM: figures(0.90, 0.9), EFFICIENTAD: figures(0.95, 0.1)}, EFFICIENTAD, "0.950"),
        ({PADIM: figures(0.945, 0.9), EFFICIENTAD: figures(0.95, 0.8)}, PADIM, "AUPRO"),
        ({PADIM: figures(0.9399, 0.9), EFFICIENTAD: figures(0.95, 0.8)}, EFFICIENTAD, "0.940"),
        ({FASTFLOW: figures(1.0, 0.705), EFFICIENTAD: figures(1.0, 0.70)}, EFFICIENTAD, "fixed order"),
        ({FASTFLOW: {"image_auroc": 1.0}, EFFICIENTAD: {"image_auroc": 1.0}}, EFFICIENTAD, "fixed order"),
        # Alike with the best but for the one that is far behind: its AUPRO must not count.
        ({PADIM: figures(0.5, 1.0), FASTFLOW: figures(0.9, 0.6), EFFICIENTAD: figures(0.9, 0.7)}, EFFICIENTAD, "AUPRO"),
        ({FASTFLOW: {}, EFFICIENTAD: {}, PADIM: {}}, PADIM, "no validation split"),
        ({PADIM: {}, FASTFLOW: figures(0.6, 0.6)}, FASTFLOW, "0.600"),
        ({FASTFLOW: {}}, FASTFLOW, "only algorithm"),
    ],
)
def test_the_validation_split_decides_and_the_reason_says_how(
    candidates: dict[str, dict[str, float]], proposed: str, said: str
) -> None:
    for order in (list(candidates), list(reversed(candidates))):
        found = choose_proposal({name: candidates[name] for name in order})
        assert found is not None
        assert found.algorithm == proposed
        assert said in found.reason


def test_nothing_is_proposed_of_nothing() -> None:
    assert choose_proposal({}) is None
    assert choose_proposal({}, PADIM) is None


def test_the_users_choice_wins_and_the_reason_names_what_figures_would_have_taken() -> None:
    candidates = {PADIM: figures(0.5, 0.5), FASTFLOW: figures(0.9, 0.6), EFFICIENTAD: figures(0.7, 0.7)}
    found = choose_proposal(candidates, PADIM)
    assert found is not None
    assert (found.algorithm, FASTFLOW in found.reason) == (PADIM, True)
    assert choose_proposal(candidates, FASTFLOW) == choose_proposal(candidates)
    # One that failed or was not asked for has no version: figures decide, and say so.
    del candidates[PADIM]
    found = choose_proposal(candidates, PADIM)
    assert found is not None
    assert (found.algorithm, PADIM in found.reason) == (FASTFLOW, True)


def labelled(image: float, aupro: float | None = None, count: int = 8) -> dict[str, float]:
    maps = {} if aupro is None else {"aupro": Interval(value=aupro)}
    told = {"image_auroc": Interval(value=image, low=image - 0.1, high=image + 0.05), **maps}
    return flatten_selection(Selection(images=0, synthetic=0, labelled=count, labelled_metrics=told))


def test_labelled_anomalies_win_where_synthetic_ones_say_the_reverse() -> None:
    candidates = {
        PADIM: figures(0.95, 0.9) | labelled(0.60, 0.3),
        FASTFLOW: figures(0.90, 0.8) | labelled(0.70, 0.4),
        EFFICIENTAD: figures(0.60, 0.3) | labelled(0.90, 0.2),
    }
    found = choose_proposal(candidates)
    assert found is not None
    assert (found.algorithm, found.reason) == (
        EFFICIENTAD,
        "image AUROC 0.900 (0.800 to 0.950) on 8 labelled anomalies of the validation split, against "
        "0.700 (0.600 to 0.750) (fastflow), 0.600 (0.500 to 0.650) (padim); synthetic anomalies would have taken padim",
    )
    wanted = choose_proposal(candidates, PADIM)
    assert wanted is not None
    assert wanted.reason == "policy.propose names it; efficientad would have been taken"


@pytest.mark.parametrize(
    ("candidates", "proposed", "said"),
    [
        # Too few of them, or one algorithm without: synthetic ones decide.
        ({PADIM: figures(0.9, 0.9) | labelled(0.5, count=4), FASTFLOW: labelled(0.9, count=4)}, PADIM, "synthetic"),
        ({PADIM: figures(0.9, 0.9), FASTFLOW: figures(0.5, 0.5) | labelled(0.9)}, PADIM, "on synthetic anomalies"),
        ({PADIM: figures(0.5, 0.5) | labelled(0.9, count=5), FASTFLOW: labelled(0.5)}, PADIM, "on 5 labelled"),
        # Alike by their image AUROC: the AUPRO of labelled ones, and no other.
        (
            {PADIM: figures(0.5, 0.9) | labelled(0.905, 0.3), FASTFLOW: figures(0.9, 0.1) | labelled(0.9, 0.6)},
            FASTFLOW,
            "AUPRO (padim 0.300, fastflow 0.600) decided; synthetic anomalies would have taken fastflow",
        ),
        ({PADIM: figures(0.5, 0.1) | labelled(0.9), FASTFLOW: figures(0.9, 0.9) | labelled(0.9)}, PADIM, "fixed order"),
        ({PADIM: labelled(0.7), FASTFLOW: labelled(0.9)}, FASTFLOW, "(padim)"),
    ],
)
def test_labelled_anomalies_decide_where_all_have_enough_of_them(
    candidates: dict[str, dict[str, float]], proposed: str, said: str
) -> None:
    found = choose_proposal(candidates)
    assert found is not None
    assert (found.algorithm, said in found.reason) == (proposed, True), found.reason


def test_every_algorithm_has_a_place_of_its_own() -> None:
    preferred = [algorithm.preference for algorithm in BUILT_IN]
    assert len(set(preferred)) == len(preferred)


def test_without_labels_all_are_combined_whatever_synthetic_anomalies_say() -> None:
    candidates = {"padim": {"image_auroc": 0.9}, "fastflow": {"image_auroc": 0.7}, ENSEMBLE: {"image_auroc": 0.6}}
    found = choose_proposal(candidates)
    assert found is not None
    assert (found.algorithm, found.reason.rpartition("; ")[2]) == (
        ENSEMBLE,
        "without the ensemble, synthetic anomalies would have taken padim",
    )


def test_a_single_member_is_taken_in_place_of_an_ensemble_and_the_reason_says_why_it_is_alone() -> None:
    alone = Proposal(algorithm="fastflow", reason="padim: 950 ms a megapixel")
    candidates = {"padim": {"image_auroc": 0.9}, "fastflow": {"image_auroc": 0.7}}
    found = choose_proposal(candidates, alone=alone)
    assert found is not None
    assert found.algorithm == "fastflow"
    assert "nothing joins it in an ensemble (padim: 950 ms a megapixel)" in found.reason
    assert found.reason.endswith("synthetic anomalies would have taken padim")
    labelled = {"labelled_anomalies": 20, "labelled_image_auroc": 0.9}
    told = {"padim": labelled, "fastflow": {**labelled, "labelled_image_auroc": 0.7}}
    found = choose_proposal(told, alone=alone)
    assert found is not None
    assert found.algorithm == "padim", "labelled anomalies were not asked"


def test_without_a_validation_split_nothing_is_known_of_a_combination() -> None:
    found = choose_proposal({"fastflow": {}, "padim": {}, ENSEMBLE: {}})
    assert found is not None
    assert found.algorithm == "padim"


def test_labels_may_speak_against_the_ensemble_and_where_they_do_not_it_comes_first() -> None:
    def labelled(auroc: float) -> dict[str, float]:
        return {"labelled_anomalies": 20, "labelled_image_auroc": auroc}

    against = {"padim": labelled(0.7), "fastflow": labelled(0.95), ENSEMBLE: labelled(0.9)}
    alike = {"padim": labelled(0.7), "fastflow": labelled(0.905), ENSEMBLE: labelled(0.9)}
    chosen = [choose_proposal(candidates) for candidates in (against, alike)]
    assert [one.algorithm for one in chosen if one] == ["fastflow", ENSEMBLE]
