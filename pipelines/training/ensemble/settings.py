"""Settings of ensembles: which algorithms may be members, in which order, and what keeps one out."""

from pydantic import Field

from pipelines.core.settings import Settings
from pipelines.models.settings import ScoreSettings

ENSEMBLE = "ensemble"


class EnsembleSettings(Settings):
    """How versions of one run become one; see pipelines/training/ensemble/choose.py.

    `members` are names of algorithms in the order in which they are taken; empty: no ensemble is made. One whose image
    AUROC on synthetic anomalies is below `least_auroc` stays out.
    """

    members: tuple[str, ...] = ("fastflow", "efficientad", "padim", "anomalydino")
    least_auroc: float = Field(default=0.6, ge=0, le=1)
    score: ScoreSettings = ScoreSettings()
