"""FastFlow on tiles: anomalib's flow blocks, loss and training loop on features that are computed once."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalib_api import Fastflow, FastflowLoss, FastflowModel, InferenceBatch, create_fast_flow_block
from pipelines.models.backbone import Features, JointFeatures, make_features
from pipelines.models.compiled import CompiledNetwork, compile_frozen
from pipelines.models.fitted import Fitted, average_tiles
from pipelines.models.frozen import FrozenOutputs, keep_outputs
from pipelines.models.moments import ChannelMoments
from pipelines.models.processor import has_bf16, training_device
from pipelines.models.stepping import train_in_steps
from pipelines.models.views import as_tensor
from pipelines.records import TilePlan
from pipelines.run_settings import FastflowSettings

# Added to a channel's variance, as a share of the mean variance: a channel that is silent on sound tiles must not turn
# rounding into alarms.
_VARIANCE_FLOOR = 0.01


def fit_fastflow(tiles: TileSet, select: TileSet, settings: FastflowSettings, seed: int) -> Fitted:
    """Fit FastFlow (Yu et al. 2021) to sound tiles; `select` holds others, whose likelihood says when to stop.

    The map is half the mean square of the latent variables, averaged over layers: about 0.5 where a tile is as
    expected. The same seed gives the same model.

    Raises:
        ModelError: where there is no tile, the settings do not fit the backbone, or no step gives a finite loss.
    """
    return train_model(make_model(settings, seed, tiles.plan), tiles, select, settings, seed)


def make_model(settings: FastflowSettings, seed: int, plan: TilePlan) -> "TileFastflowModel":
    """Make a flow that has learnt nothing; raise ModelError where the settings do not fit the backbone."""
    # anomalib's blocks draw weights and permutations from torch's global generator.
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        features: Features = make_features(settings.backbone, settings.layers)
        if settings.beside:
            features = JointFeatures(features, make_features(settings.beside.backbone, settings.beside.layers))
        return TileFastflowModel(features, settings, plan.tile_height, plan.tile_width)


def train_model(
    model: "TileFastflowModel",
    tiles: TileSet,
    select: TileSet,
    settings: FastflowSettings,
    seed: int,
    *,
    warm: bool = False,
) -> Fitted:
    """Standardise the channels by the tiles, and train a flow on them; a `warm` one has been trained before.

    Raises:
        ModelError: where there is no tile, or no step gives a finite loss.
    """
    if not len(tiles):
        raise ModelError("no tile to fit FastFlow to", cure="add normal photographs to the surface")
    moments = [ChannelMoments(channels) for channels in model.feature_extractor.channels]
    compiled = compile_frozen(model.feature_extractor, tiles, training_device())
    with (
        keep_features(model, tiles, moments, compiled) as train,
        keep_features(model, select if len(select) else tiles, compiled=compiled) as held,
    ):
        standardise(model, moments)
        module = FastflowTraining(model, train, settings.learning_rate)
        model.use_bf16(has_bf16())
        stopped = train_in_steps(
            module, len(train), settings, seed, lambda: module.look(held, settings.batch), warm=warm
        )
        model.use_bf16(False)
        densities = average_tiles(module.densities(held), select.owners) if len(select) else ()
    model.cpu().eval()
    notes = {"features": settings.in_words(), "stopped": stopped.in_words()}
    return Fitted(model, state=model.state(), notes=notes, densities=densities)


def standardise(model: "TileFastflowModel", moments: Sequence[ChannelMoments]) -> None:
    """Bring the channels of each layer to mean 0 and variance 1 over what the moments counted."""
    for layer, found in zip(model.standards, moments, strict=True):
        layer.set(found)


def keep_features(
    model: "TileFastflowModel",
    tiles: TileSet,
    moments: Sequence[ChannelMoments] = (),
    compiled: CompiledNetwork | None = None,
) -> FrozenOutputs:
    """Compute the features of all tiles once, and count them into the moments; `compiled` stands for the backbone."""
    device = training_device()
    model.to(device)

    def compute(index: int) -> list[torch.Tensor]:
        with torch.no_grad():
            features = [layer[0].cpu() for layer in model.features(as_tensor(tiles[index]).to(device), compiled)]
        for found, layer in zip(moments, features, strict=bool(moments)):
            found.update(layer)
        return features

    return keep_outputs(len(tiles), compute, "features")


class _Standard(nn.Module):
    """Bring every channel to mean 0 and variance 1 over the training tiles.

    It has nothing to train: a trainable norm, as anomalib has, raises the likelihood by shrinking the features.
    """

    mean: torch.Tensor
    scale: torch.Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("scale", torch.ones(1, channels, 1, 1))

    def set(self, moments: ChannelMoments) -> None:
        mean, variance = moments.estimate()
        floored = variance + _VARIANCE_FLOOR * variance.mean() + 1e-6
        self.mean.copy_(mean.view_as(self.mean))
        self.scale.copy_(floored.rsqrt().view_as(self.scale))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return (features - self.mean) * self.scale


class _Subnet(nn.Sequential):
    """A coupling's network, in bf16 while training where that is faster: what it is added to stays float32."""

    bf16 = False

    def forward(self, passive: torch.Tensor) -> torch.Tensor:
        with torch.autocast(passive.device.type, torch.bfloat16, enabled=self.bf16):
            found: torch.Tensor = super().forward(passive)
        return found.float()


