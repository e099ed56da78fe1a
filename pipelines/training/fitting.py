"""Fitting any algorithm: from normal tiles, from tiles without labels, or from what another surface taught."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from pipelines.core.records import Strategy
from pipelines.imaging.tiling import TileSet
from pipelines.models.colour import add_colour, restore_colour, without_colour
from pipelines.models.fitted import Fitted
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import SteppedSettings
from pipelines.training.run_settings import RunSettings


def fit(algorithm: str, tiles: TileSet, validation: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to normal tiles, and colour beside it.

    Args:
        algorithm: Name of a known algorithm.
        tiles: Training tiles, all normal, uint8 RGB; at least one.
        validation: Other normal tiles, which say when to stop; may be empty for an algorithm without steps.
        settings: The run's; the algorithm's own section, the seed and `colour` are used.

    Returns:
        The network on the CPU, in eval mode, whose maps are raw.
    """
    fitted = find_algorithm(algorithm).fit(tiles, validation, settings.of(algorithm), settings.seed)
    return add_colour(fitted, tiles, validation, settings.colour)


def fit_unlabelled(algorithm: str, tiles: TileSet, validation: TileSet, settings: RunSettings) -> Fitted:
    """Fit one algorithm to tiles of which some show defects: in its own way, or without the most unusual ones.

    Colour is seen where images are shown whole: in a grid, domains have no common one, and what is left
    may be all stain.

    Args:
        algorithm: Name of a known algorithm.
        tiles: Training tiles without labels, uint8 RGB; at least one.
        validation: Other tiles without labels, which say when to stop; the most unusual are left out here too.
        settings: The run's; `unlabelled` says which share is taken to show defects.

    Returns:
        The network on the CPU, in eval mode, whose maps are raw; where tiles were left out, its notes say how many.
    """
    chosen, own, seed = find_algorithm(algorithm), settings.of(algorithm), settings.seed
    fitted = chosen.fit_unlabelled(tiles, validation, own, settings.unlabelled, seed)
    if fitted is not None:
        return fitted
    normal, held = (
        found.subset(chosen.keep_normal(found, own, settings.unlabelled, seed)) for found in (tiles, validation)
    )
    fitted = chosen.fit(normal, held, own, seed)
    if tiles.plan.mode == "fit":
        fitted = add_colour(fitted, normal, held, settings.colour)
    words = f"{len(tiles) - len(normal)} of {len(tiles)} tiles left out as the most unusual of their kind"
    return replace(fitted, notes={**fitted.notes, "unlabelled": words})


def adapt(
    algorithm: str,
    strategy: Strategy,
    tiles: TileSet,
    validation: TileSet,
    settings: RunSettings,
    state: Mapping[str, Any],
) -> Fitted:
    """Bring the state of a fitted version to tiles of another surface.

    Colour is that of these tiles, but for `reuse`, which sees it as the source does, where there is any.

    Args:
        algorithm: Name of the algorithm that fitted the version.
        strategy: How; `scratch` fits anew and does not look at `state`.
        tiles: Training tiles of the other surface, uint8 RGB, all taken to be normal.
        validation: Other tiles of that surface, which say when to stop.
        settings: The run's; `finetune` takes steps at `adapt.finetune_rate` times the algorithm's learning rate.
        state: Tensors by name, as `Fitted.state` holds them; not changed.

    Returns:
        The network on the CPU, in eval mode, whose maps are raw.

    Raises:
        ModelError: If the algorithm knows no such strategy, or the state does not fit to the settings.
    """
    if strategy == Strategy.SCRATCH:
        return fit(algorithm, tiles, validation, settings)
    own = settings.of(algorithm)
    if isinstance(own, SteppedSettings) and strategy == Strategy.FINETUNE:
        own = own.model_copy(update={"learning_rate": own.learning_rate * settings.adapt.finetune_rate})
    fitted = find_algorithm(algorithm).transfer(strategy, tiles, validation, own, settings.seed, without_colour(state))
    if strategy == Strategy.REUSE:
        return restore_colour(fitted, tiles, state)
    return add_colour(fitted, tiles, validation, settings.colour)
