"""What the same adaptation came to before: with nothing changed, nothing is tried again."""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress

from flows.adapting.origins import Origin
from flows.adapting.results import AdaptResult
from flows.runtime.session import Session
from flows.steps.job import Job
from flows.steps.results import Champion
from flows.steps.tasks import decide_task
from pipelines.core.errors import ModelError
from pipelines.data.reuse import hash_modules
from pipelines.tracking.runs import Run
from pipelines.tracking.store import Tracking

TAG = "adaptation"
_FILE = "adaptation.json"


def fingerprint_adaptation(job: Job, origins: Sequence[Origin], counts: Sequence[int], strategy: str) -> str:
    """Hash all that an adaptation's result depends on.

    Args:
        job: Counts with its fingerprints, its settings of `adapt` and the largest image that the target takes.
        origins: Versions that are started from, in any order.
        counts: Numbers of images, in any order.
        strategy: As it was requested, `auto` included.

    Returns:
        16 hex digits.
    """
    parts = {
        "fingerprints": job.fingerprints,
        "settings": job.settings.adapt.model_dump(mode="json"),
        "max_megapixels": job.own.validation.max_megapixels,
        # A number alone may be given twice, where a registered model was deleted.
        "origins": sorted(f"{origin.name} {origin.run_id}" for origin in origins),
        "shots": sorted(counts),
        "strategy": strategy,
        "code": hash_modules(
            *(f"flows.{name}" for name in ("adapt", "adapting.choice", "adapting.attempt", "adapting.attempts")),
        ),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def keep_result(run: Run, result: AdaptResult) -> None:
    """Write the result down with the run that it is of.

    Args:
        run: Parent run of the adaptation, not ended yet, with the tag `TAG` that `find_adapted` looks for.
        result: Kept whole, as JSON.
    """
    run.text(result.model_dump_json(indent=1), _FILE)


def find_adapted(tracking: Tracking, target: str, fingerprint: str) -> AdaptResult | None:
    """Return what the newest finished adaptation with this fingerprint came to.

    Args:
        tracking: Store of the target's runs.
        target: Surface that was adapted to; it may have no run yet.
        fingerprint: From `fingerprint_adaptation`.

    Returns:
        The result as it was kept. None where there is none, where its version is gone, or where a strategy failed: what
        made it fail may be mended.
    """
    for run_id in tracking.tag_values(target, TAG, fingerprint).values():
        with suppress(ModelError, ValueError):
            found = AdaptResult.model_validate_json(tracking.read_text(run_id, _FILE))
            version = tracking.version(target, found.chosen.version)
            if not found.failed and tracking.parent(version.run_id) == run_id:
                return found
    return None


def propose_again(session: Session, known: AdaptResult) -> AdaptResult:
    """Answer with what is known, and with what is decided and in use by now; what still waits is proposed again.

    Args:
        session: Open on the target of the adaptation.
        known: Result whose version is still registered.

    Returns:
        A copy that is `skipped`, with the present decision and champion, and without the page where that is gone.
    """
    tracking, root = session.tracking, session.project.root
    record = decide_task(session, tracking.version(known.target, known.chosen.version), known.chosen.reason)
    champion = Champion.of(tracking.champion(known.target))
    page = known.report if known.report and (root / known.report).is_file() else None
    return known.model_copy(update={"skipped": True, "decision": record, "champion": champion, "report": page})
