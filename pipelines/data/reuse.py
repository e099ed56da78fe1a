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
    """Tell whether `table` is as `keep_for_reuse` saw it, made by the same code."""
    if not (table.is_file() and note.is_file()):
        return False
    return note.read_text("utf-8") == _describe(table, code)


def keep_for_reuse(table: Path, note: Path, code: str) -> None:
    """Write down which code made `table`, and what it holds."""
    write_whole(note, _describe(table, code))


def _describe(table: Path, code: str) -> str:
    return json.dumps({"code": code, "sha256": hashlib.sha256(table.read_bytes()).hexdigest()})
