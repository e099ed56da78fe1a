"""Databases and histories that cannot be read, and a tracking database that lost what it knew."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

from flows.local_servers.process import NEW_DATABASE
from flows.upkeep.damage import BACKUP, Damage
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.inspection.history import check_batch, list_batches
from pipelines.tracking.connection import refuse_damage, refuse_lost


def find_store_damage(project: Project) -> Iterator[Damage]:
    """Look at Prefect's database and at every file of the histories; MLflow's is `refuse_torn`'s."""
    try:
        refuse_damage(project.state / "prefect" / "prefect.db", NEW_DATABASE)
    except ToolError as error:
        yield Damage(error.problem, error.hint)
    for name in project.surface_names():
        for path, _ in list_batches(project.surface(name).history):
            try:
                check_batch(path)
            except ToolError as error:
                yield Damage(error.problem, f"{error.hint}; a backup may hold it whole")


def refuse_torn(project: Project) -> None:
    """Raise ToolError where the project's own tracking database is damaged, or lost the versions that lie on disk.

    MLflow would make tables in it, and hide what happened.
    """
    database = project.state / "mlflow" / "mlflow.db"
    refuse_lost(project)
    refuse_damage(database)
    models = sum(1 for _ in (database.parent / "artifacts").rglob("model.json"))
    lack = _find_lack(database) if models else None
    if lack is not None:
        raise ToolError(f"{database} {lack}, while {models} models lie beside it", hint=f"put it back, or {BACKUP}")


def _find_lack(database: Path) -> str | None:
    # Read only: to look must neither make a file nor mend one.
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
        tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
        if "model_versions" not in tables:
            return "has no table of versions"
        (versions,) = connection.execute("select count(*) from model_versions").fetchone()
    return None if versions else "names no version"
