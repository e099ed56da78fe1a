"""What an adaptation starts from: of each algorithm one version of the source, and what its network is made of."""

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Algorithm, Record
from pipelines.detector.checksums import check_folder
from pipelines.detector.version import read_info
from pipelines.tracking.store import ModelVersion, Tracking

_BESIDE = ("beside.backbone", "beside.layers")
# What the tensors of a state are tied to: the target's network is made of the same.
_STRUCTURE = {
    "padim": ("backbone", "layers", "features", "stride"),
    "fastflow": ("backbone", "layers", *_BESIDE, "flow_steps", "hidden_ratio", "conv3x3_only", "border"),
    "efficientad": ("teacher",),
}
_PREFERRED = ("champion", "challenger")

log = logging.getLogger(__name__)


class Origin(Record):
    """A version of the source: its run, files and tile plan; `structure` are KEY=VALUE words of its settings."""

    surface: str
    version: int
    run_id: str
    algorithm: Algorithm
    folder: str
    plan: TilePlan
    structure: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.surface}/{self.version}"


def find_origins(tracking: Tracking, source: str, algorithms: Sequence[Algorithm]) -> list[Origin]:
    """Find each algorithm's version of the source: the one in use, else the one proposed, else the newest.

    Raises:
        ModelError: where the source has no version of any of them.
    """
    versions = sorted(tracking.versions(source), key=_preference)
    found = []
    for algorithm in algorithms:
        version = next((v for v in versions if v.algorithm == algorithm), None)
        if version is None:
            log.warning("adapt: %s has no version of %s, which is left out", source, algorithm)
            continue
        found.append(_open(tracking, version))
    if not found:
        raise ModelError(
            f"'{source}' has no version of {', '.join(algorithms)} to start from", cure=f"knotwatch retrain {source}"
        )
    return found


def _preference(version: ModelVersion) -> tuple[int, int]:
    places = [n for n, alias in enumerate(_PREFERRED) if alias in version.aliases]
    return min(places, default=len(_PREFERRED)), -version.version


def _open(tracking: Tracking, version: ModelVersion) -> Origin:
    folder = Path(tracking.folder(version.surface, version.version))
    # Its state, which the target's network is made from, is read later and without a detector.
    check_folder(folder)
    algorithm = Algorithm(version.algorithm)
    params = tracking.params(version.run_id)
    return Origin(
        surface=version.surface,
        version=version.version,
        run_id=version.run_id,
        algorithm=algorithm,
        folder=str(folder),
        plan=read_info(folder).plan,
        structure=structure_in_words(algorithm, params),
    )


def structure_in_words(algorithm: Algorithm, params: Mapping[str, str]) -> tuple[str, ...]:
    """Return KEY=VALUE words that make a network like the one that was trained with these parameters.

    A source that saw no network beside its own says so: the target's settings may name one.
    """
    names = [f"{algorithm}.{key}" for key in _STRUCTURE[algorithm.family]]
    words = tuple(f"{name}={params[name]}" for name in names if name in params)
    alone = algorithm.family == "fastflow" and f"{algorithm}.{_BESIDE[0]}" not in params
    return (f"{algorithm}.beside=null", *words) if alone else words
