"""What a run of a flow is about, resolved once and handed to every task."""

from prefect import runtime

from pipelines.config import RunSettings, SurfaceSettings, read_surface, resolve_run
from pipelines.fingerprint import fingerprints, git_commit
from pipelines.loader import VersionInfo
from pipelines.paths import Project
from pipelines.records import Algorithm, Evaluation, Record, Selection, Trained, TypeFigures
from pipelines.versions import DataVersion


class Job(Record):
    """One call of `retrain`. A `trial` has a name and is never registered."""

    surface: str
    profile: str
    trial: str | None
    settings: RunSettings
    own: SurfaceSettings
    data: DataVersion
    fingerprints: dict[Algorithm, str]
    commit: str

    def tags(self, algorithm: Algorithm | None = None) -> dict[str, str]:
        """Return what an MLflow run or version of this job carries; empty values are left out."""
        tags = {
            "data_version": self.data.version,
            "algorithm": algorithm or "",
            "fingerprint": self.fingerprints[algorithm] if algorithm else "",
            "git_commit": self.commit,
            "profile": self.profile,
            "prefect_flow_run": str(runtime.flow_run.id or ""),
            "prefect_page": str(runtime.flow_run.ui_url or ""),
            "trial": self.trial or "",
        }
        return {name: value for name, value in tags.items() if value}


class Candidate(Record):
    """A version on its way into the registry: what was trained, its calibration, what the parts say."""

    trained: Trained
    info: VersionInfo
    selection: Selection
    evaluation: Evaluation
    types: TypeFigures | None = None


def resolve_job(
    project: Project, surface: str, profile: str, assignments: list[str], trial: str | None, data: DataVersion
) -> Job:
    """Resolve settings and fingerprint for the data that is there."""
    own = read_surface(project, surface)
    settings = resolve_run(project, own, profile, assignments)
    return Job(
        surface=surface,
        profile=profile,
        trial=trial,
        settings=settings,
        own=own,
        data=data,
        fingerprints=fingerprints(data.version, settings, own.policy),
        commit=git_commit(project.root),
    )
