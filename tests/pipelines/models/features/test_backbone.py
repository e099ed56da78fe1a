from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pipelines.core.errors import ModelError
from pipelines.models.features.backbone import BACKBONES, find_backbone, load_imagenet, make_features, rename_tensors


def test_imagenet_weights_see_edges_where_random_ones_do_not() -> None:
    import timm

    network = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 2, 3))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    load_imagenet(network, "lite0")
    after = network.state_dict()
    assert not torch.equal(before["conv_stem.weight"], after["conv_stem.weight"])
    # A trained batch norm has seen data: its running means are no longer the initial zeros.
    assert all(after[key].abs().sum() > 0 for key in after if key.endswith("running_mean"))
    tile = torch.zeros(1, 3, 64, 96)
    tile[..., 40:] = 1
    with torch.no_grad():
        shapes = [tuple(f.shape[1:]) for f in network.eval()(tile)]
    assert shapes == [(24, 16, 24), (40, 8, 12), (112, 4, 6)]


@pytest.mark.parametrize("name", BACKBONES)
def test_bundled_weights_name_what_an_image_shows(name: str) -> None:
    """Weights in the wrong order still load where shapes repeat; they would not know a cat from a cup."""
    import cv2
    import timm
    from skimage import data

    network = timm.create_model(find_backbone(name).timm_name, pretrained=False).eval()
    load_imagenet(network, name)
    for image, number in ((data.chelsea(), 285), (data.coffee(), 967)):  # Egyptian cat, espresso
        tile = torch.from_numpy(cv2.resize(image, (256, 256))).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            assert int(network((tile - 0.5) / 0.5).argmax()) == number


def test_unknown_backbones_and_foreign_tensors_are_refused() -> None:
    with pytest.raises(ModelError, match="lite0"):
        find_backbone("resnet999")
    assert find_backbone("lite0") is BACKBONES["lite0"]
    wanted = {"a": torch.zeros(2, 3), "b": torch.zeros(4)}
    with pytest.raises(ModelError, match="1 tensors, expected 2"):
        rename_tensors({"x": torch.zeros(2, 3)}, wanted, "file")
    with pytest.raises(ModelError, match=r"y is \(5,\), expected \(4,\) for b"):
        rename_tensors({"x": torch.zeros(2, 3), "y": torch.zeros(5)}, wanted, "file")
    assert rename_tensors({"x": torch.ones(2, 3), "y": torch.ones(4)}, wanted, "file").keys() == wanted.keys()


def test_features_are_normalised_frozen_and_stay_in_eval_mode() -> None:
    import timm

    features = make_features("lite0", (1, 3)).train()
    assert (features.channels, features.strides) == ((24, 112), (4, 16))
    assert not any(module.training for module in features.network.modules())
    assert not any(parameter.requires_grad for parameter in features.parameters())
    plain = timm.create_model("tf_efficientnet_lite0", pretrained=False, features_only=True, out_indices=(1, 3)).eval()
    load_imagenet(plain, "lite0")
    tile = torch.rand(2, 3, 64, 96)
    with torch.no_grad():
        for found, expected in zip(features(tile), plain((tile - 0.5) / 0.5), strict=True):
            torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of the Hugging Face hub."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "tag", "layers", "channels", "strides", "mean"),
    [
        ("resnet10t", "c3_in1k", (1, 2), (64, 128), (4, 8), [0.485, 0.456, 0.406]),
        ("vit_tiny_patch16_224", "augreg_in21k_ft_in1k", (2, 4), (192, 192), (16, 16), [0.5, 0.5, 0.5]),
    ],
)
def test_a_network_of_timm_is_taken_from_the_local_cache_and_never_downloaded(
    cache: Path,
    name: str,
    tag: str,
    layers: tuple[int, ...],
    channels: tuple[int, ...],
    strides: tuple[int, ...],
    mean: list[float],
) -> None:
    import timm

    with pytest.raises(ModelError, match="not in the local cache"):
        make_features(name, layers)
    whole = timm.create_model(name, pretrained=False).eval()
    repository = cache / f"models--timm--{name}.{tag}"
    for folder in ("refs", "snapshots/abc"):
        (repository / folder).mkdir(parents=True)
    (repository / "refs" / "main").write_text("abc")
    save_file(whole.state_dict(), repository / "snapshots" / "abc" / "model.safetensors")
    features = make_features(name, layers)
    assert (features.channels, features.strides) == (channels, strides)
    assert features.mean.flatten().tolist() == pytest.approx(mean)
    found = features(torch.rand(1, 3, 64, 96))
    assert [layer.shape[1:] for layer in found] == [
        (c, 64 // s, 96 // s) for c, s in zip(channels, strides, strict=True)
    ]
    stored = whole.state_dict()
    assert all(torch.equal(value, stored[name]) for name, value in features.network.state_dict().items())


@pytest.mark.parametrize("name", ["resnet999", "vit_tiny_patch16_224"])
def test_networks_that_are_not_here_name_the_bundled_ones(cache: Path, name: str) -> None:
    with pytest.raises(ModelError, match="lite0, lite1, lite2"):
        make_features(name, (1, 2))


def test_layers_that_a_network_lacks_are_refused() -> None:
    with pytest.raises(ModelError, match=r"\[9\] do not fit backbone 'lite0'"):
        make_features("lite0", (9,))
