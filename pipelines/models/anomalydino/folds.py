"""Banks that each lack some of the images: what an image that fills a bank would have come to as a new one."""

from collections.abc import Mapping, Sequence

import torch

from pipelines.core.progress import track
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.bank import Bank
from pipelines.models.anomalydino.fit import embedder, empty_banks, finish, state_of, take_banks, turn
from pipelines.models.anomalydino.model import Tokens
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted

State = Mapping[str, torch.Tensor]


def fit_folds(
    tiles: TileSet, folds: Sequence[int], settings: AnomalydinoSettings, state: State | None = None
) -> list[dict[str, torch.Tensor]]:
    """Fill the banks of every fold with the tokens of all tiles but that fold's own, in one pass.

    Args:
        tiles: Of normal images, sides multiples of 16 px; at least one.
        folds: The fold of each tile, from 0 on without a gap.
        settings: As in `fit_bank`.
        state: Banks of a version to go on from; None begins with empty ones.

    Returns:
        The state of each fold, as `Fitted.state` has it.

    Raises:
        ModelError: If the state is none of this algorithm's or of other features.
    """
    tokens = Tokens(settings)

    def begin() -> list[Bank]:
        return take_banks(tokens, settings, state) if state else empty_banks(tokens, settings)

    every = [begin() for _ in range(max(folds) + 1)]
    embed = embedder(tokens, tiles)
    for number in track(range(len(tiles)), len(tiles), "anomalydino, each without itself"):
        for turned in turn(as_tensor(tiles[number]), settings.orientation == "free"):
            found = [scale[0].flatten(1).T for scale in embed(turned)]
            for fold, banks in enumerate(every):
                if fold != folds[number]:
                    for bank, points in zip(banks, found, strict=True):
                        bank.add(points)
    return [state_of(banks) for banks in every]


def open_folds(settings: AnomalydinoSettings, states: Sequence[State]) -> list[Fitted]:
    """Make the networks of `fit_folds`; what gives tokens is there once.

    Args:
        settings: Those that the states were made with.
        states: From `fit_folds`.

    Returns:
        A network a state, in eval mode.

    Raises:
        ModelError: If a state is none of this algorithm's or of other features.
    """
    tokens = Tokens(settings)
    return [finish(tokens, take_banks(tokens, settings, state), settings) for state in states]
