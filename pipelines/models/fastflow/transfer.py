"""FastFlow from what another surface taught: its flow as it is, on other channel statistics, or trained further.

Our flow has no norm that is bound to places, so that it stands on tiles of any size.
"""

from collections.abc import Mapping

import torch

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.tiling import TileSet
from pipelines.models.fastflow.model import TileFastflowModel, make_model
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fastflow.training import cache_features, standardise, train_model
from pipelines.models.fitted import Fitted
from pipelines.models.moments import ChannelMoments

State = Mapping[str, torch.Tensor]


def reuse(tiles: TileSet, validation: TileSet, settings: FastflowSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Make the source's network again from its state, for the plan of `tiles`, its own or another.

    Neither `validation` nor `seed` has an effect: weights and permutations are the source's. See `Algorithm.transfer`.
    """
    model = _start(tiles.plan, settings, seed, state).cpu().eval()
    return Fitted(model, state=model.state())


def statistics(tiles: TileSet, validation: TileSet, settings: FastflowSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Keep the source's flow and bring the channels of the target's tiles to mean 0 and variance 1.

    At least one tile is needed; neither `validation` nor `seed` has an effect. See `Algorithm.transfer`.
    """
    model = _start(tiles.plan, settings, seed, state)
    moments = [ChannelMoments(channels) for channels in model.feature_extractor.channels]
    with cache_features(model, tiles, moments):
        standardise(model, moments)
    model.cpu().eval()
    return Fitted(model, state=model.state())


def finetune(tiles: TileSet, validation: TileSet, settings: FastflowSettings, seed: int, state: State) -> Fitted:
    """Train the source's flow further on the target's tiles, until those of `validation` get no higher log-likelihood.

    A ModelError is raised as well where there is no tile, or no step gives a finite loss. See `Algorithm.transfer`.
    """
    return train_model(_start(tiles.plan, settings, seed, state), tiles, validation, settings, seed, warm=True)


def _start(plan: TilePlan, settings: FastflowSettings, seed: int, state: State) -> TileFastflowModel:
    model = make_model(settings, seed, plan)
    wanted = model.state()
    wrong = wanted.keys() ^ state.keys() or {n for n, value in wanted.items() if value.shape != state[n].shape}
    if wrong:
        raise ModelError(
            f"the source's state does not fit to these settings of FastFlow: {len(wrong)} tensors, e.g. {min(wrong)}",
            hint=(
                "leave FastFlow's backbone, layers, auxiliary, flow_steps, hidden_ratio, conv3x3_only and border "
                "as in the source"
            ),
        )
    model.load_state_dict(dict(state), strict=False)
    return model