class TileFastflowModel(FastflowModel):
    """anomalib's FastFlow on any backbone and layers, without the places near the tile's border.

    There convolutions see padding, and the likelihood tells of that: `settings.border` cells of the coarsest layer are
    cut off on every side (fewer where the tile has no more), and the map goes on there as it is beside them.
    """

    def __init__(self, features: Features, settings: FastflowSettings, tile_height: int, tile_width: int) -> None:
        # Not FastflowModel's own, which knows four backbones and one tile size.
        nn.Module.__init__(self)
        self.feature_extractor = features
        channels, strides = features.channels, features.strides
        coarsest = max(strides)
        cells = [min(settings.border, (side // coarsest - 1) // 2) for side in (tile_height, tile_width)]
        self._borders = [tuple(count * coarsest // stride for count in cells) for stride in strides]
        self.standards = nn.ModuleList(_Standard(count) for count in channels)
        self.fast_flow_blocks = nn.ModuleList(
            # Height and width are only counted by the blocks, not used.
            create_fast_flow_block([count, 1, 1], settings.conv3x3_only, settings.hidden_ratio, settings.flow_steps)
            for count in channels
        )
        for flow in self.fast_flow_blocks:
            for block in flow.module_list:
                block.subnet = _Subnet(*block.subnet)
                block.global_scale_activation = _global_scale
                block.permute_function = _permute

    def use_bf16(self, wanted: bool) -> None:
        """Compute the couplings' networks in bf16, or in float32."""
        for module in self.modules():
            if isinstance(module, _Subnet):
                module.bf16 = wanted

    def features(self, tiles: torch.Tensor, compiled: CompiledNetwork | None = None) -> list[torch.Tensor]:
        """Return the inner features of tiles (n, 3, h, w) in [0, 1], one (n, c, h', w') a layer."""
        layers = (compiled or self.feature_extractor)(tiles)
        return [_crop(layer, border) for layer, border in zip(layers, self._borders, strict=True)]

    def flow(self, features: Sequence[torch.Tensor]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
        """Return latent variables (n, c, h', w') and logarithms of the Jacobian's determinant (n,), one a layer."""
        found = list(self.flows(features))
        return [latent for latent, _ in found], [jacobian for _, jacobian in found]

    def flows(self, features: Sequence[torch.Tensor]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield what `flow` returns, layer by layer."""
        for flow, standard, layer in zip(self.fast_flow_blocks, self.standards, features, strict=True):
            # Sums over thousands of places do not fit into bf16's 8 bits.
            with torch.autocast(layer.device.type, enabled=False):
                found = flow(standard(layer.float()))
            yield found

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; in training, return latent variables and log-determinants."""
        latents, jacobians = self.flow(self.features(input_tensor))
        if self.training:
            return latents, jacobians
        size = input_tensor.shape[-2:]
        maps = [_enlarge(_energy(latent), border, size) for latent, border in zip(latents, self._borders, strict=True)]
        anomaly_map = torch.stack(maps).mean(0)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a later fit can go on from: flows and channel statistics, not the backbone."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("feature_extractor.")}


def _permute(channels: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """Permute channels as anomalib's convolution by a matrix of zeros and ones does, without its arithmetic."""
    return channels.index_select(1, matrix[:, :, 0, 0].argmax(1))


def _global_scale(parameter: torch.Tensor) -> torch.Tensor:
    """Compute anomalib's scale, 0.1 softplus with a beta of 0.5, of which OpenVINO 2026.4 would drop the beta."""
    return 0.2 * F.softplus(0.5 * parameter)


def _energy(latent: torch.Tensor) -> torch.Tensor:
    """Return -log N(z; 0, 1) a channel without its constant, (n, 1, h, w); anomalib's exp of it saturates."""
    return latent.square().mean(1, keepdim=True) / 2


def _crop(layer: torch.Tensor, border: tuple[int, ...]) -> torch.Tensor:
    rows, columns = border
    return layer[..., rows : layer.shape[-2] - rows, columns : layer.shape[-1] - columns]


def _enlarge(cells: torch.Tensor, border: tuple[int, ...], size: Any) -> torch.Tensor:
    """Give the border its neighbours' values and enlarge the whole to the tile."""
    rows, columns = border
    whole = F.pad(cells, (columns, columns, rows, rows), mode="replicate")
    return F.interpolate(whole, size=size, mode="bilinear", align_corners=False)


class FastflowTraining(Fastflow):
    """anomalib's training module around our model; a batch is a list of rows of features."""

    def __init__(self, model: TileFastflowModel, features: FrozenOutputs, learning_rate: float) -> None:
        super(Fastflow, self).__init__(pre_processor=False, post_processor=False, evaluator=False, visualizer=False)
        self.automatic_optimization = False
        self.model = model
        self.loss = FastflowLoss()
        self._features = features
        self._learning_rate = learning_rate

    def save_hyperparameters(self, *_: Any, **__: Any) -> None:
        """Keep none: Lightning would copy the arguments, and with them the file of features."""

    def training_step(self, batch: list[int], *_: Any, **__: Any) -> Any:
        """Take a step by some rows of the training features, and return their loss."""
        optimiser: Any = self.optimizers()
        optimiser.zero_grad()
        loss = self.take_gradients(batch)
        optimiser.step()
        return {"loss": loss}

    def take_gradients(self, rows: Sequence[int]) -> torch.Tensor:
        """Add the gradients of the rows' loss and return it: layer by layer, which have nothing in common but the sum.

        Memory then holds what the largest layer's flow computed, no longer that of all.
        """
        found = []
        for loss in self._losses(self._features, rows):
            loss.backward()
            found.append(loss.detach())
        return torch.stack(found).sum()

    def look(self, features: FrozenOutputs, batch: int) -> float:
        """Return the mean negative log-likelihood a dimension of kept features, without its constant."""
        rows = range(len(features))
        batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        return sum(self._likelihood(features, few) * len(few) for few in batches) / len(rows)

    def densities(self, features: FrozenOutputs) -> tuple[float, ...]:
        """Return each tile's log-likelihood a dimension, without its constant."""
        with torch.no_grad():
            return tuple(-self._likelihood(features, [row]) for row in range(len(features)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimiser at the rate of the settings, for what is trained."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, lr=self._learning_rate, weight_decay=1e-5)

    def _likelihood(self, features: FrozenOutputs, rows: Sequence[int]) -> float:
        return sum(float(loss) for loss in self._losses(features, rows))

    def _losses(self, features: FrozenOutputs, rows: Sequence[int]) -> Iterator[torch.Tensor]:
        """Yield each layer's share of the mean negative log-likelihood a dimension, without its constant."""
        layers = [layer.to(self.device) for layer in features.get(rows)]
        dimensions = sum(layer[0].numel() for layer in layers)
        for latent, jacobian in self.model.flows(layers):
            yield self.loss([latent], [jacobian]) / dimensions
