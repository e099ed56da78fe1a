"""The small convolutional network that the head for types is compared with: as in the study the project began with."""

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from pipelines.models.engine.device import autocast

SIDE = 64
_EPOCHS = 30
_BATCH = 8
_LEARNING_RATE = 1e-3


def make_network(types: int) -> nn.Sequential:
    """Three convolutions of 64 filters, each pooled, a dense layer of 32 and one of as many as there are types."""
    layers: list[nn.Module] = []
    for channels in (3, 64, 64):
        layers += [nn.Conv2d(channels, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64 * (SIDE // 8) ** 2, 32), nn.ReLU(), nn.Linear(32, types))


def name_left_out(crops: NDArray[np.uint8], labels: NDArray[np.intp], left: int, seed: int) -> int:
    """Train on all crops (n, 64, 64, 3) but one, and return the type that this one is given."""
    torch.manual_seed(seed * len(labels) + left)
    seen = np.arange(len(labels)) != left
    images = torch.from_numpy(crops).permute(0, 3, 1, 2).float() / 255
    truth = torch.from_numpy(labels)
    network = make_network(int(labels.max()) + 1)
    optimiser = torch.optim.Adam(network.parameters(), lr=_LEARNING_RATE)
    members = torch.from_numpy(np.flatnonzero(seen))
    for _ in range(_EPOCHS):
        for batch in members[torch.randperm(len(members))].split(_BATCH):
            views = augment(images[batch])
            with autocast():
                found = network(views)
            loss = F.cross_entropy(found.float(), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    with torch.no_grad():
        return int(network.eval()(images[left : left + 1]).argmax())


def augment(images: torch.Tensor) -> torch.Tensor:
    """Flip, turn by up to 0.2 of a circle and zoom by up to a fifth, each image otherwise; the rim is mirrored."""
    count = len(images)
    angle = (torch.rand(count) * 2 - 1) * 0.2 * 2 * torch.pi
    zoom = 1 + (torch.rand(count) * 2 - 1) * 0.2
    flips = [torch.randint(0, 2, (count,)) * 2 - 1 for _ in range(2)]
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(-1, 2, 2)
    mirrored = turn * torch.stack(flips, 1)[:, None] * zoom[:, None, None]
    matrix = torch.cat([mirrored, torch.zeros(count, 2, 1)], 2)
    grid = F.affine_grid(matrix, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="reflection", align_corners=False)


def chosen(labels: Sequence[str]) -> tuple[list[str], NDArray[np.intp]]:
    """Return the types that occur, sorted, and each label's place among them."""
    types, places = np.unique(np.asarray(labels), return_inverse=True)
    return types.tolist(), places.astype(np.intp)
