"""Which algorithm is proposed, on figures of the validation split alone."""

import pytest

from pipelines.models.registry import BUILT_IN
from pipelines.training.propose import choose_proposal

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


def test_every_algorithm_has_a_place_of_its_own() -> None:
    preferred = [algorithm.preference for algorithm in BUILT_IN]
    assert len(set(preferred)) == len(preferred)
