"""What `adapt` answers: the object that `--json` prints."""

from collections.abc import Mapping
from typing import ClassVar

from flows.adapting.attempt import Attempt
from flows.steps.results import Champion, MlflowPages
from pipelines.core.records import Interval, Record
from pipelines.core.results import Failure
from pipelines.registry.record import DecisionRecord


class AttemptResult(Record):
    """One strategy of one algorithm; `interval` is the image AUROC's on the test split, None without labelled defects.

    Figures of held-out images with synthetic anomalies are named `validation_NAME`; the others are of `tested`
    images of the test split.
    """

    metric_fields: ClassVar[tuple[str, ...]] = ("metrics",)

    algorithm: str
    strategy: str
    shots: int
    tested: int = 0
    metrics: dict[str, float]
    interval: tuple[float, float] | None
    run_id: str
    seconds: float

    @classmethod
    def of(cls, found: Attempt) -> "AttemptResult":
        auroc = found.metrics.get("image_auroc")
        bounds = (auroc.low, auroc.high) if auroc and auroc.low is not None and auroc.high is not None else None
        metrics = {name: figure.value for name, figure in found.metrics.items()}
        return cls(
            algorithm=found.algorithm,
            strategy=found.strategy,
            shots=found.shots,
            tested=len(found.test),
            metrics=metrics | {f"validation_{name}": value for name, value in found.selection.metrics.items()},
            interval=bounds,
            run_id=found.run_id,
            seconds=found.seconds,
        )


class ChosenResult(Record):
    algorithm: str
    strategy: str
    version: int
    reason: str


class AdaptResult(Record):
    """One adaptation. `shots` images were used; `gain_over_scratch` is by how much the best that learnt from the source
    has a higher image AUROC than the best that did without, with a paired interval.

    `decision` is what the target's gate said of the version. `chosen_with_labels` says in words what the labelled
    defects of the test split would have chosen; they did not. `skipped` says that nothing had changed since the same
    adaptation, whose result this is. `mlflow` links to the chosen version where a server shows it.
    """

    former: ClassVar[Mapping[str, str]] = {"promise": "guarantee"}

    source: str
    target: str
    shots: int
    results: tuple[AttemptResult, ...]
    failed: tuple[Failure, ...] = ()
    chosen: ChosenResult
    gain_over_scratch: Interval | None
    summary: str
    guarantee: str
    chosen_with_labels: str | None = None
    decision: DecisionRecord | None = None
    champion: Champion | None = None
    report: str | None
    mlflow: MlflowPages | None = None
    skipped: bool = False
    seconds: float = 0.0
