"""PaDiM from what another surface taught: its Gaussians as they are, or as a prior."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.fitted import Fitted, average_tiles
from pipelines.models.moments import Moments
from pipelines.models.padim.gaussian import estimate, log_density, whiten
from pipelines.models.padim.model import TilePadimModel, choose_gaussian, embed, gather
from pipelines.models.padim.nearest import fit_nearest
from pipelines.models.padim.settings import PadimSettings

State = Mapping[str, torch.Tensor]
# How many images the source may count as.
_WEIGHTS = (1.0, 8.0, 64.0)
# Without held-out images: the source's spread around the target's own means. A few images tell where features lie,
# and nothing of how they vary.
_BY_RULE = 8.0
_MOST_HELD_OUT = 16


class _Prior(NamedTuple):
    """A source as a prior: how many images it counts as, and whether its means count too or its covariance alone."""

    images: float
    with_means: bool

    def in_words(self) -> str:
        what = "means and covariances" if self.with_means else "covariances, around this surface's own means,"
        return f"the source's {what} count as {self.images:g} images" if self.images else "the source does not count"


def reuse(tiles: TileSet, validation: TileSet, settings: PadimSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Make the source's network again from its state, for the plan of `tiles`, its own or another.

    Where the two grids differ, one Gaussian of all the source's positions stands for each. Neither `validation` nor
    `seed` has an effect: the channels are the source's. See `Algorithm.transfer`.
    """
    settings = choose_gaussian(settings, tiles.plan)
    model, moments = _start(settings, seed, state)
    if moments.positions == 1:
        settings = settings.model_copy(update={"gaussian": "shared"})
    rows, columns = model.grid(tiles.plan)
    pooled = settings.gaussian != "shared" and (moments.height, moments.width) != (rows, columns)
    model.take(moments.on_grid(rows, columns) if settings.gaussian != "shared" else moments, settings)
    return Fitted(model, state=model.state(), notes={"gaussian": settings.gaussian, **_grid_note(pooled)})


def statistics(tiles: TileSet, validation: TileSet, settings: PadimSettings, seed: int, state: State) -> Fitted:
    """Update the source's means and covariances by the target's tiles: the source is a prior.

    Source and target are merged as moments, the source counted as some images: the posterior mean under a
    normal-inverse-Wishart prior (Gelman et al., Bayesian Data Analysis, section 3.6). How many, and whether its means
    count or its covariances alone, is what gives up to 16 tiles of `validation` the highest likelihood; without such
    tiles a rule decides. Where the two grids differ, the source is one Gaussian for all positions. A ModelError is
    raised as well where there is no tile. See `Algorithm.transfer`.
    """
    settings = choose_gaussian(settings, tiles.plan)
    model, source = _start(settings, seed, state)
    gather(model, tiles)
    target = model.moments
    if target is None:
        raise ModelError("no tile to adapt PaDiM to", hint="add normal images to the surface")
    if settings.gaussian == "shared":
        target, source = target.pooled(), source.pooled()
    pooled = (source.height, source.width) != (target.height, target.width)
    if pooled:
        source = source.pooled()
    samples = target.images / len(tiles)
    held_out = validation.subset(validation.subsample(_MOST_HELD_OUT))
    chosen, gains = _choose_prior(embed(model, held_out), target, source, settings, samples)
    likelihood_gains = average_tiles(gains, held_out.owners)
    model.take(_merge(target, source, chosen, samples), settings)
    said = chosen.in_words() + (
        f", as {len(validation)} held-out tiles are likeliest so" if len(validation) else ", by rule"
    )
    notes = {"gaussian": settings.gaussian, "prior": said, **_grid_note(pooled)}
    return Fitted(model, state=model.state(), notes=notes, likelihood_gains=likelihood_gains)


def _start(settings: PadimSettings, seed: int, state: State) -> tuple[TilePadimModel, Moments]:
    """Make an empty model with the source's channels, and its moments."""
    moments = Moments.from_tensors(state)
    channels = state.get("channels")
    model = TilePadimModel(settings, seed)
    wanted = len(model.idx)
    if channels is None or channels.shape != (moments.channels,):
        raise ModelError(
            f"the source has statistics of {moments.channels} channels and does not say of which",
            hint="retrain the source",
        )
    if len(channels) != wanted or int(channels.max()) >= model.channels:
        raise ModelError(
            f"the source has statistics of {len(channels)} channels up to number {int(channels.max())}, these settings "
            f"ask for {wanted} of {model.channels}",
            hint="leave padim.features, padim.layers and padim.backbone as the source was trained with",
        )
    model.idx = channels
    return model, moments


def _grid_note(pooled: bool) -> dict[str, str]:
    return {"grid": "the source has another grid: one Gaussian of all its positions stands for each"} if pooled else {}


def _choose_prior(
    held_out: Sequence[torch.Tensor], target: Moments, source: Moments, settings: PadimSettings, samples: float
) -> tuple[_Prior, tuple[float, ...]]:
    """Choose the prior that gives held-out features (c, hw) the highest likelihood; a rule's without any.

    Also return how much higher in log-likelihood each of them is than without the source.
    """
    if not held_out:
        return _Prior(_BY_RULE, with_means=False), ()

    def likelihoods(prior: _Prior) -> list[float]:
        mean, covariance = estimate(_merge(target, source, prior, samples), settings)
        whitening = whiten(covariance).float()
        return [log_density(features, mean.float(), whitening) for features in held_out]

    none = _Prior(0, with_means=False)
    options = [none, *(_Prior(images, means) for images in _WEIGHTS for means in (False, True))]
    found = {option: likelihoods(option) for option in options}
    chosen = max(options, key=lambda option: sum(found[option]))
    return chosen, tuple(own - without for own, without in zip(found[chosen], found[none], strict=True))


def _merge(target: Moments, source: Moments, prior: _Prior, samples: float) -> Moments:
    """Merge both; `samples` is how many an image gives a Gaussian, more than one where positions share it."""
    if not prior.images:
        return target
    counted = source.counted_as(prior.images * samples).on_grid(target.height, target.width)
    merged = target.copy()
    merged.merge(counted if prior.with_means else counted.centred_on(target.mean))
    return merged


def nearest(tiles: TileSet, validation: TileSet, settings: PadimSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Compare with the features of the target's tiles, whatever the source was. Never chosen.

    Neither `validation` nor `state` is read; a ModelError is raised where there is no tile. See `Algorithm.transfer`.
    """
    return fit_nearest(tiles, settings, seed)
