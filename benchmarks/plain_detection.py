"""anomalib's own algorithms trained as they are there, with our backbone, weights, teacher, tiles and step budget."""

import io
from collections.abc import Iterator
from contextlib import redirect_stderr
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.fastflow_plain import make_module
from benchmarks.plain_anomalib import fit_plain, hushed, to_float, train_plainly
from pipelines.imaging.tiling import TileSet
from pipelines.models.anomalydino.settings import AnomalydinoSettings
from pipelines.models.efficientad.penalty import EverydayCrops
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.features.tokens import STRIDE
from pipelines.training.run_settings import RunSettings


def fit_plain_algorithm(algorithm: str, tiles: TileSet, validation: TileSet, settings: RunSettings) -> Any:
    """Fit to normal tiles; the module takes float tiles (n, 3, h, w) in [0, 1] and gives `pred_score` and a map.

    Only EfficientAD looks at `validation`: the quantiles of its two maps are of these.
    """
    torch.manual_seed(settings.seed)
    if algorithm == "padim":
        return fit_plain(tiles, settings.padim)
    if algorithm == "fastflow":
        return _fit_fastflow(tiles, settings.fastflow)
    if algorithm == "anomalydino":
        return fit_plain_anomalydino(tiles, settings.anomalydino)
    return _fit_efficientad(tiles, validation, settings.efficientad, settings.seed)


def _fit_fastflow(tiles: TileSet, ours: FastflowSettings) -> Any:
    from anomalib.models.image.fastflow import torch_model

    from pipelines.models.features.backbone import make_features

    features = make_features(ours.backbone, ours.layers)
    features.feature_info = features.network.feature_info
    # anomalib knows few networks by name; of a residual network it takes what `features_only` gives.
    with patch.object(torch_model.timm, "create_model", lambda *_, **__: features):
        module = make_module(ours, (tiles.plan.tile_height, tiles.plan.tile_width))
    return train_plainly(module, tiles, ours.batch, ours.max_steps)


@torch.no_grad()
def fit_plain_anomalydino(tiles: TileSet, ours: AnomalydinoSettings) -> Any:
    """Keep every token of every tile, as anomalib does where no coreset is asked for."""
    from anomalib.models.image.anomaly_dino.torch_model import AnomalyDINOModel
    from anomalib.models.image.patchcore.anomaly_map import AnomalyMapGenerator

    from pipelines.models.features.backbone import make_features

    class Offline(AnomalyDINOModel):
        """anomalib's model around our network, whose weights it would download."""

        def __init__(self) -> None:
            torch.nn.Module.__init__(self)
            self.network = make_features(ours.backbone, ours.layers)
            self.patch_size, self.masking, self.coreset_subsampling = STRIDE, False, False
            self.num_neighbours = ours.neighbours
            self.register_buffer("memory_bank", torch.empty(0))
            self.embedding_store: list[torch.Tensor] = []
            self.anomaly_map_generator = AnomalyMapGenerator()

        def extract_features(self, image_tensor: torch.Tensor) -> torch.Tensor:
            return torch.cat(self.network(image_tensor), 1).flatten(2).transpose(1, 2)

    model = Offline().train()
    for number in range(len(tiles)):
        model(to_float(tiles[number])[None])
    model.fit()
    return model.eval()


def _fit_efficientad(tiles: TileSet, validation: TileSet, ours: EfficientAdSettings, seed: int) -> Any:
    from anomalib.models import EfficientAd

    from pipelines.models.efficientad.teacher import load_teacher

    class Offline(EfficientAd):
        """anomalib's module without its two downloads: the bundled teacher, and crops of the bundled pictures."""

        def on_train_start(self) -> None:
            self.imagenet_iterator = _everyday(ours, tiles, seed)

    teacher, _ = load_teacher(ours.teacher)
    with hushed(), redirect_stderr(io.StringIO()):  # its progress bars cannot be switched off
        module = Offline(
            teacher_out_channels=int(teacher.conv4.weight.shape[0]),
            pre_processor=False,
            post_processor=False,
            evaluator=False,
            visualizer=False,
        )
        module.model.teacher.load_state_dict(teacher.state_dict())
        module.model.mean_std.update(module.teacher_channel_mean_std(_batches(tiles)))
        train_plainly(module, tiles, 1, ours.max_steps)
        module.model.quantiles.update(module.map_norm_quantiles(_batches(validation)))
    return module


def _everyday(ours: EfficientAdSettings, tiles: TileSet, seed: int) -> Iterator[tuple[torch.Tensor]]:
    """Draw square crops and cut them to a tile's shape, as large as a tile, as anomalib's ImageNette pictures are."""
    height, width = tiles.plan.tile_height, tiles.plan.tile_width
    crops = EverydayCrops(ours.penalty, max(height, width), seed)
    while True:
        yield (to_float(crops.draw())[None, :, :height, :width],)


def _batches(tiles: TileSet) -> list[Any]:
    from anomalib.data import ImageBatch

    return [
        ImageBatch(image=to_float(tiles[number])[None], gt_label=torch.zeros(1, dtype=torch.bool))
        for number in range(len(tiles))
    ]
