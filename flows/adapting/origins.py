"""What an adaptation starts from: of each algorithm one version of the source, and what its network is made of."""

import logging
from collections.abc import Sequence

from pipelines.core.errors import ModelError, offer_closest
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Record
from pipelines.detector.checksums import check_folder
from pipelines.detector.version import read_info
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import SteppedSettings
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

_PREFERRED = ("champion", "challenger")

log = logging.getLogger(__name__)


class Origin(Record):
    """A version of the source: its run, files and tile plan; `structure` are KEY=VALUE words of its settings.

    A `stranger` is of another algorithm than `algorithm`, which learns from the target's images alone.
    """

    surface: str
    version: int
    run_id: str
    algorithm: str
    folder: str
    plan: TilePlan
    structure: tuple[str, ...] = ()
    stranger: bool = False

    @property
    def name(self) -> str:
        return f"{self.surface}/{self.version}"


def find_origins(tracking: Tracking, source: str, algorithms: Sequence[str], target: str) -> list[Origin]:
    """Find each algorithm's version of the source: the one in use, else the one proposed, else the newest.

    Args:
        tracking: Store whose registry is searched; files of a remote one are fetched.
        source: Surface to start from.
        algorithms: Names; one without a version is left out with a warning, unless it takes no steps: that is learnt
            from the target alone, beside a version of another.
        target: Surface that is adapted: where its policy asks for signatures, what it starts from needs one.

    Returns:
        At least one version, in the order of `algorithms`. The files of each were compared with their checksums.

    Raises:
        ModelError: If the source has no version of any of them, or a version's files are gone or were changed, or are
            not signed where one of the two surfaces asks for it.
    """
    versions = sorted(tracking.versions(source), key=_preference)
    known = {a: v for a in algorithms if (v := next((v for v in versions if v.algorithm == a), None))}
    found = []
    for algorithm in algorithms if known else ():
        if algorithm in known:
            found.append(_open(tracking, known[algorithm], target))
        elif isinstance(find_algorithm(algorithm).settings, SteppedSettings):
            log.warning("adapt: %s has no version of %s, which is left out", source, algorithm)
        else:
            log.info("adapt: %s has no version of %s, which is tried from scratch alone", source, algorithm)
            other = _open(tracking, next(iter(known.values())), target)
            found.append(other.model_copy(update={"algorithm": algorithm, "structure": (), "stranger": True}))
    if not found:
        hint = offer_closest(f"knotwatch retrain {source}", source, tracking.model_names())
        raise ModelError(f"'{source}' has no version of {', '.join(algorithms)} to start from", hint=hint)
    return found


def _preference(version: ModelVersion) -> tuple[int, int]:
    places = [n for n, alias in enumerate(_PREFERRED) if alias in version.aliases]
    return min(places, default=len(_PREFERRED)), -version.version


def _open(tracking: Tracking, version: ModelVersion, target: str) -> Origin:
    folder = tracking.folder(version.surface, version.version, used_for=target)
    # Its state, which the target's network is made from, is read later and without a detector.
    check_folder(folder)
    return Origin(
        surface=version.surface,
        version=version.version,
        run_id=version.run_id,
        algorithm=version.algorithm,
        folder=str(folder),
        plan=read_info(folder).plan,
        structure=find_algorithm(version.algorithm).structure(tracking.params(version.run_id)),
    )
