"""What is used of anomalib, imported without the deprecation warnings that its own imports of timm raise."""

import warnings

with warnings.catch_warnings():
    for _message in (
        "Importing from timm.models.layers is deprecated",
        "The anomalib.models.components.dinov2 package is deprecated",
    ):
        warnings.filterwarnings("ignore", _message, FutureWarning)
    from anomalib.callbacks import ModelCheckpoint
    from anomalib.data import ImageBatch, ImageItem, InferenceBatch
    from anomalib.engine import Engine
    from anomalib.models import EfficientAd, Fastflow, Padim
    from anomalib.models.components import MultiVariateGaussian
    from anomalib.models.image.anomaly_dino.torch_model import AnomalyDINOModel
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel, SmallPatchDescriptionNetwork
    from anomalib.models.image.fastflow.loss import FastflowLoss
    from anomalib.models.image.fastflow.torch_model import FastflowModel, create_fast_flow_block
    from anomalib.models.image.padim.anomaly_map import AnomalyMapGenerator
    from anomalib.models.image.padim.torch_model import PadimModel

__all__ = [
    "AnomalyDINOModel",
    "AnomalyMapGenerator",
    "EfficientAd",
    "EfficientAdModel",
    "Engine",
    "Fastflow",
    "FastflowLoss",
    "FastflowModel",
    "ImageBatch",
    "ImageItem",
    "InferenceBatch",
    "ModelCheckpoint",
    "MultiVariateGaussian",
    "Padim",
    "PadimModel",
    "SmallPatchDescriptionNetwork",
    "create_fast_flow_block",
]
