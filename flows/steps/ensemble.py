"""The ensemble of a retrain: its members are versions of the same run, trained and stored once."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from flows.steps.algorithm import Shared, describe_failure, make_version
from flows.steps.outlook import durations_of
from flows.steps.tasks import assemble_task
from pipelines.core.progress import waiting
from pipelines.core.results import Failure, Trained, VersionSummary
from pipelines.training.ensemble.assemble import share_files
from pipelines.training.ensemble.choose import MemberChoice, choose_members
from pipelines.training.ensemble.settings import ENSEMBLE

log = logging.getLogger(__name__)


def add_ensemble(
    shared: Shared, models: list[VersionSummary], failed: list[Failure], known: Mapping[str, VersionSummary]
) -> None:
    """Make the ensemble of a run's versions, evaluate and register it, and add it to them.

    None is made where the settings ask for none, where one of its algorithms failed (the next retrain tries that one
    again), where a single member is left, which would be that version once more, and in a trial, which registers
    nothing that could be a member.

    Args:
        shared: Of the flow run.
        models: The run's versions, known ones among them; the ensemble is appended.
        failed: What failed; a failure of the ensemble is appended.
        known: By name, versions that are as wanted, an ensemble perhaps among them.

    Raises:
        KeyboardInterrupt: For Ctrl-C and SIGTERM, which are no failures.
    """
    job = shared.job
    if ENSEMBLE not in job.fingerprints:
        return
    if ENSEMBLE in known:
        log.info("retrain %s: ensemble version %s is as wanted", job.surface, known[ENSEMBLE].version)
        models.append(known[ENSEMBLE])
        return
    lost = [failure.algorithm for failure in failed if failure.algorithm in job.settings.ensemble_members]
    if lost or job.trial:
        why = f"{', '.join(lost)} failed" if lost else "a trial registers no members"
        log.warning("retrain %s: no ensemble is made: %s", job.surface, why)
        return
    try:
        with durations_of(shared.session, job).timed(ENSEMBLE):
            choice = choose_members(models, job.settings.ensemble, job.own.policy.latency_ms)
            if choice.alone:
                log.info(
                    "retrain %s: no ensemble is made: nothing joins %s (%s)", job.surface, choice.alone, choice.reasons
                )
            else:
                models.append(_make(shared, models, choice))
    except Exception as error:
        failed.append(describe_failure(ENSEMBLE, error))


def _make(shared: Shared, models: Sequence[VersionSummary], choice: MemberChoice) -> VersionSummary:
    session, job = shared.session, shared.job
    versions = {model.algorithm: model.version for model in models if model.version is not None}
    for name, reason in choice.left_out.items():
        log.info("retrain %s: %s is no member of the ensemble: %s", job.surface, name, reason)
    for name, why in choice.doubted.items():
        log.warning("retrain %s: %s joins the ensemble, its time is in doubt: %s", job.surface, name, why)
    lineage = {"members": ", ".join(f"{name}/{versions[name]}" for name in choice.members)}
    ours = shared._replace(job=job.model_copy(update={"lineage": {**job.lineage, **lineage}}))

    def fit(folder: Path) -> Trained:
        return assemble_task(session, job, choice, versions, folder)

    found = make_version(ours, ENSEMBLE, fit)
    _share(shared, choice, versions, found)
    return found


def _share(shared: Shared, choice: MemberChoice, versions: Mapping[str, int], found: VersionSummary) -> None:
    """Store no network twice, where the registry's files lie on this machine's disk."""
    tracking, surface = shared.session.tracking, shared.job.surface
    if found.version is not None and tracking.local:
        places = {name: tracking.folder(surface, versions[name]) for name in choice.members}
        with waiting("ensemble, share files"):
            share_files(tracking.folder(surface, found.version), places)
