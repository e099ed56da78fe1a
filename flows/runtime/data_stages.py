"""DVC's stages as steps: run one, publish what it made. The flow, `data add` and `data update` share these."""

import logging
import sys

from flows.runtime.locks import data_lock
from pipelines.core.errors import GateError
from pipelines.core.parsing import read_record
from pipelines.core.paths import Project
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import renew_surface
from pipelines.data.versioning.versions import DataVersion, capture, run_dvc

log = logging.getLogger(__name__)


def run_validate(project: Project, surface: str) -> ValidationReport:
    """Reproduce the surface's `validate` stage and return its verdict, good or bad."""
    renew_surface(project, surface)
    with data_lock(project):
        run_dvc(project, "repro", "--quiet", f"validate@{surface}", quiet=not sys.stderr.isatty())
    verdict = read_verdict(project, surface)
    log.info(
        "validate %s: %d images, %d quarantined, %d duplicates, %d warnings",
        *(surface, verdict.images, len(verdict.quarantined), len(verdict.duplicates), len(verdict.warnings)),
    )
    return verdict


def run_preprocess(project: Project, surface: str) -> DataVersion:
    """Reproduce the surface's `preprocess` stage and return the data version that it made.

    Raises:
        GateError: where the verdict stops the run.
    """
    refuse_bad(read_verdict(project, surface), surface)
    with data_lock(project):
        run_dvc(project, "repro", "--quiet", f"preprocess@{surface}", quiet=not sys.stderr.isatty())
    kept = capture(project, surface)
    log.info("preprocess %s: data version %s", surface, kept.version)
    return kept


def read_verdict(project: Project, surface: str) -> ValidationReport:
    return read_record(ValidationReport, project.surface(surface).verdict, f"run `knotwatch data update {surface}`")


def refuse_bad(verdict: ValidationReport, surface: str) -> None:
    """Raise GateError, with the list of files, for a verdict that stops the run."""
    if verdict.accepted:
        return
    listed = "\n".join(f"  {q.path}: {q.reason}" for q in verdict.quarantined)
    raise GateError(
        f"validation stopped '{surface}': {'; '.join(verdict.reasons)}\n{listed}",
        hint=f"mend or remove these files and run `knotwatch data update {surface}` (with --prune what vanished goes), "
        f"or raise validation.max_quarantined_share in data/surfaces/{surface}.yaml",
    )
