"""What a flow leaves on its Prefect page."""

from collections.abc import Sequence

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from flows.runtime.environment import mlflow_address
from flows.runtime.session import Session
from flows.steps.results import RetrainResult
from pipelines.core.results import Quarantined, ValidationReport
from pipelines.tracking.pages import run_page

_SHOWN = 50


def publish_verdict(surface: str, verdict: ValidationReport) -> None:
    """Show what validation found, with the reason for each file that was left out.

    Args:
        surface: Names the artefact, of which Prefect keeps all versions.
        verdict: At most 50 quarantined files and 50 duplicates are listed. Names are escaped.
    """
    state = "accepted" if verdict.accepted else "**refused**: " + _plain("; ".join(verdict.reasons))
    lines = [
        f"# Validation of {surface}: {state}",
        f"{verdict.images} images, {verdict.usable} usable, {len(verdict.quarantined)} quarantined, "
        f"{len(verdict.duplicates)} duplicates",
        *_table("Quarantined", verdict.quarantined),
        *_table("Duplicates", verdict.duplicates),
        *(f"- {_plain(warning)}" for warning in verdict.warnings),
    ]
    create_markdown_artifact("\n\n".join(lines), key=f"validation-{surface}", description="Great Expectations' verdict")


def publish_result(session: Session, result: RetrainResult) -> None:
    """Show the algorithms side by side, the proposal, and the way to their MLflow pages.

    Args:
        session: Of the retrain; there are links only where a server shows MLflow's pages.
        result: One row a version or failure.
    """
    rows = [
        {
            "algorithm": m.algorithm,
            "version": m.version or "trial",
            **{name: round(value, 4) for name, value in m.metrics.items()},
            "training seconds": round(m.seconds, 1),
            "peak memory MB": round(m.peak_rss_mb),
            "size MB": round(m.folder_mb, 1),
        }
        for m in result.models
    ]
    rows += [{"algorithm": f.algorithm, "version": f"failed: {f.problem}"} for f in result.failed]
    said = [f"data version {result.data_version}"]
    if result.proposed:
        said.append(f"proposed: {result.proposed.algorithm}, {_plain(result.proposed.reason)}")
    if result.decision:
        said.append(_plain(result.decision.summary))
    create_table_artifact(rows, key=f"models-{result.surface}", description="; ".join(said))
    server = mlflow_address(session.project)
    for model in result.models:
        if server:
            page = run_page(server, session.tracking.experiment(result.surface), model.run_id)
            key = f"mlflow-{result.surface}-{model.algorithm}"
            create_link_artifact(page, key=key, link_text=f"MLflow run of {model.algorithm}")


def _table(title: str, files: Sequence[Quarantined]) -> list[str]:
    if not files:
        return []
    rows = [f"| {_plain(f.path)} | {_plain(f.reason)} |" for f in files[:_SHOWN]]
    rest = f"and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ["\n".join([f"| {title} | reason |", "| --- | --- |", *rows]), rest]


def _plain(text: str) -> str:
    """Keep a file's name from being read as Markdown or HTML."""
    for character in "\\`*_{}[]<>|#":
        text = text.replace(
            character, f"\\{character}" if character not in "<>" else {"<": "&lt;", ">": "&gt;"}[character]
        )
    return text
