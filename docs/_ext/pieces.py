"""Small pieces of Markdown."""

import re
from collections.abc import Iterable, Sequence


def cell(text: str) -> str:
    """Write text as one cell of a table.

    >>> cell("a | b")
    'a \\\\| b'
    """
    return re.sub(r"\s+", " ", text).strip().replace("|", "\\|")


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table, with an empty line before and after."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n" + "\n".join("| " + " | ".join(map(cell, line)) + " |" for line in lines) + "\n\n"


def code(text: str) -> str:
    """Write text as code in a line."""
    return f"`{text}`"


def definitions(described: Iterable[tuple[str, str]]) -> str:
    """Write terms with what they mean, which reads well on a narrow screen too.

    >>> print(definitions([("`a`", "First.")]).strip())
    `a`
    : First.
    """
    return "\n" + "\n".join(f"{term}\n: {' '.join(said.split())}\n" for term, said in described) + "\n"
