"""Scores of many fitted networks on the same images: what their frozen backbone makes of these is kept."""

import hashlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flows.adapting.origins import Origin
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Precision, Split, Strategy
from pipelines.core.results import Start
from pipelines.data.prepared import PreparedImage, read_region
from pipelines.imaging.image_score import ScoreRule, image_score
from pipelines.imaging.synthetic.anomalies import add_synthetic_anomaly
from pipelines.imaging.tiling import TileSet, cut_tiles
from pipelines.models.engine.augment import as_tensor
from pipelines.models.openvino.export import export_openvino
from pipelines.models.openvino.runtime import TileModel
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import choose_tile_plan
from pipelines.training.transfer.shots import usual_size

_BATCH = 16
_FROZEN = ("feature_extractor", "tokens")  # where an algorithm's network keeps what no image changes


def choose_test(images: Sequence[PreparedImage], count: int) -> list[PreparedImage]:
    """Choose the same test images every time."""
    test = [i for i in images if i.split == Split.TEST]
    return sorted(test, key=lambda i: hashlib.sha256(i.path.encode()).digest())[:count]


class Recalled(nn.Module):
    """Stand in for a frozen backbone: give back what it made of some pictures."""

    def __init__(self, backbone: Any) -> None:
        super().__init__()
        self.channels = backbone.channels
        self.strides = getattr(backbone, "strides", ())
        self.features: list[torch.Tensor] = []

    def forward(self, _: torch.Tensor) -> list[torch.Tensor]:
        return self.features


class Picture(NamedTuple):
    """An image of the target; with a `number` above 0 a defect is added to it."""

    image: PreparedImage
    number: int = 0


class _Seen(NamedTuple):
    """A tile (h, w, 3), and what the backbone made of it."""

    tile: NDArray[np.uint8]
    features: list[torch.Tensor]


class Bench:
    """One algorithm's test images and score rule; what the backbone makes of them is kept, as float16."""

    def __init__(
        self, prepared: Path, images: Sequence[PreparedImage], tested: int, origin: Origin, settings: RunSettings
    ) -> None:
        self._prepared, self._origin, self._settings = prepared, origin, settings
        self._size = usual_size(images)
        self.test = [Picture(image) for image in choose_test(images, tested)]
        score = settings.of(origin.algorithm).score
        self._rule = ScoreRule(border_share=score.border_share, top_share=score.top_share)
        self._kept: dict[tuple[TilePlan, str, int], _Seen] = {}

    def tiles(self, images: Sequence[PreparedImage], train: Sequence[PreparedImage], strategy: Strategy) -> TileSet:
        """Return images as tiles of the plan that the strategy has."""
        start = Start(strategy=strategy, folder=self._origin.folder, plan=self._origin.plan, size=self._size)
        plan = choose_tile_plan(self._origin.algorithm, train, self._settings, start)
        most = self._settings.of(self._origin.algorithm).max_train_tiles
        return TileSet([self._prepared / i.file for i in images], plan, max_tiles=most, seed=self._settings.seed)

    def forget_synthetic(self) -> None:
        """Give back the memory of images with synthetic anomalies."""
        self._kept = {key: seen for key, seen in self._kept.items() if not key[2]}

    @torch.no_grad()
    def score(self, model: Any, plan: TilePlan, pictures: Sequence[Picture]) -> list[float]:
        """Score pictures, in float32, or exported in bf16 where there is no frozen backbone to share."""
        learnt = getattr(model, "learnt", model)
        owner = getattr(learnt, "frozen", learnt)
        place = next((name for name in _FROZEN if hasattr(owner, name)), None)
        if place is None:
            with tempfile.TemporaryDirectory() as folder:
                export_openvino(model, plan.tile_height, plan.tile_width, Path(folder))
                exported = TileModel(Path(folder), Precision.BF16)
                maps = (exported.infer(self._cut(picture, plan)[None])[0] for picture in pictures)
                return [image_score(found, self._rule) for found in maps]
        backbone, recalled = getattr(owner, place), Recalled(getattr(owner, place))
        setattr(owner, place, recalled)
        scores = []
        for start in range(0, len(pictures), _BATCH):
            seen = [self._recall(p, plan, backbone) for p in pictures[start : start + _BATCH]]
            recalled.features = [torch.stack(layer).float() for layer in zip(*(s.features for s in seen), strict=True)]
            maps = model(torch.cat([as_tensor(s.tile) for s in seen])).anomaly_map[:, 0].numpy()
            scores += [image_score(found, self._rule) for found in maps]
        setattr(owner, place, backbone)
        return scores

    def _recall(self, picture: Picture, plan: TilePlan, backbone: Any) -> _Seen:
        key = plan, picture.image.path, picture.number
        if key not in self._kept:
            tile = self._cut(picture, plan)
            self._kept[key] = _Seen(tile, [layer[0].half() for layer in backbone(as_tensor(tile))])
        return self._kept[key]

    def _cut(self, picture: Picture, plan: TilePlan) -> NDArray[np.uint8]:
        """Read a picture as the one tile (h, w, 3) that shows it whole; several would need their maps stitched."""
        region = read_region(self._prepared, picture.image)
        if picture.number:
            words = f"{self._settings.seed}/{picture.image.path}/{picture.number}"
            digest = hashlib.sha256(words.encode()).digest()
            region = add_synthetic_anomaly(region, np.random.default_rng(int.from_bytes(digest[:8], "big"))).image
        if plan.mode != "fit":
            raise ValueError("only surfaces that are shown whole can be measured here")
        tile, _ = next(iter(cut_tiles(region, plan)))
        return np.array(tile)
