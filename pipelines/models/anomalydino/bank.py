"""A bank of bounded size: tokens of normal images that lie everywhere where normal images have any."""

from collections.abc import Mapping

import torch

from pipelines.core.errors import ModelError
from pipelines.models.anomalydino.settings import BLOCK

_SAMPLE = 1000
_FIRST, _GROWTH = 0.2, 1.1


class Bank:
    """Unit-length tokens, no two of them closer to each other than a radius.

    The radius grows whenever more than `limit` are held: the doubling algorithm for k-centre clustering in one pass
    (Charikar et al. 1997, "Incremental clustering and dynamic information retrieval"), with steps of a tenth instead of
    doublings. No token is farther from a kept one than a few radii, and what is rare is kept as well as what is
    frequent, whereas a random sample of that size holds what is frequent many times. Nothing but the bank is needed to
    go on: a bank that is extended is the bank of all images at once, in that order.

    Tokens are rounded to float16, as a version stores them, before they are compared.
    """

    def __init__(self, limit: int, channels: int) -> None:
        """Begin an empty bank.

        Args:
            limit: Tokens that it holds at most, 1 or more.
            channels: Length of a token.
        """
        self.limit, self.radius, self.seen = limit, 0.0, 0
        self.tokens = torch.zeros(0, channels)

    @staticmethod
    def of(state: Mapping[str, torch.Tensor], prefix: str, limit: int) -> "Bank":
        """Go on with the bank of a version.

        Args:
            state: As `Fitted.state` holds it.
            prefix: Which of its banks.
            limit: Tokens that it is to hold at most; where it held more, they become fewer with the next image.

        Returns:
            The bank; changing it leaves `state` as it is.

        Raises:
            ModelError: If the state holds no such bank.
        """
        try:
            tokens, radius, seen = (state[f"{prefix}.{name}"] for name in ("tokens", "radius", "seen"))
        except KeyError as error:
            raise ModelError(
                f"the source's state holds no {error}", hint="adapt from a version of anomalydino"
            ) from error
        bank = Bank(limit, tokens.shape[1])
        bank.tokens, bank.radius, bank.seen = tokens.float(), float(radius), int(seen)
        return bank

    def state(self, prefix: str) -> dict[str, torch.Tensor]:
        """Return what `of` goes on from, by names that begin with `prefix`."""
        return {
            f"{prefix}.tokens": self.tokens.half(),
            f"{prefix}.radius": torch.tensor(self.radius, dtype=torch.float64),
            f"{prefix}.seen": torch.tensor(self.seen),
        }

    def add(self, tokens: torch.Tensor) -> None:
        """Take those tokens (n, channels) of unit length that are farther than the radius from all that are kept."""
        self.seen += len(tokens)
        self.tokens = torch.cat([self.tokens, _spread(tokens.half().float(), self.tokens, self.radius)])
        while len(self.tokens) > self.limit:
            self.radius = self.radius * _GROWTH or self._first_radius()
            self.tokens = _spread(self.tokens, self.tokens[:0], self.radius)

    def _first_radius(self) -> float:
        sample = self.tokens[:_SAMPLE]
        nearest = (1 - sample @ self.tokens.T).topk(min(2, len(self.tokens)), dim=1, largest=False).values[:, -1]
        return max(1e-4, float(nearest.quantile(_FIRST)))


def _spread(tokens: torch.Tensor, kept: torch.Tensor, radius: float) -> torch.Tensor:
    """Return the tokens, in order, that are farther than `radius` from those kept and from those returned before."""
    found: list[torch.Tensor] = []
    for block in tokens.split(BLOCK):
        for others in (kept, *found):
            if len(others) and len(block):
                block = block[(1 - block @ others.T).amin(1) > radius]  # noqa: PLW2901 - what is left of it
        apart = 1 - block @ block.T > radius
        alive = torch.ones(len(block), dtype=torch.bool)
        for number in range(len(block)):
            if alive[number]:
                alive[number + 1 :] &= apart[number, number + 1 :]
        found.append(block[alive])
    return torch.cat(found) if found else tokens[:0]
