"""A bank against brute force: what it keeps, how far what it leaves out is from it, and that it can be extended."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pipelines.core.errors import ModelError
from pipelines.models.anomalydino.bank import Bank
from pipelines.models.anomalydino.unlabelled import keep_common


def draw(count: int, seed: int, channels: int = 8) -> torch.Tensor:
    """Unit vectors of which nine in ten crowd around one direction."""
    generator = torch.Generator().manual_seed(seed)
    spread = torch.where(torch.rand(count, 1, generator=generator) < 0.9, 0.05, 1.0)
    return F.normalize(torch.eye(channels)[0] + spread * torch.randn(count, channels, generator=generator), dim=1)


def nearest(tokens: torch.Tensor, bank: torch.Tensor) -> torch.Tensor:
    return (1 - tokens.half().float() @ bank.T).amin(1)


def fill(limit: int, *parts: torch.Tensor) -> Bank:
    bank = Bank(limit, parts[0].shape[1])
    for part in parts:
        bank.add(part)
    return bank


def test_no_two_kept_are_close_and_all_that_was_seen_is_near_one() -> None:
    parts = [draw(1500, seed) for seed in range(4)]
    bank, seen = fill(300, *parts), torch.cat(parts)
    assert 150 < len(bank.tokens) <= 300
    assert bank.seen == len(seen)
    apart = 1 - bank.tokens @ bank.tokens.T
    assert apart[~torch.eye(len(bank.tokens), dtype=torch.bool)].min() > bank.radius > 0
    drawn = seen[torch.randperm(len(seen), generator=torch.Generator().manual_seed(0))[: len(bank.tokens)]]
    # The farthest of what is left out is what a random sample of that size misses.
    assert nearest(seen, bank.tokens).max() < 0.5 * nearest(seen, drawn).max()


def test_few_tokens_are_all_kept() -> None:
    tokens = draw(50, 3)
    assert torch.equal(fill(100, tokens).tokens, tokens.half().float())


def test_a_bank_extended_is_the_bank_of_all_at_once() -> None:
    parts = [draw(700, seed) for seed in range(3)]
    begun = fill(200, *parts[:2])
    extended = Bank.of({name: tensor.clone() for name, tensor in begun.state("x").items()}, "x", 200)
    extended.add(parts[2])
    at_once = fill(200, *parts)
    assert torch.equal(extended.tokens, at_once.tokens)
    assert (extended.radius, extended.seen) == (at_once.radius, at_once.seen)
    with pytest.raises(ModelError, match=r"y\.tokens"):
        Bank.of(begun.state("x"), "y", 200)


@pytest.mark.parametrize("tokens", [torch.ones(500, 4) / 2, torch.eye(4)[:1]], ids=["equal", "one"])
def test_equal_tokens_come_down_to_few(tokens: torch.Tensor) -> None:
    assert 1 <= len(fill(10, tokens).tokens) <= 10


def test_what_one_image_alone_shows_is_left_out() -> None:
    tokens, owners = torch.cat([draw(100, seed) for seed in range(4)]), np.repeat(np.arange(4), 100)
    tokens[230:240] = F.normalize(-torch.eye(8)[0] + 0.01 * draw(10, 9), dim=1)
    kept = set(keep_common(tokens, owners, 0.1).tolist())
    # Brute force: of each image the ninety whose best match in another image is the best.
    for image in range(4):
        own = [n for n in range(400) if owners[n] == image]
        best = {n: max(float(tokens[n] @ tokens[m]) for m in range(400) if owners[m] != image) for n in own}
        assert kept & set(own) == set(sorted(own, key=lambda n: -best[n])[:90])
    assert not kept & set(range(230, 240))
    assert len(keep_common(tokens, np.zeros(400, int), 0.1)) == 400, "one image has no others"
