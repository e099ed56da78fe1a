"""No room is so full that nobody finds anything in it; docs/architecture.md says what each is for."""

from pathlib import Path

import pytest

from tests.conftest import ROOT

MOST = 12


def crowded(root: Path) -> dict[str, int]:
    """Count the modules of each folder that holds more than twelve, `__init__.py` aside."""
    folders = {path.parent for path in root.rglob("*.py")}
    counts = {str(f.relative_to(root)): len({*f.glob("*.py")} - {f / "__init__.py"}) for f in folders}
    return {name: count for name, count in counts.items() if count > MOST}


@pytest.mark.parametrize("package", ["pipelines", "flows"])
def test_no_folder_holds_more_than_twelve_modules(package: str) -> None:
    assert crowded(ROOT / package) == {}
    assert len(list((ROOT / "pipelines").glob("*.py"))) == 2, "loader.py and __init__.py stand alone at the top"


def test_a_crowded_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    for number in range(MOST + 1):
        (tmp_path / "full" / f"m{number}.py").touch()
    assert crowded(tmp_path) == {"full": MOST + 1}
