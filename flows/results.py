"""What commands answer: the objects that `--json` prints."""

from pipelines.records import Inspected, Record


class ValidationCounts(Record):
    images: int
    quarantined: int


class ModelResult(Record):
    algorithm: str
    version: int | None
    run_id: str
    metrics: dict[str, float]
    seconds: float
    peak_rss_mb: float


class Champion(Record):
    algorithm: str
    version: int


class RetrainResult(Record):
    """One retrain. `skipped` means that data, settings and code were as they were before; `report` is relative."""

    surface: str
    data_version: str
    skipped: bool
    validation: ValidationCounts
    models: tuple[ModelResult, ...] = ()
    champion: Champion | None = None
    report: str | None = None
    seconds: float = 0.0


class InspectResult(Record):
    """What `inspect --json` prints. `model` names surface, version and algorithm."""

    surface: str
    model: str
    image_threshold: float
    pixel_threshold: float
    images: tuple[Inspected, ...]
    out: str
    seconds: float


class ModelLine(Record):
    """One registered version in a list."""

    version: int
    algorithm: str
    aliases: tuple[str, ...]
    data_version: str
    run_id: str
    metrics: dict[str, float]
