"""What `tune` answers."""

from pipelines.core.records import Record
from pipelines.training.tuning.trials import Tried


class TuneResult(Record):
    """What the trials of an algorithm's settings came to.

    `tried` are all that came to an end, in this call or before; number 0 has the settings as they were. `best` is the
    one that is worth most. `lines` go into the surface's YAML; empty where no trial was worth more than the settings as
    they were. `run_id` is the MLflow run that the trials hang below.
    """

    surface: str
    algorithm: str
    data_version: str
    told_by: str
    tried: tuple[Tried, ...]
    best: Tried
    lines: str
    applied: bool
    run_id: str
    seconds: float
