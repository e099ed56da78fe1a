"""Tables that people keep: CSV as programs and countries write it, read whole or refused with the row's number."""

import csv
import io
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.core.errors import SourceError
from pipelines.core.files import read_at_most

_DELIMITERS = ",;\t|"
MOST_TABLE = 200_000_000  # a million rows have 100


class Row(NamedTuple):
    """A row's cells by column, stripped, and the number of its line in the file, from 1."""

    number: int
    cells: dict[str, str]


def read_table(table: Path, required: Sequence[str]) -> list[Row]:
    """Read a CSV in UTF-8, with or without a byte order mark.

    Its delimiter is the one of `,`, `;`, tab and `|` that finds the columns. Column names count without capitals and
    blanks. A first line `sep=;`, as Excel writes it, and rows whose cells are all blank are passed over.

    Args:
        table: The file.
        required: Columns that it must have.

    Returns:
        The rows, in their order; columns that are missing in the header are missing there.

    Raises:
        SourceError: If it is no UTF-8, a column is missing or named twice, or a row has more cells than there are
            columns: a delimiter or a decimal comma without quotes.
    """
    text = _decode(table)
    first = text.split("\n", 1)[0].strip().lower()
    skipped = int(first.startswith("sep=") and len(first) == len("sep=;"))
    lines = text.split("\n", skipped)[-1]
    header = lines.split("\n", 1)[0]
    delimiter = max(_DELIMITERS, key=lambda one: len({*required} & {*_names(header, one)}))
    reader = csv.reader(io.StringIO(lines, newline=""), delimiter=delimiter, strict=True)
    rows = []
    try:
        columns = [_plain(name) for name in next(reader, [])]
        _check_columns(table, columns, required)
        for cells in reader:
            found = [cell.strip() for cell in cells]
            number = reader.line_num + skipped
            if any(found) and len(found) > len(columns):
                raise SourceError(
                    f"{table}, row {number}: {len(cells)} cells, but {len(columns)} columns",
                    hint=f"put a cell that holds '{delimiter}' into quotes",
                )
            if any(found):
                rows.append(Row(number, dict(zip(columns, found, strict=False))))
    except csv.Error as error:
        raise SourceError(
            f"{table}, row {reader.line_num + skipped} is no row of a CSV: {error}", hint="correct that row"
        ) from error
    return rows


def _decode(table: Path) -> str:
    try:
        data = read_at_most(table, MOST_TABLE)
    except OSError as error:
        raise SourceError(
            f"{table} cannot be read: {error.strerror}", hint="mend the table, or name another"
        ) from error
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        row = data[: error.start].count(b"\n") + 1
        raise SourceError(f"{table}, row {row} is no UTF-8 table: {error}", hint="save it as CSV in UTF-8") from error


def _plain(name: str) -> str:
    return name.strip().lower()


def _names(header: str, delimiter: str) -> list[str]:
    return [_plain(name.strip().strip('"')) for name in header.split(delimiter)]


def _check_columns(table: Path, found: list[str], required: Sequence[str]) -> None:
    missing = [name for name in required if name not in found]
    if missing:
        raise SourceError(
            f"{table}: expected the columns {', '.join(required)}, found {', '.join(filter(None, found)) or 'none'}",
            hint=f"add {', '.join(missing)} (cells may be blank)",
        )
    twice = [name for name, times in Counter(found).items() if name and times > 1]
    if twice:
        raise SourceError(f"{table} has two columns '{twice[0]}'", hint="keep one of them")
