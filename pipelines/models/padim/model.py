"""PaDiM on tiles: anomalib's algorithm and training loop with a bundled backbone and pooled, shrunk statistics."""

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import AnomalyMapGenerator, InferenceBatch, Padim, PadimModel
from pipelines.models.engine.augment import as_tensor
from pipelines.models.engine.device import training_device
from pipelines.models.engine.enlarge import enlarge
from pipelines.models.engine.lightning import train_on_tiles
from pipelines.models.features.backbone import make_features
from pipelines.models.fitted import Fitted
from pipelines.models.moments import Moments
from pipelines.models.openvino.compiled import CompiledNetwork, compile_frozen
from pipelines.models.padim.gaussian import WhiteningGaussian, estimate
from pipelines.models.padim.settings import PadimSettings

# Each batch passes over the whole scatter once, which is more memory than the features of all its tiles.
_BATCH = 16


def fit_padim(tiles: TileSet, settings: PadimSettings, seed: int) -> Fitted:
    """Fit PaDiM (Defard et al. 2021) to normal tiles.

    Args:
        tiles: Normal tiles whose sides are multiples of 32 px; at least one.
        settings: `gaussian` may be `auto`: `choose_gaussian` decides by the tile plan.
        seed: For the channels that are drawn; nothing else is.

    Returns:
        A network whose map is a Mahalanobis distance, with its statistics as state.

    Raises:
        ModelError: If there is no tile, or the settings do not fit the backbone.
    """
    if not len(tiles):
        raise ModelError("no tile to fit PaDiM to", hint="add normal images to the surface")
    settings = choose_gaussian(settings, tiles.plan)
    model = gather(TilePadimModel(settings, seed), tiles)
    return Fitted(model, state=model.state(), notes={"gaussian": settings.gaussian})


def choose_gaussian(settings: PadimSettings, plan: TilePlan) -> PadimSettings:
    """Say what `auto` means: tiles of a larger image lie anywhere in it, one resized to one tile has fixed places.

    Args:
        settings: Returned as they are unless their Gaussian is `auto`.
        plan: Of the tiles to be fitted to.

    Returns:
        Settings whose Gaussian is `shared` for a grid of tiles and `pooled` for one tile an image.

    >>> choose_gaussian(PadimSettings(), TilePlan(mode="fit", tile_height=224, tile_width=512)).gaussian
    'pooled'
    """
    if settings.gaussian != "auto":
        return settings
    return settings.model_copy(update={"gaussian": "shared" if plan.mode == "grid" else "pooled"})


def gather(model: "TilePadimModel", tiles: TileSet) -> "TilePadimModel":
    """Take the features of all tiles into a model's moments, and fit it; anomalib's loop ends with `model.fit()`.

    Args:
        model: Changed in place; moments that it has already count as well.
        tiles: Of one plan; seen once, 16 at a time.

    Returns:
        The same model, on the CPU in eval mode.

    Raises:
        ModelError: If the frozen network cannot be compiled for such tiles.
    """
    model.compiled = compile_frozen(model.feature_extractor, tiles, training_device())
    try:
        train_on_tiles(_TilePadim().attach(model), tiles, _BATCH)
    finally:
        model.compiled = None
    model.cpu().eval()
    return model


@torch.no_grad()
def embed(model: "TilePadimModel", tiles: TileSet) -> list[torch.Tensor]:
    """Return the features of each tile.

    Args:
        model: On the CPU, in eval mode.
        tiles: May be empty.

    Returns:
        Float32 (c, hw) a tile: the drawn channels at the positions of its grid, row by row.
    """
    pictures = (as_tensor(tiles[i]) for i in range(len(tiles)))
    return [model.embed(picture)[0].flatten(1) for picture in pictures]


class _TilePadim(Padim):
    """anomalib's training module around our model; tiles come prepared, so it needs no processors."""

    def __init__(self) -> None:
        super(Padim, self).__init__(pre_processor=False, post_processor=False, evaluator=False, visualizer=False)

    def attach(self, model: "TilePadimModel") -> "_TilePadim":
        """Take what is fitted; Lightning would copy it if the constructor took it."""
        self.model = model
        return self


