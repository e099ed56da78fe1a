"""Settings that algorithms share: scores of maps, training by steps, features, and images without labels."""

from collections.abc import Mapping
from typing import Annotated, ClassVar

from pydantic import Field

from pipelines.core.settings import Settings

MOST = 1_000_000  # of steps, tiles or images: what exceeds it is a slip of the pen
Layer = Annotated[int, Field(ge=0, le=1000)]


class ScoreSettings(Settings):
    """How a map becomes an image score: `border_share` of the shorter side is left out, `top_share` is averaged."""

    border_share: float = Field(default=0.07, ge=0, lt=0.4)
    top_share: float = Field(default=0.005, ge=0, le=1)


class AlgorithmSettings(Settings):
    """What every algorithm's section has: the most tiles that are trained on, and how a map becomes an image score."""

    max_train_tiles: int = Field(default=2000, ge=1, le=MOST)
    score: ScoreSettings = ScoreSettings()


class SteppedSettings(AlgorithmSettings):
    """What training by gradient steps needs: the validation split is evaluated every `check_every` steps.

    Training ends after `max_steps`, or where `patience` checks in a row were no better than the best.
    """

    batch: int = Field(ge=1, le=4096)
    learning_rate: float = Field(gt=0, le=10)
    max_steps: int = Field(ge=1, le=MOST)
    check_every: int = Field(default=25, ge=1, le=MOST)
    patience: int = Field(default=4, ge=1, le=MOST)


class FeatureSettings(Settings):
    """A frozen network and which of its layers, or a transformer's blocks, are used."""

    backbone: str
    layers: tuple[Layer, ...] = Field(min_length=1)

    def in_words(self) -> str:
        """Say what is used.

        >>> FeatureSettings(backbone="dinov2", layers=(5, 8)).in_words()
        'dinov2 (layers 5, 8)'
        """
        return f"{self.backbone} (layers {', '.join(map(str, self.layers))})"


class UnlabelledSettings(Settings):
    """Training on images that nobody labelled.

    At most a share `contamination` of the tiles, and of each kind's area, is taken to show defects. Up to
    `most_clusters` domains are told apart where their silhouette exceeds `separation`. Images are shown up to
    `max_side`. The pixel threshold is where about `false_blocks` places of a normal image would still be flagged.
    """

    former: ClassVar[Mapping[str, str]] = {"most_kinds": "most_clusters"}

    contamination: float = Field(default=0.1, gt=0, lt=0.5)
    false_blocks: float = Field(default=1.0, gt=0, le=1e6)
    most_clusters: int = Field(default=5, ge=1, le=1000)
    separation: float = Field(default=0.25, ge=0, lt=1)
    max_side: int = Field(default=3072, ge=256, le=65_536)
