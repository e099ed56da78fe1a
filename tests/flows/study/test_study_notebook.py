"""The study's notebook: what is committed of it, and that it runs from top to bottom."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from flows.study.folder import Profile
from flows.study.notebook import NOTEBOOK, clean, execute, read_notebook, render_page, write_notebook
from pipelines.core.paths import Project
from tests.chromium import open_chromium
from tests.conftest import ROOT

_ABSOLUTE = re.compile(r"(?<![\w.:/])/(home|root|tmp|usr|var|work|Users|private)/")


@pytest.fixture(scope="module")
def committed() -> Any:
    return read_notebook(ROOT / NOTEBOOK)


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The cells, run on a few small drawn slices."""
    scratch = tmp_path_factory.mktemp("study")
    return clean(execute(read_notebook(ROOT / NOTEBOOK), Project(ROOT), None, Profile.QUICK, scratch))


def said(notebook: Any, name: str) -> str:
    """Return what a cell said in words."""
    (cell,) = [cell for cell in notebook.cells if cell.id == name]
    return str(cell.outputs[0].data["text/plain"])


def test_cells_call_the_project_and_decide_nothing(committed: Any) -> None:
    for cell in committed.cells:
        for line in ast.parse(cell.source).body if cell.cell_type == "code" else ():
            assert isinstance(line, ast.ImportFrom | ast.Assign | ast.Expr), cell.source
            value = line.value if isinstance(line, ast.Assign | ast.Expr) else None
            assert value is None or isinstance(value, ast.Call | ast.Name), cell.source
            assert not any(isinstance(part, ast.Lambda | ast.IfExp | ast.BinOp) for part in ast.walk(line))


def test_what_is_committed_is_small_whole_and_of_no_one_machine(committed: Any) -> None:
    text = (ROOT / NOTEBOOK).read_text()
    assert len(text) < 1_500_000
    assert text == write_notebook(clean(read_notebook(ROOT / NOTEBOOK))), "written by `make notebook`"
    code = [cell for cell in committed.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert sum("image/jpeg" in output.get("data", {}) for cell in code for output in cell.outputs) >= 6
    assert not _ABSOLUTE.search(text)
    assert said(committed, "open").startswith("Drawn slices: 6 images")


@pytest.mark.slow
def test_it_runs_and_the_map_ranks_the_drawn_defects(executed: Any) -> None:
    assert not [o for c in executed.cells if c.cell_type == "code" for o in c.outputs if o.output_type == "error"]
    together = re.search(r"together ([01]\.\d+), ([01]\.\d+)", said(executed, "figures"))
    assert together is not None
    assert float(together[1]) > 0.98
    assert float(together[2]) > 0.6
    accuracy = re.search(r"Accuracy ([01]\.\d+)", said(executed, "types"))
    assert accuracy is not None
    assert float(accuracy[1]) > 0.7
    assert "quick profile" in said(executed, "left-out")


@pytest.mark.slow
def test_the_page_needs_nothing_else_and_tells_what_its_pictures_show(executed: Any) -> None:
    page = render_page(executed)
    assert not re.findall(r"""(?:src|href)=(?!"(?:data:|#))""", page)
    assert "<script" not in page
    assert not _ABSOLUTE.search(re.sub(r'"data:[^"]*"', "", page))
    pictures = re.findall(r"<img[^>]*>", page)
    assert len(pictures) >= 5
    assert all("alt=" in picture for picture in pictures)


def test_the_page_is_no_wider_than_a_phone(committed: Any, tmp_path: Path) -> None:
    page = tmp_path / "study.html"
    page.write_text(render_page(committed), encoding="utf-8")
    with open_chromium(tmp_path) as tab:
        tab.open(page, 390, 844)
        assert tab.evaluate("document.documentElement.scrollWidth") <= 390
