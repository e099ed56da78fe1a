"""A surface's champion, loaded: what `inspect` and the REST server look at images with."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.core.surface_settings import read_surface
from pipelines.detector.detector import Detector
from pipelines.models.openvino.runtime import named_device
from pipelines.tracking.registry import ModelVersion
from pipelines.tracking.store import Tracking

_MOST = 10  # versions that are named


@dataclass(frozen=True)
class Loaded:
    """A registered version and its detector."""

    version: int
    name: str
    detector: Detector
    run_id: str = ""


def find_champion(project: Project, tracking: Tracking, surface: str) -> ModelVersion:
    """Return a surface's champion.

    Args:
        project: Says whether there is such a surface, where the registry knows of no champion.
        tracking: Store whose registry is asked.
        surface: May have been removed from the project while its models stay.

    Returns:
        The version with the alias `champion`, not loaded.

    Raises:
        ModelError: If the surface has no champion; the versions that it has are offered.
        SettingsError: If there is no such surface.
    """
    champion = tracking.champion(surface)
    if champion is None:
        versions = tracking.versions(surface)
        if not versions:
            read_surface(project, surface)
        raise explain_no_champion(surface, versions)
    return champion


def explain_no_champion(surface: str, versions: Sequence[ModelVersion]) -> ModelError:
    """Say that a surface has no champion, and offer the versions that it has.

    Args:
        surface: One whose champion was asked for.
        versions: Those registered, newest first; there may be none.

    Returns:
        The error, to be raised or shown.
    """
    if not versions:
        return ModelError(f"'{surface}' has no champion", hint=f"knotwatch retrain {surface}")
    numbers = [version.version for version in versions]
    more = ", …" if numbers[_MOST:] else ""
    return ModelError(
        f"'{surface}' has no champion: none was accepted yet, or its version was deleted",
        hint=f"knotwatch promote {surface} --version {numbers[0]} "
        f"(there are: {', '.join(map(str, numbers[:_MOST]))}{more})",
    )


def load_version(tracking: Tracking, version: ModelVersion) -> Loaded:
    """Load a registered version for the device that is named; its name says surface, number and algorithm.

    Training, calibration and the gate keep to the processor, which the thresholds are guaranteed for.

    Args:
        tracking: Store that holds the version's files; those of a remote one are fetched.
        version: As the registry lists it.

    Returns:
        The version, ready to inspect images.

    Raises:
        ModelError: If its files are gone or were changed, or it scores otherwise on that device.
    """
    try:
        detector = Detector(tracking.folder(version.surface, version.version), named_device())
    except ModelError as error:
        if "champion" in version.aliases:
            error = type(error)(
                f"{version.surface} version {version.version}, the champion: {error.problem}",
                hint=rollback_hint(version.surface, error.hint),
            )
        raise error from None
    return Loaded(
        version=version.version,
        name=f"{version.surface}/{version.version} ({version.algorithm})",
        detector=detector,
        run_id=version.run_id,
    )


def rollback_hint(surface: str, more: str) -> str:
    """Say what to do about a champion that cannot be used.

    Args:
        surface: Whose champion it is.
        more: What else may be done.

    Returns:
        The way back first.
    """
    return f"knotwatch rollback {surface} returns to the champion before; {more}"
