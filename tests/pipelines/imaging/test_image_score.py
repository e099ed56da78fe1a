import numpy as np
import pytest

from pipelines.imaging.image_score import ScoreRule, image_score, top_values


def test_the_border_does_not_decide() -> None:
    region = np.zeros((100, 200), np.float32)
    region[:5] = 9.0
    region[50, 100] = 2.0
    assert image_score(region, ScoreRule(top_share=0)) == 2.0
    assert image_score(region, ScoreRule(top_share=0, border_share=0)) == 9.0


def test_the_top_share_is_averaged() -> None:
    region = np.arange(1000, dtype=np.float32).reshape(25, 40)
    assert image_score(region, ScoreRule(border_share=0, top_share=0.003)) == 998.0
    assert image_score(region, ScoreRule(border_share=0, top_share=1)) == pytest.approx(region.mean())
    assert image_score(region, ScoreRule(border_share=0, top_share=0)) == 999.0


@pytest.mark.parametrize("share", [0, 0.005, 0.3, 1])
@pytest.mark.parametrize("kind", ["noise", "one spot", "a spot that no sample sees", "flat", "two levels", "ramp"])
def test_the_top_values_are_those_of_sorting_everything(kind: str, share: float) -> None:
    region = np.random.default_rng(0).normal(0, 1, (97, 131)).astype(np.float32)
    if kind == "one spot":
        region[40:60, 40:60] += 50
    if kind == "a spot that no sample sees":
        region[:] = 0
        region[41:47, 41:47] = 7
    if kind == "flat":
        region[:] = 3
    if kind == "two levels":
        region = (region > 2).astype(np.float32)
    if kind == "ramp":
        region = np.arange(97 * 131, dtype=np.float32).reshape(97, 131)
    count = max(1, round(share * region.size))
    found = np.sort(top_values(region, ScoreRule(border_share=0, top_share=share)))
    assert np.array_equal(found, np.sort(region.ravel())[-count:])


def test_what_is_not_a_number_does_not_vanish_from_a_score() -> None:
    region = np.zeros((40, 40), np.float32)
    region[21, 13] = np.nan
    assert np.isnan(image_score(region, ScoreRule()))


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3)])
def test_tiny_regions_have_a_score(shape: tuple[int, int]) -> None:
    assert image_score(np.full(shape, 2.0, np.float32), ScoreRule()) == 2.0


def test_a_rule_survives_json() -> None:
    rule = ScoreRule(top_share=0.01, border_share=0.2)
    assert ScoreRule.model_validate_json(rule.model_dump_json()) == rule
