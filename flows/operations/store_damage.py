"""What an emptied or torn tracking database loses: MLflow would make a new one in its place and say nothing."""

import sqlite3
from contextlib import closing
from pathlib import Path

from pipelines.core.errors import ToolError
from pipelines.core.paths import Project


def refuse_damage(project: Project) -> None:
    """Raise ToolError where versions lie on disk and the project's own database, unlike them, does not hold any."""
    home = project.state / "mlflow"
    models = sum(1 for _ in (home / "artifacts").rglob("model.json"))
    damage = _find_damage(home / "mlflow.db") if models else None
    if damage is not None:
        raise ToolError(
            f"{home / 'mlflow.db'} {damage}, while {models} models lie in {home / 'artifacts'}",
            hint="restore a backup into a fresh clone, or put the database back from a copy; without one, move that "
            "folder away and retrain",
        )


def _find_damage(database: Path) -> str | None:
    if not database.is_file():
        return "is not there"
    if not database.stat().st_size:
        return "is empty (0 bytes)"
    try:
        # Read only: to look must neither make a file nor mend one.
        with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)) as connection:
            return _find_lack(connection)
    except sqlite3.OperationalError as error:
        return f"cannot be read ({error})"
    except sqlite3.DatabaseError as error:
        return f"is damaged ({error})"


def _find_lack(connection: sqlite3.Connection) -> str | None:
    tables = {row[0] for row in connection.execute("select name from sqlite_master where type = 'table'")}
    if "model_versions" not in tables:
        return "has no table of versions"
    (found,) = connection.execute("pragma quick_check(1)").fetchone()
    if found != "ok":
        return f"is damaged ({found})"
    (versions,) = connection.execute("select count(*) from model_versions").fetchone()
    return None if versions else "names no version"
