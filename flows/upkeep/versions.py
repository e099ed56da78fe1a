"""Registered versions whose files were changed, and aliases that name none."""

from collections.abc import Iterator

from flows.promotion.requests import put_champion_back
from flows.runtime.session import look_at
from flows.upkeep.damage import BACKUP, REPAIR, Damage
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.detector.checksums import TAG, check_folder
from pipelines.registry.decision_log import DecisionLog
from pipelines.tracking.registry import REMOVED, ModelVersion
from pipelines.tracking.store import Tracking


def find_version_damage(project: Project, tracking: Tracking) -> Iterator[Damage]:
    """Look at every file of every version of the project's surfaces, and at what their aliases name.

    Args:
        project: Whose surfaces are looked at.
        tracking: Its store.

    Yields:
        What was found, with what mends it or the command that does.
    """
    for surface in project.surface_names():
        versions = tracking.versions(surface)
        if versions:
            yield from _look_at_aliases(project, tracking, surface, {version.version for version in versions})
        for version in versions:
            # The champion is loaded as a whole: see doctor.py.
            if REMOVED not in version.tags and "champion" not in version.aliases:
                yield from _look_at_files(tracking, version)


def _look_at_files(tracking: Tracking, version: ModelVersion) -> Iterator[Damage]:
    surface, number = version.surface, version.version
    try:
        check_folder(tracking.folder(surface, number), version.tags.get(TAG, ""))
    except ModelError as error:
        yield Damage(f"{surface} version {number}: {error.problem}", f"put its files back from a copy, or {BACKUP}")


def _look_at_aliases(project: Project, tracking: Tracking, surface: str, numbers: set[int]) -> Iterator[Damage]:
    for alias, number in tracking.aliases(surface).items():
        if number in numbers:
            continue
        found = f"the alias {alias} of '{surface}' names version {number}, which is not there"

        def mend(alias: str = alias, number: int = number) -> str:
            if alias == "champion":
                record = put_champion_back(look_at(surface, project=project))
                return f"{surface}: {record.message if record else 'the alias champion names a version again'}"
            tracking.drop_alias(surface, alias)
            return f"{surface}: the alias {alias} named version {number}, which is not there, and was taken away"

        yield Damage(found, f"{REPAIR}; or knotwatch rollback {surface}" if alias == "champion" else REPAIR, mend)
    log = DecisionLog(tracking, surface).read()
    if log and log[-1].after not in {None, *numbers} and "champion" not in tracking.aliases(surface):
        yield Damage(
            f"version {log[-1].after} of '{surface}', the champion, was deleted, and nothing is in use",
            f"knotwatch rollback {surface}, or knotwatch promote {surface} --version {max(numbers)}",
        )
