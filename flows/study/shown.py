"""What a cell of the notebook shows: a picture, a table, or a sentence. All text is escaped."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import pandas as pd

# Jupyter's protocol: content by its type, and what belongs to each.
Bundle = tuple[dict[str, Any], dict[str, Any]]


@dataclass(frozen=True)
class Words:
    """A sentence in the place of figures that cannot be given."""

    message: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's
        return {"text/plain": self.message, "text/html": f"<p>{escape(self.message)}</p>"}, {}


@dataclass(frozen=True)
class Table:
    """Rows of cells as people read them, the first cell of each naming it, and a sentence below."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    message: str = ""

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's
        plain = pd.DataFrame(list(self.rows), columns=list(self.columns)).to_string(index=False)
        head = "".join(f"<th>{escape(name)}</th>" for name in self.columns)
        body = "".join(f"<tr>{_cells(row)}</tr>" for row in self.rows)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        below = f"<p>{escape(self.message)}</p>" if self.message else ""
        return {"text/plain": f"{plain}\n{self.message}".rstrip(), "text/html": table + below}, {}


@dataclass(frozen=True)
class Picture:
    """A JPEG, and what it shows for those who cannot see it."""

    jpeg: bytes
    message: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:  # noqa: ARG002 - Jupyter's
        encoded = base64.b64encode(self.jpeg).decode("ascii")
        return {"image/jpeg": encoded, "text/plain": self.message}, {"image/jpeg": {"alt": self.message}}


def _cells(row: Sequence[str]) -> str:
    first, *others = (escape(cell) for cell in row)
    return f"<th>{first}</th>" + "".join(f"<td>{cell}</td>" for cell in others)
