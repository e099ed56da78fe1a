"""AnomalyDINO for images that nobody labelled: a bank without what is far from all other images."""

import numpy as np
import torch
from numpy.typing import NDArray

from pipelines.core.errors import ModelError
from pipelines.core.progress import track
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.bank import Bank
from pipelines.models.anomalydino.fit import embedder, finish
from pipelines.models.anomalydino.model import Tokens
from pipelines.models.anomalydino.settings import BLOCK, AnomalydinoSettings
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted
from pipelines.models.settings import UnlabelledSettings

_MOST_TOKENS = 20_000  # of a scale, compared each with all others: 15 s on two cores


def fit_unlabelled_bank(
    tiles: TileSet, settings: AnomalydinoSettings, unlabelled: UnlabelledSettings, seed: int
) -> Fitted:
    """Fill a bank a scale with tokens of tiles of which some show defects.

    Of each image, the share `contamination` of tokens is left out that is farthest from the tokens of the other images:
    what many images show is normal, as in mutual scoring (Li et al. 2024, MuSc).

    Args:
        tiles: Tiles that nobody labelled.
        settings: Which tokens, and how many are kept.
        unlabelled: The share that is left out.
        seed: Draws the tokens that are compared.

    Returns:
        As `fit_bank` does.

    Raises:
        ModelError: If there is no tile, or the settings do not fit the backbone.
    """
    if not len(tiles):
        raise ModelError("no tile to fill a bank with", hint="add images to the surface")
    tokens = Tokens(settings)
    samples, owners = _sample(tokens, tiles, seed)
    banks = []
    for sample in samples:
        kept = keep_common(sample, owners, unlabelled.contamination)
        bank = Bank(settings.bank, tokens.channels)
        for block in sample[kept].split(BLOCK):
            bank.add(block)
        banks.append(bank)
    share = f"{100 * unlabelled.contamination:g} % of each image's tokens left out, the farthest from other images"
    return finish(tokens, banks, settings, {"unlabelled": share})


def keep_common(tokens: torch.Tensor, owners: NDArray[np.intp], share: float) -> torch.Tensor:
    """List the tokens that are left when of each image the farthest from all other images are taken away.

    Args:
        tokens: Unit vectors (n, c).
        owners: Each token's image. Where there is one image alone, nothing is taken away.
        share: Of each image's tokens, 0 to 1.

    Returns:
        Numbers of tokens, in order.
    """
    images = np.unique(owners)
    if len(images) < 2:
        return torch.arange(len(tokens))
    kept = []
    for image in images:
        own, others = np.flatnonzero(owners == image), tokens[owners != image]
        nearest = torch.cat([(block @ others.T).amax(1) for block in tokens[own].split(BLOCK)])
        count = max(1, round((1 - share) * len(own)))
        kept.append(own[np.argsort(-nearest.numpy(), kind="stable")[:count]])
    return torch.from_numpy(np.sort(np.concatenate(kept)))


@torch.no_grad()
def _sample(tokens: Tokens, tiles: TileSet, seed: int) -> tuple[list[torch.Tensor], NDArray[np.intp]]:
    """Draw tokens of every tile, the same places at every scale: unit vectors (n, c) a scale, and each one's image."""
    random, embed = np.random.default_rng(seed), embedder(tokens, tiles)
    most = max(1, _MOST_TOKENS // len(tiles))
    kept: list[list[torch.Tensor]] = [[] for _ in tokens.scales]
    counts = []
    for number in track(range(len(tiles)), len(tiles), "anomalydino"):
        places = random.random(most)
        found = [cells[0].flatten(1).T for cells in embed(as_tensor(tiles[number]))]
        fewest = min(most, *(len(cells) for cells in found))
        for own, cells in zip(kept, found, strict=True):
            drawn = np.unique((places[:fewest] * len(cells)).astype(int))
            own.append(cells[np.resize(drawn, fewest)])
        counts.append(fewest)
    owners = np.repeat(np.asarray(tiles.owners, np.intp), counts)
    return [torch.cat(own) for own in kept], owners
