"""Whether what a stage made before may be kept: only where the same code made it, and nobody changed it since.

The note of this lies beside the output, not in it: the same result has the same data version whatever code made it.
"""

import hashlib
import importlib.util
import json
from pathlib import Path

from pipelines.core.files import write_whole


def hash_modules(*names: str) -> str:
    """Hash the sources of modules by name, 16 hex digits; the modules are not imported."""
    found = hashlib.sha256()
    for name in names:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError(name)
        found.update(Path(spec.origin).read_bytes())
    return found.hexdigest()[:16]


def may_reuse(table: Path, note: Path, code: str) -> bool:
    """Tell whether a table is as `keep_for_reuse` saw it, made by the same code.

    Args:
        table: What a stage made; it may be absent.
        note: The note that `keep_for_reuse` wrote of it; it may be absent.
        code: What `hash_modules` says of the stage's code now.

    Returns:
        False too where the table or the note is absent.
    """
    if not (table.is_file() and note.is_file()):
        return False
    return note.read_text("utf-8") == _describe(table, code)


def keep_for_reuse(table: Path, note: Path, code: str) -> None:
    """Write down which code made a table, and what it holds.

    Args:
        table: What a stage has just made; it is hashed whole.
        note: JSON file that is written, beside the stage's output and not in it.
        code: What `hash_modules` says of the stage's code.
    """
    write_whole(note, _describe(table, code))


def _describe(table: Path, code: str) -> str:
    return json.dumps({"code": code, "sha256": hashlib.sha256(table.read_bytes()).hexdigest()})
