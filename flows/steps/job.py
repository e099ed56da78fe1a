"""What a run of a flow is about, resolved once and handed to every task."""

import shlex
from collections.abc import Mapping

from prefect import runtime
from pydantic import Field

from flows.runtime.environment import flow_page
from flows.runtime.session import Session
from pipelines.core.records import Record, Split
from pipelines.core.results import Evaluation, Selection, Trained, TypeFigures
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.data.prepared import PreparedImage, read_index
from pipelines.data.versioning.versions import DataVersion
from pipelines.detector.version import VersionInfo
from pipelines.registry.load import Load
from pipelines.training.fingerprint import fingerprints, git_commit
from pipelines.training.run_settings import RunSettings
from pipelines.training.transfer.shots import relabel


class Job(Record):
    """One call of `retrain` or `adapt`. A `trial` has a name and is never registered.

    `splits` says which images are used, and as what; without, all are, as the surface splits them. `lineage` are tags
    that say what a version comes from.
    """

    surface: str
    profile: str
    trial: str | None
    settings: RunSettings
    own: SurfaceSettings
    data: DataVersion
    fingerprints: dict[str, str]
    commit: str
    splits: dict[str, Split] | None = None
    lineage: dict[str, str] = Field(default_factory=dict)

    @property
    def shots(self) -> int:
        """Count the images that a job with `splits` uses; the test split is not used but looked at."""
        return sum(split != Split.TEST for split in (self.splits or {}).values())

    def tags(self, algorithm: str | None = None) -> dict[str, str]:
        """Return what an MLflow run or version of this job carries; empty values are left out."""
        tags = {
            "data_version": self.data.version,
            "algorithm": algorithm or "",
            "fingerprint": self.fingerprints[algorithm] if algorithm else "",
            "git_commit": self.commit,
            "profile": self.profile,
            "prefect_flow_run": str(runtime.flow_run.id or ""),
            "prefect_page": flow_page(runtime.flow_run.ui_url),
            "trial": self.trial or "",
            **self.lineage,
        }
        return {name: value for name, value in tags.items() if value}


def read_images(session: Session, job: Job) -> list[PreparedImage]:
    """Read the surface's prepared images, those that the job uses, each as of the split that it has in the job.

    Args:
        session: Open on the job's surface.
        job: Without `splits` all images are used, as the surface splits them.

    Returns:
        The images, by path.

    Raises:
        ToolError: If preprocessing has not run, or the table of images is damaged.
    """
    images = read_index(session.paths.prepared)
    return images if job.splits is None else relabel(images, job.splits)


def command_again(
    words: list[str], profile: str, assignments: list[str] | None, options: Mapping[str, str] | None = None
) -> str:
    """Write the command that goes on with a run where it was stopped; one that was forced is not forced again.

    Args:
        words: Name of the command and what is its own.
        profile: As it was called with.
        assignments: KEY=VALUE words that changed settings.
        options: Further options with their values; one with an empty value is left out.

    Returns:
        A line for a shell.

    >>> command_again(["retrain", "oak"], "quick", ["algorithms=[padim, fastflow]"], {"--trial": ""})
    "knotwatch retrain oak --profile quick --set 'algorithms=[padim, fastflow]'"
    """
    pairs = [("--profile", profile), *(("--set", word) for word in assignments or []), *(options or {}).items()]
    return shlex.join(["knotwatch", *words, *(word for pair in pairs if pair[1] for word in pair)])


class EvaluatedVersion(Record):
    """A version on its way into the registry: what was trained, its calibration, what the splits say.

    `latency_ms` is how many milliseconds a megapixel takes at best; None of what is not to be registered.
    `load` is how busy the machine was meanwhile.
    """

    trained: Trained
    info: VersionInfo
    selection: Selection
    evaluation: Evaluation
    types: TypeFigures | None = None
    latency_ms: float | None = None
    load: Load | None = None


def resolve_job(session: Session, profile: str, assignments: list[str], trial: str | None, data: DataVersion) -> Job:
    """Resolve settings and fingerprints for the data that is there.

    Args:
        session: Open on the surface.
        profile: Profile of params.yaml.
        assignments: KEY=VALUE words that change settings; the later one wins.
        trial: Name of a run that is never registered; None registers.
        data: Present data version of the surface.

    Returns:
        The job, on all images as the surface splits them.

    Raises:
        SettingsError: For an unknown profile or key, or a value out of range.
    """
    settings = session.run_settings(profile, assignments)
    return Job(
        surface=session.surface,
        profile=profile,
        trial=trial,
        settings=settings,
        own=session.settings,
        data=data,
        fingerprints=fingerprints(data.version, settings, session.settings.policy),
        commit=git_commit(session.project.root),
    )
