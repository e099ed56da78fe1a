"""Fitting AnomalyDINO: one pass over normal tiles, whose tokens fill the banks."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

import torch

from pipelines.core.errors import ModelError
from pipelines.core.progress import track
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.bank import Bank
from pipelines.models.anomalydino.model import TokenBankModel, Tokens
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted
from pipelines.models.openvino.compiled import compile_frozen

State = Mapping[str, torch.Tensor]
Embed = Callable[[torch.Tensor], list[torch.Tensor]]


def fit_bank(tiles: TileSet, settings: AnomalydinoSettings) -> Fitted:
    """Fill a bank a scale with the tokens of normal tiles.

    Nothing is drawn: the same tiles in the same order give the same model.

    Args:
        tiles: Of normal images, sides multiples of 16 px.
        settings: Which tokens, how many are kept, and whether tiles are turned as well.

    Returns:
        A network whose map is the cosine distance to the nearest tokens, 0 to 2; its state is the banks.

    Raises:
        ModelError: If there is no tile, or the settings do not fit the backbone.
    """
    tokens = Tokens(settings)
    return finish(tokens, _fill(empty_banks(tokens, settings), tokens, tiles, settings), settings)


def extend_bank(tiles: TileSet, settings: AnomalydinoSettings, state: State) -> Fitted:
    """Go on with the banks of a version: the same as if its images and these had been added at once.

    Args:
        tiles: Of normal images that the version has not seen.
        settings: Those that the state was made with, `bank`, `neighbours` and `orientation` excepted.
        state: As `Fitted.state` holds it.

    Returns:
        As `fit_bank` does.

    Raises:
        ModelError: If there is no tile, or the state is none of this algorithm's or of other features.
    """
    tokens = Tokens(settings)
    return finish(tokens, _fill(take_banks(tokens, settings, state), tokens, tiles, settings), settings)


def reuse_bank(settings: AnomalydinoSettings, state: State) -> Fitted:
    """Make a version's network again from its banks, as they are.

    Args:
        settings: Those that the state was made with.
        state: As `Fitted.state` holds it.

    Returns:
        As `fit_bank` does.

    Raises:
        ModelError: If the state is none of this algorithm's or of other features.
    """
    tokens = Tokens(settings)
    return finish(tokens, take_banks(tokens, settings, state), settings)


def empty_banks(tokens: Tokens, settings: AnomalydinoSettings) -> list[Bank]:
    """Begin a bank a scale.

    Args:
        tokens: What they will hold.
        settings: Which scales, and how many tokens a bank holds at most.

    Returns:
        Empty banks, in the order of the scales.
    """
    return [Bank(settings.bank, tokens.channels) for _ in settings.scales]


def take_banks(tokens: Tokens, settings: AnomalydinoSettings, state: State) -> list[Bank]:
    """Go on with the banks of a version.

    Args:
        tokens: What they hold.
        settings: Which scales, and how many tokens a bank is to hold at most.
        state: As `state_of` returns it; not changed.

    Returns:
        The banks, in the order of the scales.

    Raises:
        ModelError: If the state is none of this algorithm's or of other features.
    """
    banks = [Bank.of(state, f"bank_{number}", settings.bank) for number in range(len(settings.scales))]
    if any(bank.tokens.shape[1] != tokens.channels for bank in banks):
        raise ModelError(
            f"the source's tokens have {banks[0].tokens.shape[1]} channels, those of the settings {tokens.channels}",
            hint="leave anomalydino's backbone and layers as in the source",
        )
    return banks


def _fill(banks: list[Bank], tokens: Tokens, tiles: TileSet, settings: AnomalydinoSettings) -> list[Bank]:
    if not len(tiles):
        raise ModelError("no tile to fill a bank with", hint="add normal images to the surface")
    embed = embedder(tokens, tiles)
    for number in track(range(len(tiles)), len(tiles), "anomalydino"):
        for turned in turn(as_tensor(tiles[number]), settings.orientation == "free"):
            for bank, found in zip(banks, embed(turned), strict=True):
                bank.add(found[0].flatten(1).T)
    return banks


def embedder(tokens: Tokens, tiles: TileSet) -> Embed:
    """Return what gives the tokens of a tile: compiled where that pays, in 16 bits where the processor has them.

    Args:
        tokens: Frozen.
        tiles: How many there are, and of which size; not read.

    Returns:
        A function of tiles (1, 3, h, w) in [0, 1] that returns unit vectors (1, c, rows, columns), one map a scale.
    """
    compiled = compile_frozen(tokens, tiles, precision=Precision.BF16)

    def embed(picture: torch.Tensor) -> list[torch.Tensor]:
        # A tile that was turned by a quarter is of another size than the network was compiled for, unless it is square.
        fits = picture.shape[-2:] == (tiles.plan.tile_height, tiles.plan.tile_width)
        with torch.no_grad():
            return compiled(picture) if compiled and fits else list(tokens(picture))

    return embed


def turn(picture: torch.Tensor, free: bool) -> Iterator[torch.Tensor]:
    """Yield a tile, and where its orientation is free also its turns by a quarter, a half and three quarters.

    Args:
        picture: Tile (1, 3, h, w).
        free: Whether the surface has no upper side.

    Yields:
        Tiles (1, 3, h, w) or (1, 3, w, h).
    """
    for quarters in range(4 if free else 1):
        yield torch.rot90(picture, quarters, (2, 3))


def finish(
    tokens: Tokens,
    banks: Sequence[Bank],
    settings: AnomalydinoSettings,
    notes: Mapping[str, str] = MappingProxyType({}),
) -> Fitted:
    """Make what a fit gives of full banks.

    Args:
        tokens: Frozen, of the same settings.
        banks: One a scale, none of them empty.
        settings: Say how many neighbours count.
        notes: For the model card, beside what the banks hold.

    Returns:
        The network in eval mode, and the banks as its state.
    """
    model = TokenBankModel(tokens, [bank.tokens for bank in banks], settings.neighbours)
    return Fitted(model.eval(), state_of(banks), {"bank": "; ".join(map(_in_words, banks)), **notes})


def state_of(banks: Sequence[Bank]) -> dict[str, torch.Tensor]:
    """Return what a later fit goes on from, as `take_banks` reads it."""
    return {name: tensor for n, bank in enumerate(banks) for name, tensor in bank.state(f"bank_{n}").items()}


def _in_words(bank: Bank) -> str:
    return f"{len(bank.tokens):,} of {bank.seen:,} tokens, no two closer than {bank.radius:.3g}"
