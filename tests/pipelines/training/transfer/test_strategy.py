"""The choice of a strategy, and its guard against a source that harms."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from pipelines.core.geometry import TilePlan
from pipelines.core.records import Strategy
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.imaging.synthetic.anomalies import add_synthetic_anomaly
from pipelines.imaging.tiling import TileSet
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.registry import find_algorithm
from pipelines.training.fitting import adapt, fit
from pipelines.training.run_settings import RunSettings
from pipelines.training.transfer.strategy import choose_strategy, find_likelihood_gains

PLAN = TilePlan(mode="fit", tile_height=96, tile_width=128)
LABELS = [False] * 8 + [True] * 40


def _scores(gap: float, seed: int) -> np.ndarray:
    noise = np.random.default_rng(7).normal(size=48) + 0.3 * np.random.default_rng(seed).normal(size=48)
    return noise + gap * np.array(LABELS)


def choose(**gaps: float) -> tuple[Strategy, str]:
    scores = {Strategy(name): _scores(gap, n).tolist() for n, (name, gap) in enumerate(gaps.items())}
    found = choose_strategy(scores, LABELS, 500, 0)
    return found.strategy, found.reason


def test_a_clear_gain_is_taken_and_an_unclear_one_is_not() -> None:
    strategy, reason = choose(scratch=0.5, statistics=3.0)
    assert strategy == Strategy.STATISTICS
    assert "statistics ranks better than scratch by" in reason
    strategy, reason = choose(scratch=1.0, statistics=1.02)
    assert strategy == Strategy.SCRATCH
    assert "statistics shows no gain over scratch" in reason


def test_the_simpler_way_is_kept_where_more_work_gains_nothing() -> None:
    assert choose(scratch=0.5, reuse=3.0, statistics=3.01, finetune=3.0)[0] == Strategy.REUSE
    assert choose(scratch=0.2, reuse=0.25, statistics=1.5, finetune=4.0)[0] == Strategy.FINETUNE


def test_the_gain_is_over_scratch_and_paired() -> None:
    scores = {Strategy.SCRATCH: _scores(0.5, 0), Strategy.STATISTICS: _scores(2.5, 1)}
    found = choose_strategy({s: v.tolist() for s, v in scores.items()}, LABELS, 500, 0)
    assert found.gain is not None
    assert found.gain.low is not None
    assert 0 < found.gain.low < found.gain.value


def test_what_flags_too_many_normal_images_is_passed_over() -> None:
    scores = {Strategy.SCRATCH: _scores(0.5, 0).tolist(), Strategy.STATISTICS: _scores(3, 1).tolist()}
    found = choose_strategy(scores, LABELS, 500, 0, alarming=[Strategy.STATISTICS])
    assert found.strategy == Strategy.SCRATCH
    assert "statistics flags too many" in found.reason
    both = choose_strategy(scores, LABELS, 500, 0, alarming=list(scores))
    assert both.strategy == Strategy.STATISTICS


@pytest.mark.parametrize(
    ("gap", "gains", "taken"),
    [
        (3.0, (0.02, 0.01, 0.03), Strategy.STATISTICS),
        (3.0, (0.02, -0.05, 0.03), Strategy.SCRATCH),
        (3.0, (0.02,), Strategy.SCRATCH),
        (3.0, (), Strategy.SCRATCH),
        (1.0, (0.02, 0.01, 0.03), Strategy.SCRATCH),
    ],
    ids=["likelihood_gains", "not all", "one tile", "none", "ranks worse"],
)
def test_where_synthetic_anomalies_do_not_tell_likelihood_decides(
    gap: float, gains: tuple[float, ...], taken: Strategy
) -> None:
    scores = {Strategy.SCRATCH: _scores(3, 0).tolist(), Strategy.STATISTICS: _scores(gap, 0).tolist()}
    found = choose_strategy(scores, LABELS, 500, 0, likelihood_gains={Strategy.STATISTICS: gains})
    assert found.strategy == taken, found.reason


@pytest.mark.parametrize("labels", [[], [False] * 4])
def test_without_defects_to_see_a_rule_decides(labels: list[bool]) -> None:
    scores = {s: [1.0] * len(labels) for s in (Strategy.SCRATCH, Strategy.REUSE, Strategy.STATISTICS)}
    found = choose_strategy(scores, labels, 500, 0, by_rule=Strategy.STATISTICS)
    assert (found.strategy, found.gain) == (Strategy.STATISTICS, None)
    assert found.reason.startswith("by rule")
    assert choose_strategy(scores, labels, 500, 0, by_rule=Strategy.FINETUNE).strategy == Strategy.SCRATCH
    only = {Strategy.FINETUNE: [1.0] * len(labels), Strategy.NEAREST: [1.0] * len(labels)}
    assert choose_strategy(only, labels, 500, 0).strategy == Strategy.FINETUNE


@pytest.mark.parametrize(
    ("algorithm", "taken"), [("padim", "statistics"), ("fastflow", "scratch"), ("anomalydino", "scratch")]
)
def test_no_network_that_learnt_another_material_is_taken_by_rule(algorithm: str, taken: str) -> None:
    assert find_algorithm(algorithm).by_rule == taken


def test_one_normal_image_shows_no_gain() -> None:
    scores = {Strategy.SCRATCH: [1.0, 0.5, 2.0], Strategy.STATISTICS: [0.0, 1.0, 2.0]}
    assert choose_strategy(scores, [False, True, True], 500, 0).strategy == Strategy.SCRATCH


def _cloth(seed: int) -> np.ndarray:
    y, x = np.mgrid[0:96, 0:128]
    weave = 110 + 30 * np.sin(x / 1.5) * np.sin(y / 1.5)
    noise = np.random.default_rng(seed).normal(0, 5, (96, 128, 3))
    return np.clip(weave[..., None] + noise, 0, 255).astype(np.uint8)


def _noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (96, 128, 3), dtype=np.uint8)


def _tiles(folder: Path, draw: Callable[[int], np.ndarray], seeds: range) -> TileSet:
    folder.mkdir()
    files = [folder / f"{seed}.png" for seed in seeds]
    for file, seed in zip(files, seeds, strict=True):
        Image.fromarray(draw(seed)).save(file)
    return TileSet(files, PLAN)


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ["padim", "fastflow"])
def test_a_source_trained_on_noise_is_never_chosen(algorithm: str, tmp_path: Path) -> None:
    """The real strategies on 8 images of cloth, 2 of them held out, with synthetic anomalies added to these."""
    settings = RunSettings(
        padim=PadimSettings(features=24), fastflow=FastflowSettings(flow_steps=2, batch=4, max_steps=30)
    )
    harmful = fit(algorithm, _tiles(tmp_path / "noise", _noise, range(8)), TileSet([], PLAN), settings)
    train, held = (_tiles(tmp_path / str(r.start), _cloth, r) for r in (range(4), range(10, 12)))
    pictures, labels = [], []
    for number in range(2):
        synthetic = [add_synthetic_anomaly(held[number], np.random.default_rng((number, n))).image for n in range(20)]
        pictures += [held[number], *synthetic]
        labels += [False] + [True] * 20
    scores, methods = {}, {}
    for strategy in find_algorithm(algorithm).strategies:
        if strategy != Strategy.NEAREST:
            fitted = adapt(algorithm, strategy, train, held, settings, harmful.state)
            methods[strategy] = fitted
            scores[strategy] = [_score(fitted.model, picture) for picture in pictures]
    likelihood_gains = find_likelihood_gains(methods)
    assert any(likelihood_gains.values()), "what is held out was not asked"
    found = choose_strategy(scores, labels, 500, 0, likelihood_gains=likelihood_gains)
    assert found.strategy == Strategy.SCRATCH, found.reason
    assert "reuse shows no gain over scratch" in found.reason


def _score(model: torch.nn.Module, picture: np.ndarray) -> float:
    tile = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    with torch.no_grad():
        anomaly_map = model(tile).anomaly_map[0, 0].numpy()
    return image_score(anomaly_map, ScoreRule(border_share=0.07, top_share=0.005))
