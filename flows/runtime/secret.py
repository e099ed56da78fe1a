"""What this project's servers ask for: a secret a kind, made once, and for the project's owner alone to read."""

import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock

from pipelines.core.paths import Project


def secret_file(project: Project) -> Path:
    return project.state / "prefect-secret"


def prefect_secret(project: Project) -> str:
    """Return the secret of Prefect's servers. It is handed on by environment, never in a command or a log."""
    return _read(secret_file(project))


def token_file(project: Project) -> Path:
    return project.state / "serve-token"


def serve_token(project: Project) -> str:
    """Return what `knotwatch serve` asks of other machines."""
    return _read(token_file(project))


def _read(file: Path) -> str:
    """Read a secret, made on first use."""
    file.parent.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        with FileLock(f"{file}.lock"):
            if not file.is_file():
                _make(file)
    # A project that was copied follows the umask of whoever copied it. Some file systems know no modes.
    with suppress(OSError):
        file.chmod(0o600)
    return file.read_text("ascii")


def _make(file: Path) -> None:
    # mkstemp's files are their owner's alone from the start.
    handle, neighbour = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    with os.fdopen(handle, "w", encoding="ascii") as out:
        out.write(secrets.token_urlsafe(32))
    Path(neighbour).replace(file)