class TilePadimModel(PadimModel):
    """PaDiM with ImageNet features of timm, channels drawn with a seed, and statistics at a stride of choice."""

    def __init__(self, settings: PadimSettings, seed: int) -> None:
        # Not PadimModel's own: it makes a network that downloads its weights.
        nn.Module.__init__(self)
        self.feature_extractor = make_features(settings.backbone, settings.layers)
        self.channels = channels = sum(self.feature_extractor.channels)
        if settings.features > channels:
            raise ModelError(
                f"padim.features {settings.features} exceeds the {channels} channels of padim.layers {settings.layers}",
                hint="lower padim.features, or choose more layers",
            )
        self.register_buffer("idx", draw_channels(self.feature_extractor.channels, settings.features, seed))
        self.gaussian = WhiteningGaussian()
        self.moments: Moments | None = None
        # What stands for the feature extractor while it is fitted.
        self.compiled: CompiledNetwork | None = None
        self._settings = settings
        self.anomaly_map_generator = DistanceMap()

    def forward(self, input_tensor: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1]; in training, take their embeddings into the moments instead."""
        with torch.no_grad():
            embedding = self.embed(input_tensor)
        if self.training:
            if self.moments is None:
                self.moments = Moments(*embedding.shape[1:])
            self.moments.update(embedding)
            return embedding
        anomaly_map = self.anomaly_map_generator(
            embedding=embedding,
            mean=self.gaussian.mean,
            whitening=self.gaussian.whitening,
            image_size=input_tensor.shape[-2:],
        )
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def fit(self) -> None:
        """Estimate the Gaussians from the moments of all that was seen in training."""
        if self.moments is None:
            raise ModelError("PaDiM saw no tile", hint="train before fitting")
        self.gaussian.set(*estimate(self.moments, self._settings))

    def take(self, moments: Moments, settings: PadimSettings) -> None:
        """Estimate the Gaussians from other moments, as other settings say, and go into eval mode.

        Args:
            moments: Of the same channels, and of the grid of the tiles to come unless shared; kept, not copied.
            settings: Of the same network as the model's; their Gaussian is not `auto`.
        """
        self.moments, self._settings = moments, settings
        self.fit()
        self.eval()

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a later fit can go on from: the statistics, as float32, and the channels they are of."""
        if self.moments is None:
            return {}
        kept = self.moments.pooled() if self._settings.gaussian == "shared" else self.moments
        return {**kept.tensors(torch.float32), "channels": self.idx}

    @property
    def stride(self) -> int:
        """Pixels from one Gaussian to the next."""
        return max(self._settings.stride, self.feature_extractor.strides[0])

    def grid(self, plan: TilePlan) -> tuple[int, int]:
        """Return the rows and columns of Gaussians that a tile of the plan has."""
        return plan.tile_height // self.stride, plan.tile_width // self.stride

    def embed(self, tiles: torch.Tensor) -> torch.Tensor:
        """Return the features (n, c, h, w) of tiles (n, 3, h, w) in [0, 1]."""
        return self.generate_embedding((self.compiled or self.feature_extractor)(tiles))

    def generate_embedding(self, features: Any) -> torch.Tensor:
        """Bring all layers to one grid (finer ones averaged, coarser ones repeated) and keep the drawn channels."""
        strides = self.feature_extractor.strides
        stride = self.stride
        factor = stride // strides[0]
        size = (features[0].shape[-2] // factor, features[0].shape[-1] // factor)
        on_grid = [
            F.avg_pool2d(layer, stride // own) if own < stride else F.interpolate(layer, size=size, mode="nearest")
            for layer, own in zip(features, strides, strict=True)
        ]
        return torch.index_select(torch.cat(on_grid, 1), 1, self.idx)


def draw_channels(layers: Sequence[int], count: int, seed: int) -> torch.Tensor:
    """Draw some of the channels of all layers, as many of each layer as it has to give.

    Defard et al. draw from all alike (section III-B): most are of the deepest layer then, which sees least of what is
    small. A layer with fewer channels than its share gives all, and the others share the rest.

    Args:
        layers: Number of channels of each.
        count: How many to draw, at most the sum of `layers`.
        seed: The same seed draws the same channels.

    Returns:
        Ascending numbers int64 (count,) in the layers' channels one after the other.

    >>> drawn = draw_channels([2, 10], count=6, seed=0)
    >>> len(drawn), int((drawn < 2).sum())
    (6, 2)
    """
    generator = torch.Generator().manual_seed(seed)
    shares: dict[int, int] = {}
    for place, layer in enumerate(sorted(range(len(layers)), key=lambda number: layers[number])):
        even = (count - sum(shares.values())) // (len(layers) - place)
        shares[layer] = min(layers[layer], even)
    starts = [sum(layers[:layer]) for layer in range(len(layers))]
    drawn = [
        start + torch.randperm(channels, generator=generator)[: shares[layer]]
        for layer, (start, channels) in enumerate(zip(starts, layers, strict=True))
    ]
    return torch.cat(drawn).sort().values


class DistanceMap(AnomalyMapGenerator):
    """Mahalanobis distance (Defard et al. 2021, equation 2), enlarged to the tile and smoothed by anomalib's sigma."""

    def forward(self, **kwargs: Any) -> torch.Tensor:
        embedding, mean = kwargs["embedding"], kwargs["mean"]
        count, _, height, width = embedding.shape
        delta = (embedding.flatten(2) - mean).permute(2, 0, 1)
        # A length cannot turn negative by rounding, as anomalib's quadratic form can.
        distance = (delta @ kwargs["whitening"]).square().sum(2).sqrt()
        return enlarge(distance.T.reshape(count, 1, height, width), kwargs["image_size"], self.blur)
