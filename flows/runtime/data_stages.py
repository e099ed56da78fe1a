"""DVC's stages as steps: run one, publish what it made. The flow, `data add` and `data update` share these."""

import logging
import sys
from contextlib import nullcontext
from datetime import UTC, datetime

from flows.runtime.locks import data_lock
from pipelines.core.errors import GateError
from pipelines.core.files import write_whole
from pipelines.core.parsing import read_record
from pipelines.core.paths import Project, SurfacePaths
from pipelines.core.progress import waiting
from pipelines.core.records import Record
from pipelines.core.results import Unused, ValidationReport
from pipelines.core.surface_settings import SurfaceSettings, renew_surface
from pipelines.data.layouts.unused import describe_unused
from pipelines.data.splits.warnings import warn_of_small_splits
from pipelines.data.versioning.dvc_command import run_dvc
from pipelines.data.versioning.versions import DataVersion, capture
from pipelines.reports.pages import link_up
from pipelines.reports.verdict_page import PAGE_NAME, VerdictPage, show_refused, write_verdict_page

log = logging.getLogger(__name__)


class SourceNotes(Record):
    """The file that keeps what was not used of a source when it was last taken in, and what else there is to say."""

    files: tuple[Unused, ...]
    warnings: tuple[str, ...] = ()


def note_unused(paths: SurfacePaths, unused: tuple[Unused, ...], warnings: tuple[str, ...] = ()) -> None:
    """Keep what was not used of a surface's source beside its verdict, which is a hash of the data and stays without.

    Args:
        paths: The surface's.
        unused: What was found when the source was taken in; it replaces what was found before.
        warnings: What else was found then.

    Raises:
        OSError: If the system refuses.
    """
    write_whole(paths.unused, SourceNotes(files=unused, warnings=warnings).model_dump_json(indent=1) + "\n")


def run_validate(project: Project, surface: str, settings: SurfaceSettings) -> ValidationReport:
    """Reproduce the surface's `validate` stage.

    The surface's YAML is given its present keys first.

    Args:
        project: Project whose DVC runs the stage; another DVC command is waited for, an hour at most.
        surface: Surface that the caller holds, with its raw files in place.
        settings: The surface's, for what its splits must be large enough for.

    Returns:
        The verdict, good or bad, with warnings of splits that are small for the surface's policy.

    Raises:
        ToolError: If the stage fails.
        BusyError: If the other DVC command does not end.
    """
    renew_surface(project, surface)
    _run_stage(project, f"validate@{surface}")
    verdict = read_warned_verdict(project, surface, settings)
    log.info(
        "validate %s: %d images, %d quarantined, %d duplicates, %d warnings",
        *(surface, verdict.images, len(verdict.quarantined), len(verdict.duplicates), len(verdict.warnings)),
    )
    _write_page(project.surface(surface), verdict, settings)
    return verdict


def _write_page(paths: SurfacePaths, verdict: ValidationReport, settings: SurfaceSettings) -> None:
    extra = "validation/index.html"
    limit = settings.validation.max_megapixels
    page = VerdictPage(
        surface=paths.name,
        date=datetime.now(UTC).strftime("%d %B %Y, %H:%M UTC"),
        report=verdict,
        quarantined=show_refused(verdict.quarantined, paths.source, limit),
        links=(link_up(paths.reports, paths.reports),),
        extra=extra if (paths.reports / extra).is_file() else "",
    )
    write_verdict_page(page, paths.reports / PAGE_NAME)


def _run_stage(project: Project, stage: str) -> None:
    """Reproduce a stage; on a terminal it shows itself how far it is, elsewhere a line says that it works."""
    shown = sys.stderr.isatty()
    with data_lock(project), nullcontext() if shown else waiting(stage.replace("@", " ")):
        run_dvc(project, "repro", "--quiet", stage, quiet=not shown)


def run_preprocess(project: Project, surface: str) -> DataVersion:
    """Reproduce the surface's `preprocess` stage.

    Args:
        project: Project whose DVC runs the stage; another DVC command is waited for, an hour at most.
        surface: Surface that the caller holds, validated already.

    Returns:
        The data version that it made, of which the project keeps a copy.

    Raises:
        GateError: If the verdict stops the run.
        ToolError: If the stage fails.
        BusyError: If the other DVC command does not end.
    """
    refuse_bad(read_verdict(project, surface), surface)
    _run_stage(project, f"preprocess@{surface}")
    kept = capture(project, surface)
    log.info("preprocess %s: data version %s", surface, kept.version)
    return kept


def read_verdict(project: Project, surface: str) -> ValidationReport:
    """Read what the surface's last validation found.

    Args:
        project: Project that holds the surface.
        surface: Surface that was validated.

    Returns:
        The verdict as the stage wrote it, which may be of older data than the present.

    Raises:
        ToolError: If there is none, or its file is damaged.
    """
    hint = f"run `knotwatch data update {surface}`"
    return read_record(ValidationReport, project.surface(surface).verdict, hint)


def read_warned_verdict(project: Project, surface: str, settings: SurfaceSettings) -> ValidationReport:
    """Read the same with what is no part of the data: splits that are small for the policy, files that are not used.

    Args:
        project: Project that holds the surface.
        surface: Surface that was validated.
        settings: The surface's.

    Returns:
        The verdict, for people to see, with warnings of both.

    Raises:
        ToolError: If there is none, or its file is damaged.
    """
    verdict = read_verdict(project, surface)
    verdict = warn_of_small_splits(verdict, settings.policy.false_positive_rate, settings.split)
    note = project.surface(surface).unused
    if not note.is_file():
        return verdict
    notes = read_record(SourceNotes, note, f"run `knotwatch data update {surface}`")
    said = filter(None, [describe_unused(notes.files), *notes.warnings])
    return verdict.model_copy(update={"unused": notes.files, "warnings": (*verdict.warnings, *said)})


def refuse_bad(verdict: ValidationReport, surface: str) -> None:
    """Stop where a verdict stops the run.

    Args:
        verdict: One that is accepted passes.
        surface: Named in the error and its hint.

    Raises:
        GateError: With the reasons and the list of files, if the verdict is not accepted.
    """
    if verdict.accepted:
        return
    listed = "\n".join(f"  {q.path}: {q.reason}" for q in verdict.quarantined)
    raise GateError(
        f"validation stopped '{surface}': {'; '.join(verdict.reasons)}\n{listed}",
        hint=f"{verdict.advice} (data/surfaces/{surface}.yaml); then run `knotwatch data update {surface}`",
    )
