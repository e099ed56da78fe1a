"""The head that names types: features drawn as clouds, so that what is right is known."""

from pathlib import Path

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from pipelines.core.errors import ModelError
from pipelines.core.records import NORMAL, UNKNOWN
from pipelines.detector.type_head import TypeHead, load_head
from pipelines.training.types.fit import HeldOutLogits, fit_head, fit_temperature, hold_out

TYPES = ("crack", "knot", NORMAL)


def draw_clouds(each: int, apart: float, seed: int = 0) -> tuple[np.ndarray, list[str], list[str]]:
    """Draw (n, 4 views, 400) features around one centre a type; each example is its own group."""
    random = np.random.default_rng(seed)
    centres = apart * np.random.default_rng(99).normal(size=(len(TYPES), 400))
    types = [name for name in TYPES for _ in range(each)]
    base = np.repeat(centres, each, axis=0) + random.normal(size=(len(types), 400))
    views = base[:, None] + 0.1 * random.normal(size=(len(types), 4, 400))
    return views.astype(np.float32), types, [str(n) for n in range(len(types))]


def fit(each: int = 12, apart: float = 1.0) -> TypeHead:
    features, types, groups = draw_clouds(each, apart)
    return fit_head(features, types, hold_out(features, types, groups, 0))


def test_what_lies_near_the_examples_is_named_and_what_lies_far_is_unknown() -> None:
    head = fit()
    features, types, _ = draw_clouds(8, 1.0, seed=1)
    named = head.name(features)
    assert np.mean([n.type == t for n, t in zip(named, types, strict=True)]) > 0.9
    strangers = np.random.default_rng(5).normal(size=(10, 1, 400)).repeat(4, axis=1) * 3
    assert [n for n in head.name(strangers.astype(np.float32)) if n.type != UNKNOWN] == []
    assert all(n.confidence is None and not n.dropped for n in head.name(strangers.astype(np.float32)))


def test_held_out_names_come_from_heads_that_saw_nothing_of_the_group() -> None:
    features, types, _ = draw_clouds(10, 0.0)
    # Pure noise, each example in two copies: a head that saw the copy would name it perfectly.
    features, types = np.concatenate([features, features]), types * 2
    together = hold_out(features, types, [str(n % 30) for n in range(60)], 0)
    apart = hold_out(features, types, [str(n) for n in range(60)], 0)
    hits = [np.mean([a == b for a, b in zip(h.named, types, strict=True)]) for h in (together, apart)]
    assert hits[0] < 0.6 < hits[1]


def test_a_head_fitted_in_the_span_of_its_rows_is_the_head_fitted_to_all_features() -> None:
    features, types, _ = draw_clouds(8, 0.2)
    assert features.shape[0] * features.shape[1] < features.shape[2], "more features than rows"
    head = fit(each=8, apart=0.2)
    rows = head.standardise(features).reshape(-1, features.shape[2])
    plain = LogisticRegression(C=0.01, class_weight="balanced", max_iter=3000).fit(rows, np.repeat(types, 4))
    assert head.weights == pytest.approx(plain.coef_, abs=1e-4)
    assert head.bias == pytest.approx(plain.intercept_, abs=5e-3)


def test_only_normal_regions_beyond_doubt_are_dropped() -> None:
    head = fit(each=60, apart=0.15)
    features, types, groups = draw_clouds(40, 0.15, seed=2)
    named = head.name(features)
    lost = [n for n, t in zip(named, types, strict=True) if n.dropped and t != NORMAL]
    assert len(lost) <= 0.1 * 80
    assert any(n.dropped for n in named)
    assert all(n.type == NORMAL for n in named if n.dropped)
    assert len(groups) == 120


def test_temperature_makes_overconfident_logits_honest() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(size=(4000, 3)).astype(np.float32)
    truth = (logits + random.gumbel(size=logits.shape)).argmax(axis=1)
    assert fit_temperature(7 * logits, truth) == pytest.approx(7, rel=0.1)
    chances = np.exp(log_softmax(7 * logits / fit_temperature(7 * logits, truth), axis=1)).max(axis=1)
    assert chances.mean() == pytest.approx((logits.argmax(axis=1) == truth).mean(), abs=0.02)


def test_two_types_are_enough_and_a_type_that_a_fold_lacks_is_not_given() -> None:
    features, types, groups = draw_clouds(6, 1.0)
    pair = [n for n, name in enumerate(types) if name != NORMAL]
    two = hold_out(features[pair], [types[n] for n in pair], [groups[n] for n in pair], 0)
    assert two.types == ("crack", "knot")
    alone = ["lonely" if name == NORMAL else groups[n] for n, name in enumerate(types)]
    assert NORMAL not in hold_out(features, types, alone, 0).named[-6:]


def test_a_head_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    head = fit()
    head.save(tmp_path / "head.safetensors")
    features, _, _ = draw_clouds(8, 1.0, seed=3)
    assert [n.type for n in load_head(tmp_path / "head.safetensors").name(features)] == [
        n.type for n in head.name(features)
    ]
    (tmp_path / "head.safetensors").write_bytes(b"no head")
    with pytest.raises(ModelError, match="holds no head"):
        load_head(tmp_path / "head.safetensors")


def test_without_normal_examples_nothing_is_dropped() -> None:
    features, types, groups = draw_clouds(8, 1.0)
    others = ["stain" if name == NORMAL else name for name in types]
    held_out: HeldOutLogits = hold_out(features, others, groups, 0)
    assert fit_head(features, others, held_out).limits.drop_above == 1.0
