"""Docstrings: whatever takes more than one argument says what each of them is."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.conftest import ROOT

# A method that keeps the contract of another one names it instead: See `Algorithm.fit`.
_ELSEWHERE = re.compile(r"\bSee `\w[\w.]*`")
# A command's docstring is its help, and its options bring their own.
_LEFT_OUT = re.compile(r"command|callback|overload")

_PLANTED = '''
class Cutter:
    def cut(self, image, margin, *boxes, fill=0):
        """Cut defects out.

        Args:
            image: RGB, uint8, shape (height, width, 3).
            boxes: In pixels of `image`.
            margin:
        """

    def fit(self, image, margin): """Keep to what is promised elsewhere. See `Model.fit`."""
    def show(self, image): """Show one."""
    def _hide(self, image, margin): """Nobody calls this."""

def inspect(image: str, margin: Annotated[int, typer.Option(help="Pixels.")]): """Inspect an image."""
'''


@pytest.mark.parametrize("package", ["flows", "pipelines"])
def test_every_argument_is_described(package: str) -> None:
    """Every public function of more than one argument names each under `Args:`, or says See `Base.method`."""
    files = sorted((ROOT / package).rglob("*.py"))
    assert files
    gaps = [
        f"{file.relative_to(ROOT)}:{gap}" for file in files for gap in find_gaps(ast.parse(file.read_text("utf-8")))
    ]
    assert not gaps, f"{len(gaps)} without a description under `Args:`\n" + "\n".join(gaps)


def test_a_missing_description_is_found() -> None:
    """What is not named, named without a word, or named without its stars is a gap; what is left out is none."""
    assert list(find_gaps(ast.parse(_PLANTED))) == ["3 cut: margin, fill, *boxes"]


def find_gaps(node: ast.Module | ast.ClassDef) -> Iterator[str]:
    """List public functions and methods, by line, with the arguments that their docstrings leave out."""
    for inner in node.body:
        if isinstance(inner, ast.ClassDef) and not inner.name.startswith("_"):
            yield from find_gaps(inner)
        elif isinstance(inner, ast.FunctionDef | ast.AsyncFunctionDef) and _counts(inner):
            names, doc = _arguments(inner), ast.get_docstring(inner) or ""
            gone = [name for name in names if name not in _described(doc)]
            if len(names) > 1 and gone and not _ELSEWHERE.search(doc):
                yield f"{inner.lineno} {inner.name}: {', '.join(gone)}"


def _counts(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    decorated = any(_LEFT_OUT.search(ast.unparse(found)) for found in function.decorator_list)
    return not (function.name.startswith("_") or decorated or "typer." in ast.unparse(function.args))


def _arguments(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[str]:
    """Name the arguments as `Args:` does; those that begin with `_` are there for somebody else's signature."""
    found = function.args
    names = [arg.arg for arg in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
    names += [stars + arg.arg for stars, arg in (("*", found.vararg), ("**", found.kwarg)) if arg]
    return [name for name in names if name not in {"self", "cls"} and not name.lstrip("*").startswith("_")]


def _described(doc: str) -> set[str]:
    section = re.search(r"^Args:\n((?: .*\n?|\n)+)", doc, re.MULTILINE)
    return set(re.findall(r"^ {4}(\*{0,2}\w+): +\S", section[1], re.MULTILINE)) if section else set()
