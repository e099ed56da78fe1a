"""anomalib's own FastFlow and ours around one network.

The network is resnet18 with random weights: anomalib accepts no bundled one by name, and weights do not change what
it costs.
"""

from typing import Any

from benchmarks.drawn_images import SIDE
from pipelines.models.fastflow.settings import FastflowSettings

BACKBONE = "resnet18"
_LAYERS = (1, 2, 3)


def make_plain() -> Any:
    """Make anomalib's module as it comes, with its own optimiser and loss."""
    return make_module(FastflowSettings(), (SIDE, SIDE))


def make_module(ours: FastflowSettings, size: tuple[int, int]) -> Any:
    """Make anomalib's module for tiles of a size (height, width), with as many flow steps as ours has."""
    from anomalib.models import Fastflow
    from anomalib.models.image.fastflow.loss import FastflowLoss
    from anomalib.models.image.fastflow.torch_model import FastflowModel

    # Past its __init__, which makes the same model but wants a pre-processor to learn the tile size from.
    module = Fastflow.__new__(Fastflow)
    super(Fastflow, module).__init__(pre_processor=False, post_processor=False, evaluator=False, visualizer=False)
    module.model = FastflowModel(
        input_size=size,
        backbone=BACKBONE,
        pre_trained=False,
        flow_steps=ours.flow_steps,
        conv3x3_only=ours.conv3x3_only,
        hidden_ratio=ours.hidden_ratio,
    )
    module.loss = FastflowLoss()
    return module


def make_ours() -> Any:
    """Make our model around such a network."""
    import timm

    from pipelines.models.fastflow.model import TileFastflowModel
    from pipelines.models.features.backbone import ImagenetFeatures

    network = timm.create_model(BACKBONE, pretrained=False, features_only=True, out_indices=_LAYERS)
    features = ImagenetFeatures(network, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    return TileFastflowModel(features, FastflowSettings(), SIDE, SIDE)
