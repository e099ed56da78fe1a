"""Settings of ensembles: which algorithms may be members, in which order, and what keeps one out."""

from typing import Annotated

from pydantic import Field

from pipelines.core.settings import Settings
from pipelines.models.settings import ScoreSettings

ENSEMBLE = "ensemble"
Weight = Annotated[float, Field(ge=0, le=1000)]


class EnsembleSettings(Settings):
    """How versions of one run become one; see pipelines/training/ensemble/choose.py.

    `members` are algorithms in the order in which they are taken, and how much the map of each counts; 0: it is never a
    member. One whose image AUROC on synthetic anomalies is below `least_auroc` stays out.
    """

    members: dict[str, Weight] = Field(
        default_factory=lambda: {"fastflow": 1.0, "efficientad": 0.3, "padim": 1.0, "anomalydino": 1.0}
    )
    least_auroc: float = Field(default=0.6, ge=0, le=1)
    score: ScoreSettings = ScoreSettings()
