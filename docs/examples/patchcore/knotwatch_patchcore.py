"""anomalib's PatchCore as an algorithm of knotwatch (Roth et al. 2022, "Towards Total Recall")."""

from typing import TYPE_CHECKING

from pydantic import Field

from pipelines.models.algorithm import BaseAlgorithm
from pipelines.models.settings import AlgorithmSettings

# torch and anomalib are imported where an image is fitted: `knotwatch --help` must answer at once.
if TYPE_CHECKING:
    from pipelines.imaging.tiling import TileSet
    from pipelines.models.fitted import Fitted


class PatchcoreSettings(AlgorithmSettings):
    """The features that are compared, and the share of them that is kept (`coreset`)."""

    backbone: str = "lite0"
    layers: tuple[int, ...] = (2, 3)
    coreset: float = Field(default=0.1, gt=0, le=1)
    max_train_tiles: int = Field(default=100, ge=1)


class Patchcore(BaseAlgorithm):
    """Distances to the nearest of the features that normal images showed."""

    name = "patchcore"
    about = "PatchCore (Roth et al. 2022): the distance of ImageNet features to the nearest ones of normal images"
    settings = PatchcoreSettings()
    preference = 10

    def fit(self, tiles: "TileSet", validation: "TileSet", settings: PatchcoreSettings, seed: int) -> "Fitted":
        """Keep a coreset of the features of normal tiles; nothing is trained, so `validation` is not needed."""
        import torch
        from anomalib.data import InferenceBatch
        from anomalib.models.image.patchcore.torch_model import PatchcoreModel
        from lightning import seed_everything

        from pipelines.models.engine.augment import as_tensor
        from pipelines.models.features.backbone import make_features
        from pipelines.models.fitted import Fitted

        class Features(torch.nn.Module):
            """Bundled ImageNet features under the names of their layers, as anomalib's model asks for them."""

            def __init__(self) -> None:
                super().__init__()
                self.network = make_features(settings.backbone, settings.layers)

            def forward(self, images: torch.Tensor) -> dict[str, torch.Tensor]:
                return dict(zip(names, self.network(images), strict=True))

        class Model(PatchcoreModel):
            """PatchCore around these features, whose image score knotwatch makes from the map."""

            def forward(self, images: torch.Tensor) -> InferenceBatch | torch.Tensor:
                found = super().forward(images)
                if self.training:
                    return found
                # OpenVINO would merge a convolution at the end with the colour that is added to it, and lose the map.
                return InferenceBatch(pred_score=found.pred_score, anomaly_map=found.anomaly_map.clamp_min(0))

            def compute_anomaly_score(self, patch_scores, locations, embedding):
                return patch_scores.amax(dim=1)

        seed_everything(seed, verbose=False)
        names = [f"layer{number}" for number in range(1, len(settings.layers) + 1)]
        model = Model(layers=names, backbone="resnet18", pre_trained=False, num_neighbors=1)
        model.feature_extractor = Features()
        model.train()
        for number in range(len(tiles)):
            model(as_tensor(tiles[number]))
        model.subsample_embedding(settings.coreset)
        return Fitted(model.eval(), notes={"memory bank": f"{len(model.memory_bank)} features"})


PATCHCORE = Patchcore()
