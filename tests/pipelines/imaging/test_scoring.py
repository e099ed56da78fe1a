import numpy as np
import pytest

from pipelines.imaging.scoring import ScoreRule, image_score


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


@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (3, 3)])
def test_tiny_regions_have_a_score(shape: tuple[int, int]) -> None:
    assert image_score(np.full(shape, 2.0, np.float32), ScoreRule()) == 2.0


def test_a_rule_survives_json() -> None:
    rule = ScoreRule(top_share=0.01, border_share=0.2)
    assert ScoreRule.model_validate_json(rule.model_dump_json()) == rule
