"""Make EfficientAD's bundled teacher: `python -m pipelines.models.efficientad.distil --out FOLDER`.

A patch description network learns to give the features of the bundled ImageNet backbone on pictures that anyone has
(Batzner et al. 2024, EfficientAD, section 3.1 and algorithm 1 of its appendix, there with a WideResNet and ImageNet).
"""

import argparse
import json
import logging
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
import torch.nn.functional as F
from torch import nn

from pipelines.models.efficientad.penalty import draw_surfaces, load_images, random_crop
from pipelines.models.efficientad.teacher import save_teacher
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork
from pipelines.models.features.backbone import find_backbone, load_imagenet

_SIDE = 256
_STRIDE = 4
# A patch description network without padding sees 33 pixels: its map begins 4 places inside the backbone's at stride 4.
_MARGIN = 4

log = logging.getLogger(__name__)


class BackboneFeatures(nn.Module):
    """The backbone's layers at stride 4, standardised by channel: what the teacher learns to give.

    `enlarge` doubles the picture first, as the paper does: features then tell of smaller places.
    """

    def __init__(self, backbone: str, layers: tuple[int, ...], enlarge: int) -> None:
        super().__init__()
        network = find_backbone(backbone).timm_name
        self.features = timm.create_model(network, pretrained=False, features_only=True, out_indices=layers)
        load_imagenet(self.features, backbone)
        self.enlarge = enlarge
        channels = sum(self.features.feature_info.channels())
        self.register_buffer("mean", torch.zeros(1, channels, 1, 1))
        self.register_buffer("std", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """Return features (n, c, h/4 - 8, w/4 - 8) of pictures (n, 3, h, w) in [0, 1]."""
        size = (pictures.shape[-2] // _STRIDE, pictures.shape[-1] // _STRIDE)
        if self.enlarge > 1:
            pictures = F.interpolate(pictures, scale_factor=self.enlarge, mode="bilinear", align_corners=False)
        found = [_to_size(layer.float(), size) for layer in self.features((pictures - 0.5) / 0.5)]
        standard: torch.Tensor = (torch.cat(found, 1) - self.mean) / self.std
        return standard[:, :, _MARGIN:-_MARGIN, _MARGIN:-_MARGIN]

    def standardise(self, batches: Iterator[torch.Tensor], count: int) -> None:
        """Measure the channels' mean and deviation, by which features are standardised from then on.

        Call it once: a second call would measure features that are standardised already.

        Args:
            batches: Pictures (n, 3, h, w) in [0, 1]; `count` of them are taken.
            count: At least 1. A quarter of the places of all batches is held in memory at once.
        """
        found = torch.cat([self(next(batches))[:, :, ::2, ::2] for _ in range(count)])
        self.mean, self.std = found.mean((0, 2, 3), keepdim=True), found.std((0, 2, 3), keepdim=True)


def _to_size(layer: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    if layer.shape[-1] > size[1]:
        return F.adaptive_avg_pool2d(layer, size)
    return F.interpolate(layer, size=size, mode="bilinear", align_corners=False)


def distil(options: argparse.Namespace) -> dict[str, Any]:
    """Train the teacher, save it with its recipe, and return the recipe."""
    torch.manual_seed(options.seed)
    train = _crops(options, options.seed)
    target = BackboneFeatures(options.backbone, tuple(options.layers), options.enlarge).eval()
    target.standardise(train, 32)
    teacher = SmallPatchDescriptionNetwork(out_channels=target.mean.shape[1]).to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(teacher.parameters(), lr=options.rate, weight_decay=1e-5)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, options.rate, total_steps=options.steps, pct_start=0.15)
    started, losses = time.monotonic(), []
    for step in range(1, options.steps + 1):
        loss = _loss(teacher, target, next(train))
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(teacher.parameters(), 1.0)
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
        if step % 50 == 0:
            log.info("step %d: loss %.4f, %.0f s", step, np.mean(losses[-50:]), time.monotonic() - started)
    held_out = _crops(options, options.seed + 1_000_003)
    with torch.no_grad():
        left = float(np.mean([_loss(teacher, target, next(held_out)).item() for _ in range(32)]))
    recipe = {
        "description": f"distilled from {options.backbone} on scikit-image's images and drawn surfaces",
        **{key: value for key, value in vars(options).items() if key != "out"},
        "channels": int(target.mean.shape[1]),
        "unexplained_share": round(left, 4),
        "seconds": round(time.monotonic() - started),
    }
    save_teacher(options.out, teacher, recipe)
    log.info("teacher in %s: %s", options.out, json.dumps(recipe))
    return recipe


def _loss(teacher: nn.Module, target: BackboneFeatures, batch: torch.Tensor) -> torch.Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        wanted = target(batch).float()
        given = teacher(batch).float()
    return F.mse_loss(given, wanted)


def _crops(options: argparse.Namespace, seed: int) -> Iterator[torch.Tensor]:
    """Yield batches (n, 3, side, side) in [0, 1] without end; images are seen as often as drawn surfaces."""
    random = np.random.default_rng(seed)
    images, drawn = load_images(), draw_surfaces(options.drawn, seed)
    pictures = images * max(1, round(len(drawn) / len(images))) + drawn
    while True:
        batch = np.stack([random_crop(pictures, _SIDE, random) for _ in range(options.batch)])
        tensor = torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255
        yield tensor.contiguous(memory_format=torch.channels_last)


def main() -> None:
    """Read the options and distil."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, help="folder for teacher.safetensors and recipe.json")
    parser.add_argument("--backbone", default="lite0")
    parser.add_argument("--layers", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--enlarge", type=int, default=1)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--drawn", type=int, default=140, help="drawn surfaces in the pool")
    parser.add_argument("--seed", type=int, default=0)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    distil(parser.parse_args())


if __name__ == "__main__":
    main()
