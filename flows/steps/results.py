"""What commands answer: the objects that `--json` prints."""

from typing import TYPE_CHECKING

from pipelines.core.errors import KnotwatchError
from pipelines.core.records import Record
from pipelines.core.results import Failure, Inspected, VersionSummary
from pipelines.registry.record import DecisionRecord

if TYPE_CHECKING:
    from pipelines.tracking.registry import ModelVersion


class ValidationCounts(Record):
    images: int
    quarantined: int


class ModelResult(Record):
    """One algorithm's version; `reused` where an earlier retrain had trained it.

    Figures of the validation split are named `validation_NAME`.
    """

    algorithm: str
    version: int | None
    run_id: str
    metrics: dict[str, float]
    seconds: float
    peak_rss_mb: float
    precision: str
    folder_mb: float
    reused: bool = False

    @classmethod
    def of(cls, compared: VersionSummary, *, reused: bool) -> "ModelResult":
        """Take what an answer tells of a version from its summary.

        Args:
            compared: Figures of its validation split get names that begin with `validation_`.
            reused: Whether an earlier retrain had trained it.

        Returns:
            The version in an answer; without a number in a trial.
        """
        same = {"algorithm", "version", "run_id", "seconds", "peak_rss_mb", "precision", "folder_mb"}
        return cls(**compared.model_dump(include=same), metrics=compared.figures(), reused=reused)


class Proposed(Record):
    """The version that a retrain proposes; without a number in a trial."""

    algorithm: str
    version: int | None
    reason: str


class Champion(Record):
    algorithm: str
    version: int

    @classmethod
    def of(cls, version: "ModelVersion | None") -> "Champion | None":
        """Take the version in use; None where there is none."""
        return cls(algorithm=version.algorithm, version=version.version) if version else None


class MlflowPages(Record):
    """Pages of MLflow about a version: its surface's experiment, its run, and itself in the registry."""

    experiment: str
    run: str | None = None
    version: str | None = None


class RetrainResult(Record):
    """One retrain. `skipped` means that data, settings and code were as they were before; `report` is relative.

    `failed` names algorithms that came to no end; the other ones are registered all the same. `decision` is what the
    gate said of the proposed version, now or when it was proposed first. `mlflow` links to that version where a server
    shows it.
    """

    surface: str
    data_version: str
    skipped: bool
    validation: ValidationCounts
    models: tuple[ModelResult, ...] = ()
    failed: tuple[Failure, ...] = ()
    proposed: Proposed | None = None
    decision: DecisionRecord | None = None
    champion: Champion | None = None
    report: str | None = None
    mlflow: MlflowPages | None = None
    seconds: float = 0.0


class SomeFailedError(KnotwatchError):
    """An algorithm failed; `result` says what came of the others."""

    def __init__(self, result: RetrainResult) -> None:
        failed = result.failed
        kept = ", ".join(f"{m.algorithm} version {m.version}" for m in result.models if m.version)
        super().__init__(
            "; ".join(f"{f.algorithm} failed: {f.problem}" for f in failed)
            + (f". Registered all the same: {kept}" if kept else ""),
            hint="; ".join(dict.fromkeys(f.hint for f in failed))
            + ". Then retrain again: what is registered is not trained again",
        )
        self.result = result


class InspectResult(Record):
    """What `inspect --json` prints. `model` names surface, version and algorithm, `report` the page for people.

    With a `table`, the images stand there and `images` is empty; `before` counts those that an earlier, stopped
    call had done.
    """

    surface: str
    model: str
    image_threshold: float
    pixel_threshold: float
    images: tuple[Inspected, ...]
    total: int
    anomalous: int
    unreadable: int
    before: int = 0
    table: str | None = None
    out: str | None
    report: str | None
    seconds: float


class ModelLine(Record):
    """One registered version in a list; `why` is its last decision in a line."""

    version: int
    algorithm: str
    aliases: tuple[str, ...]
    data_version: str
    run_id: str
    metrics: dict[str, float]
    why: str = ""
