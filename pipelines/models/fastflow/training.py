"""FastFlow on tiles: anomalib's loss and training loop on features that are computed once."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import Fastflow, FastflowLoss
from pipelines.models.engine.augment import as_tensor
from pipelines.models.engine.device import has_bf16, training_device
from pipelines.models.engine.feature_cache import FeatureCache, cache_outputs
from pipelines.models.engine.steps import train_in_steps
from pipelines.models.fastflow.model import TileFastflowModel, make_model
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.fitted import Fitted, average_tiles
from pipelines.models.moments import ChannelMoments
from pipelines.models.openvino.compiled import CompiledNetwork, compile_frozen


def fit_fastflow(tiles: TileSet, validation: TileSet, settings: FastflowSettings, seed: int) -> Fitted:
    """Fit FastFlow (Yu et al. 2021) to normal tiles.

    Args:
        tiles: Normal tiles whose sides are multiples of 32 px; at least one.
        validation: Normal tiles of other images, whose likelihood says when to stop; if empty, that of `tiles` does.
        settings: Features, flow, and the budget of steps.
        seed: For weights and the order of tiles: the same seed gives the same model.

    Returns:
        A network whose map is half the mean square of the latent variables, averaged over layers: about 0.5 where a
        tile is as expected. `densities` are of the images of `validation`.

    Raises:
        ModelError: If there is no tile, the settings do not fit the backbone, or no step gives a finite loss.
    """
    return train_model(make_model(settings, seed, tiles.plan), tiles, validation, settings, seed)


def train_model(
    model: TileFastflowModel,
    tiles: TileSet,
    validation: TileSet,
    settings: FastflowSettings,
    seed: int,
    *,
    warm: bool = False,
) -> Fitted:
    """Standardise the channels by the tiles, and train a flow on them.

    Args:
        model: Trained in place.
        tiles: Normal tiles of the model's tile plan; at least one.
        validation: Normal tiles of other images, whose likelihood says when to stop; if empty, that of `tiles` does.
        settings: Those that the model was made with, and the budget of steps.
        seed: For the order of tiles.
        warm: Whether the flow has been trained before: it is then kept where no step is better.

    Returns:
        The same model on the CPU in eval mode; `densities` are of the images of `validation`.

    Raises:
        ModelError: If there is no tile, or no step gives a finite loss.
    """
    if not len(tiles):
        raise ModelError("no tile to fit FastFlow to", hint="add normal images to the surface")
    moments = [ChannelMoments(channels) for channels in model.feature_extractor.channels]
    compiled = compile_frozen(model.feature_extractor, tiles, training_device())
    with (
        cache_features(model, tiles, moments, compiled) as train,
        cache_features(model, validation if len(validation) else tiles, compiled=compiled) as held,
    ):
        # Training wants its memory.
        del compiled
        standardise(model, moments)
        module = FastflowTraining(model, train, settings.learning_rate)
        model.use_bf16(has_bf16())
        stopped = train_in_steps(
            module, len(train), settings, seed, lambda: module.validation_loss(held, settings.batch), warm=warm
        )
        model.use_bf16(False)
        densities = average_tiles(module.densities(held), validation.owners) if len(validation) else ()
    model.cpu().eval()
    notes = {"features": settings.in_words(), "stopped": stopped.in_words()}
    return Fitted(model, state=model.state(), notes=notes, densities=densities, curves=stopped.curves)


def standardise(model: TileFastflowModel, moments: Sequence[ChannelMoments]) -> None:
    """Bring the channels of each layer to mean 0 and variance 1 over what the moments counted.

    Args:
        model: Changed in place.
        moments: One a layer, in the model's order; at least one place counted in each.
    """
    for layer, found in zip(model.standards, moments, strict=True):
        layer.set(found)


def cache_features(
    model: TileFastflowModel,
    tiles: TileSet,
    moments: Sequence[ChannelMoments] = (),
    compiled: CompiledNetwork | None = None,
) -> FeatureCache:
    """Compute the features of all tiles once.

    Args:
        model: Moved to the device that training computes on.
        tiles: At least one.
        moments: One a layer, which take in the features of all tiles; empty where nothing is to be counted.
        compiled: Stands for the backbone; None for the backbone itself.

    Returns:
        The open cache, one row a tile: inner features (c, h', w') of each layer. To be used as a context.
    """
    device = training_device()
    model.to(device)

    def compute(index: int) -> list[torch.Tensor]:
        with torch.no_grad():
            features = [layer[0].cpu() for layer in model.features(as_tensor(tiles[index]).to(device), compiled)]
        for found, layer in zip(moments, features, strict=bool(moments)):
            found.update(layer)
        return features

    return cache_outputs(len(tiles), compute, "features")


class FastflowTraining(Fastflow):
    """anomalib's training module around our model; a batch is a list of rows of features."""

    def __init__(self, model: TileFastflowModel, features: FeatureCache, learning_rate: float) -> None:
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
        for loss in self.losses(self._features, rows):
            loss.backward()
            found.append(loss.detach())
        return torch.stack(found).sum()

    def validation_loss(self, features: FeatureCache, batch: int) -> float:
        """Return the mean negative log-likelihood of kept features, a dimension and without its constant.

        Args:
            features: Of the validation split; at least one row.
            batch: Rows that are computed at once: of memory and time, not of the result.

        Returns:
            Nats a dimension; lower is better.
        """
        rows = range(len(features))
        batches = [rows[start : start + batch] for start in range(0, len(rows), batch)]
        return sum(self._likelihood(features, few) * len(few) for few in batches) / len(rows)

    def densities(self, features: FeatureCache) -> tuple[float, ...]:
        """Return each tile's log-likelihood a dimension, without its constant."""
        with torch.no_grad():
            return tuple(-self._likelihood(features, [row]) for row in range(len(features)))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return anomalib's optimiser at the rate of the settings, for what is trained."""
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        return torch.optim.Adam(trained, lr=self._learning_rate, weight_decay=1e-5)

    def _likelihood(self, features: FeatureCache, rows: Sequence[int]) -> float:
        return sum(float(loss) for loss in self.losses(features, rows))

    def losses(self, features: FeatureCache, rows: Sequence[int]) -> Iterator[torch.Tensor]:
        """Compute the mean negative log-likelihood of some rows, layer by layer.

        Args:
            features: What `cache_features` kept for this model.
            rows: Their numbers; at least one.

        Yields:
            A scalar a layer, on the module's device: its share, over the dimensions of all layers and without the
            constant. The shares add up to the loss, in nats a dimension.
        """
        layers = [layer.to(self.device) for layer in features.get(rows)]
        dimensions = sum(layer[0].numel() for layer in layers)
        for latent, jacobian in self.model.flows(layers):
            yield self.loss([latent], [jacobian]) / dimensions
