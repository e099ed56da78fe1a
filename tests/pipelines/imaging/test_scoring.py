import numpy as np
import pytest

from pipelines.imaging.scoring import ScoreRule, image_score


def test_the_border_does_not_decide() -> None:
    region = np.zeros((100, 200), np.float32)
    region[:5] = 9.0
    region[50, 100] = 2.0
    assert image_score(region, ScoreRule(top_share=0)) == 2.0
    assert image_score(region, ScoreRule(top_share=0, border_share=0)) == 9.0


def test_a_map_lifted_as_a_whole_scores_the_same() -> None:
    region = np.random.default_rng(0).random((60, 80), np.float32)
    assert image_score(region + 5, ScoreRule(contrast=1)) == pytest.approx(
        image_score(region, ScoreRule(contrast=1)), abs=1e-5
    )
    assert image_score(region + 5, ScoreRule(contrast=0)) == pytest.approx(
        image_score(region, ScoreRule(contrast=0)) + 5, abs=1e-5
    )


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3)])
def test_tiny_regions_have_a_score(shape: tuple[int, int]) -> None:
    assert image_score(np.full(shape, 2.0, np.float32), ScoreRule(contrast=0)) == 2.0


def test_a_rule_survives_json() -> None:
    rule = ScoreRule(top_share=0.01, contrast=0.25)
    assert ScoreRule.model_validate_json(rule.model_dump_json()) == rule
