"""Attempts that came to an end in an adaptation that did not: the next call takes them instead of trying again."""

import hashlib
import json
import shutil
from contextlib import suppress
from pathlib import Path

from flows.adapting.attempt import Attempt
from flows.adapting.origins import Origin
from flows.runtime.leftovers import attempts_folder
from flows.runtime.session import Session
from flows.steps.job import Job
from pipelines.core.errors import KnotwatchError
from pipelines.core.files import write_whole
from pipelines.core.parsing import read_record
from pipelines.core.records import Strategy
from pipelines.data.reuse import hash_modules

_FILE = "attempt.json"


def fingerprint_attempt(job: Job, origin: Origin, strategy: Strategy) -> str:
    """Hash all that one attempt depends on; which others are tried beside it does not count.

    Args:
        job: The attempt's own: its images, as what they are used, and its settings.
        origin: Version that is started from.
        strategy: How its algorithm is brought to the target.

    Returns:
        16 hex digits.
    """
    parts = {
        "fingerprint": job.fingerprints[origin.algorithm],
        "adapt": job.settings.adapt.model_dump(mode="json"),
        "evaluation": job.settings.evaluation.model_dump(mode="json"),
        "max_megapixels": job.own.validation.max_megapixels,
        "splits": sorted((job.splits or {}).items()),
        # A number alone may be given twice, where a registered model was deleted.
        "origin": f"{origin.name} {origin.run_id} {origin.algorithm}",
        "strategy": strategy,
        "code": hash_modules("flows.adapting.attempt"),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def keep_attempt(session: Session, fingerprint: str, found: Attempt) -> Attempt:
    """Move a finished attempt's network to where no later call takes it for half-made.

    Args:
        session: Open on the target, and held.
        fingerprint: From `fingerprint_attempt`.
        found: Its folder is moved.

    Returns:
        The same attempt, in its new folder.
    """
    folder = attempts_folder(session.project, session.surface) / fingerprint
    write_whole(Path(found.folder) / _FILE, found.model_dump_json())
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    Path(found.folder).rename(folder)
    return found.model_copy(update={"folder": str(folder)})


def find_attempt(session: Session, fingerprint: str) -> Attempt | None:
    """Find what an earlier call kept; None where it kept none, or its MLflow run is gone.

    Args:
        session: Open on the target.
        fingerprint: From `fingerprint_attempt`.

    Returns:
        The attempt, in the folder where it lies now.
    """
    folder = attempts_folder(session.project, session.surface) / fingerprint
    if not (folder / _FILE).is_file():
        return None
    with suppress(KnotwatchError):
        found = read_record(Attempt, folder / _FILE, "adapt with --force")
        if session.tracking.is_finished(found.run_id):
            return found.model_copy(update={"folder": str(folder)})
    return None


def forget_attempts(session: Session) -> None:
    """Remove what is kept for a target: its adaptation has come to an end."""
    shutil.rmtree(attempts_folder(session.project, session.surface), ignore_errors=True)
