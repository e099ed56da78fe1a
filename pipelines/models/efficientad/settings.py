"""EfficientAD's settings."""

from pydantic import Field

from pipelines.models.search import Choice, Real, Search
from pipelines.models.settings import MOST, SteppedSettings


class EfficientAdSettings(SteppedSettings):
    """`teacher` is `bundled`, `official` (fetched before) or a folder; `penalty` a folder of images of anything.

    The student learns from the `hard_share` highest of its distances.
    """

    teacher: str = "bundled"
    penalty: str | None = None
    hard_share: float = Field(default=0.05, gt=0, le=1)
    batch: int = Field(default=1, ge=1, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    max_steps: int = Field(default=150, ge=1, le=MOST)
    # Kept teacher outputs take 1 to 3 MB a tile and light, and some hundred steps see no more tiles.
    max_train_tiles: int = Field(default=300, ge=1, le=MOST)


# Not `hard_share`: the validation loss, by which trials are stopped early, would mean something else in each.
SEARCH: Search = {
    "learning_rate": Real(low=1e-4, high=5e-3, log=True),
    "batch": Choice(values=(1, 2, 4)),
    "score.top_share": Real(low=0.0005, high=0.05, log=True),
}
