"""One version before the gate: its evidence is gathered, the decision is made, kept, and carried out."""

from contextlib import suppress

from flows.operations.notify import notify
from flows.runtime.data_stages import read_verdict
from flows.runtime.leftovers import scratch_folder
from flows.runtime.locks import moves_lock
from flows.runtime.session import Session
from pipelines.core.errors import BusyError, KnotwatchError, ModelError
from pipelines.core.files import write_whole
from pipelines.core.parsing import parse_json
from pipelines.core.records import Split
from pipelines.core.results import ValidationReport
from pipelines.data.prepared import read_index
from pipelines.data.versioning.versions import data_version
from pipelines.detector.checksums import TAG
from pipelines.detector.scan import Wrap
from pipelines.registry.aliases import carry_out
from pipelines.registry.decision import CheckResult, Decision
from pipelines.registry.decision_log import DecisionLog
from pipelines.registry.descriptions import describe_model, describe_versions, report_address
from pipelines.registry.evidence import Candidate, EvaluationContext, gather_evidence
from pipelines.registry.gate import decide
from pipelines.registry.record import DecisionRecord, Outcome, Trigger
from pipelines.reports.pages import link_up, link_version, render_decision
from pipelines.tracking.data import IMAGES, VERDICT
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking


class OvertakenError(BusyError):
    """Another decision was kept while this one was made."""


# A decision must not depend on the effort that a version was trained with.
_PROFILE = "full"


def judge(
    session: Session,
    version: ModelVersion,
    champion: ModelVersion | None,
    trigger: Trigger,
    wrap: Wrap | None = None,
) -> DecisionRecord:
    """Decide on a version; nothing is written. One that cannot be judged is refused, with the reason.

    Args:
        session: Open on the version's surface, whose present images, settings and policy decide.
        version: Candidate.
        champion: Version to compare with; None where there is none. One whose files are lost does not keep others out.
        trigger: Who asked, for the record.
        wrap: Puts a network before each of the versions', such as one that knows the maps of a retrain. None: none.

    Returns:
        The decision with all figures, numbered next in the surface's log and not kept yet.

    Raises:
        SettingsError: If the surface's settings cannot be read.
        ToolError: If the prepared images cannot be read.
    """
    context, tracking = _context(session, wrap), session.tracking
    # Before the work: a decision that somebody else keeps meanwhile takes this number.
    number = DecisionLog(tracking, version.surface).next_number(version)
    found: Decision | CheckResult
    try:
        candidate = _candidate(tracking, version)
        known = _as_known(session, champion) if champion else None
        found = decide(
            gather_evidence(context, candidate, known, _validation(session, version)), context.own.policy.gate
        )
    except KnotwatchError as error:
        who = f"version {version.version} ({version.algorithm})"
        found = CheckResult(ok=False, message=f"{who} refused: it cannot be judged: {error.problem}")
    return DecisionRecord.judged(number, version, trigger, champion.version if champion else None, found)


def keep(session: Session, record: DecisionRecord) -> DecisionRecord:
    """Keep a decision record with its version and as a page, then move the aliases; people are told of a refusal.

    Args:
        session: Open on the record's surface.
        record: The next one of the surface's log; its version is registered.

    Returns:
        `record`, as it is.

    Raises:
        OvertakenError: If another decision was kept, or the champion moved, since `record` was begun. Nothing is kept.
    """
    with moves_lock(session.project, record.surface):
        return _keep(session, record)


def _keep(session: Session, record: DecisionRecord) -> DecisionRecord:
    tracking, reports = session.tracking, session.paths.reports
    tracking.forget()
    version = tracking.version(record.surface, record.version)
    champion, named = tracking.champion(record.surface), tracking.aliases(record.surface).get("champion")
    # The alias may name a version that was deleted on MLflow's page.
    stands = record.trigger == Trigger.CHAMPION or record.before in {champion.version if champion else None, named}
    if not stands or DecisionLog(tracking, record.surface).next_number(version) != record.number:
        raise OvertakenError(
            f"another decision about '{record.surface}' was kept while version {record.version} was judged",
            hint=f"`knotwatch models {record.surface}` says which; then call this again",
        )
    folder = reports / "decisions"
    above = link_version(reports, folder, version.run_id, f"version {version.version}")
    page = render_decision(record, (link_up(reports, folder), *above))
    DecisionLog(tracking, record.surface).add(version, record, page)
    write_whole(folder / f"{record.number:04d}.html", page)
    carry_out(tracking, record)
    tracking.describe_model(record.surface, describe_model(record.surface, record))
    report = report_address(tracking.experiment(record.surface), version.run_id) if version.run_id else ""
    # A champion that was deleted on MLflow's page has no page any more.
    left = {known.version for known in tracking.versions(record.surface)}
    for number, said in describe_versions(record, report).items():
        if number in left:
            tracking.describe_version(record.surface, number, said)
    if record.outcome == Outcome.REFUSED:
        notify(session.project, record.surface, f"version {record.version} was refused", record.summary)
    return record


def _context(session: Session, wrap: Wrap | None) -> EvaluationContext:
    settings = session.run_settings(_PROFILE, [])
    images = read_index(session.paths.prepared)
    scratch = scratch_folder(session.project, session.surface)
    return EvaluationContext(session.paths, session.settings, images, settings.evaluation, settings.seed, scratch, wrap)


def _candidate(tracking: Tracking, version: ModelVersion) -> Candidate:
    """Name a version, its folder and what it has seen; raise ModelError where its files are gone."""
    splits: dict[str, Split] = {}
    with suppress(ModelError, ValueError, TypeError, KeyError):
        rows = parse_json(tracking.read_text(version.run_id, IMAGES))
        # Lists of versions made before the field's words have the key `part`.
        splits = {row["path"]: Split(row.get("split") or row["part"]) for row in rows}
    seen = frozenset(path for path, split in splits.items() if split != Split.TEST)
    learnt = frozenset(path for path, split in splits.items() if split == Split.TRAIN)
    folder = tracking.folder(version.surface, version.version)
    registered = version.tags.get(TAG, "")
    return Candidate(version.version, version.algorithm, folder, seen, learnt, registered=registered)


def _as_known(session: Session, champion: ModelVersion) -> Candidate:
    try:
        return _candidate(session.tracking, champion)
    except ModelError as error:
        # A champion whose files are lost must not keep a good candidate out.
        return Candidate(champion.version, champion.algorithm, session.project.state, lost=error.problem)


def _validation(session: Session, version: ModelVersion) -> CheckResult:
    """Find the verdict on the data that a version was trained on: its run's, its retrain's, or the present one."""
    verdict, tracking = None, session.tracking
    for run_id in (version.run_id, tracking.parent(version.run_id) if version.run_id else None):
        if run_id and verdict is None:
            with suppress(ModelError, ValueError):
                verdict = ValidationReport.model_validate_json(tracking.read_text(run_id, VERDICT))
    if verdict is None and version.tags.get("data_version") == data_version(session.project, version.surface):
        verdict = read_verdict(session.project, version.surface)
    if verdict is None:
        return CheckResult(ok=False, message="nothing says that the data it was trained on passed validation")
    fine = f"{verdict.usable:,} of {verdict.images:,} images usable"
    return CheckResult.of((verdict.reasons or ("refused",)) if not verdict.accepted else (), fine)
