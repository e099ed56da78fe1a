"""The decision that nothing needs training, made from what MLflow remembers."""

from flows.results import Champion, ModelResult, RetrainResult, ValidationCounts
from flows.stages import read_verdict
from pipelines.paths import Project
from pipelines.reports.wording import METRIC_NAMES
from pipelines.tracking.store import Tracking


def find_unchanged(
    project: Project, tracking: Tracking, surface: str, data_version: str, fingerprint: str
) -> RetrainResult | None:
    """Return what the last run with this fingerprint came to, or None where there is none that counts.

    A trial does not count, nor a run that failed or whose versions are gone from the registry.
    """
    versions = tracking.versions(surface)
    same = [v for v in versions if v.tags.get("fingerprint") == fingerprint and tracking.is_finished(v.run_id)]
    if not same:
        return None
    verdict = read_verdict(project, surface)
    champion = next((v for v in versions if "champion" in v.aliases), None)
    models = []
    for version in same[:1]:
        metrics = tracking.metrics(version.run_id)
        shown = {k: v for k, v in metrics.items() if k in _METRICS}
        models.append(
            ModelResult(
                algorithm=version.algorithm,
                version=version.version,
                run_id=version.run_id,
                metrics=shown,
                seconds=metrics.get("train_seconds", 0.0),
                peak_rss_mb=metrics.get("peak_rss_mb", 0.0),
            )
        )
    report = project.surface(surface).reports / same[0].run_id / "index.html"
    return RetrainResult(
        surface=surface,
        data_version=data_version,
        skipped=True,
        validation=ValidationCounts(images=verdict.images, quarantined=len(verdict.quarantined)),
        models=tuple(models),
        champion=Champion(algorithm=champion.algorithm, version=champion.version) if champion else None,
        report=str(report.relative_to(project.root)) if report.is_file() else None,
    )


_METRICS = {*METRIC_NAMES, *(f"select_{name}" for name in METRIC_NAMES)}
