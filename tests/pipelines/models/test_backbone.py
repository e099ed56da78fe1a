import pytest
import torch

from pipelines.errors import ModelError
from pipelines.models.backbone import BACKBONES, find_backbone, load_imagenet, rename_tensors


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
def test_bundled_weights_name_what_a_photograph_shows(name: str) -> None:
    """Weights in the wrong order still load where shapes repeat; they would not know a cat from a cup."""
    import cv2
    import timm
    from skimage import data

    network = timm.create_model(find_backbone(name).timm_name, pretrained=False).eval()
    load_imagenet(network, name)
    for photograph, number in ((data.chelsea(), 285), (data.coffee(), 967)):  # Egyptian cat, espresso
        tile = torch.from_numpy(cv2.resize(photograph, (256, 256))).permute(2, 0, 1)[None].float() / 255
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
