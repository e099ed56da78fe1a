"""What was judged, and how far each sink has got: an end at any moment loses and doubles nothing.

An image and its verdict are written in one transaction of one SQLite file. Each sink has a cursor in the order of the
verdicts; what lies behind it is delivered, what lies before it waits, also over a restart.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from threading import Lock
from typing import NamedTuple

from flows.line.verdict import Verdict
from pipelines.core.errors import ToolError

_KEPT = 10_000  # delivered verdicts whose text is kept
_TABLES = """
create table if not exists verdicts(number integer primary key autoincrement, key text unique not null, body text);
create table if not exists sinks(name text primary key, number integer not null);
"""


class Kept(NamedTuple):
    """A verdict in its order, as JSON."""

    number: int
    body: str


class Journal:
    """A surface's journal. Threads may share it."""

    def __init__(self, file: Path) -> None:
        """Open or make it.

        Args:
            file: In a folder that is made where it is missing.

        Raises:
            ToolError: If the file is damaged or cannot be written.
        """
        file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = Lock()
        try:
            self._database = sqlite3.connect(file, timeout=30, check_same_thread=False, isolation_level=None)
            self._database.execute("pragma journal_mode = wal")
            # A verdict that somebody has heard must still be known after the power failed.
            self._database.execute("pragma synchronous = full")
            self._database.executescript(_TABLES)
        except sqlite3.DatabaseError as error:
            raise ToolError(
                f"{file} cannot be used: {error}",
                hint="move it away: images that still lie in the source are judged again then",
            ) from error

    def close(self) -> None:
        with self._lock:
            self._database.close()

    def knows(self, key: str) -> bool:
        """Tell whether an image has its verdict."""
        return bool(self._ask("select 1 from verdicts where key = ?", key))

    def add(self, key: str, make: Callable[[int], Verdict]) -> Verdict:
        """Keep a verdict for good.

        Args:
            key: Of an image that has none.
            make: Makes the verdict, given its number.

        Returns:
            The verdict.
        """
        with self._lock, self._database:
            self._database.execute("begin immediate")
            number = self._database.execute("insert into verdicts(key) values (?)", (key,)).lastrowid or 0
            verdict = make(number)
            self._database.execute("update verdicts set body = ? where number = ?", (verdict.model_dump_json(), number))
        return verdict

    def join(self, sink: str) -> None:
        """Begin to remember how far a sink has got: a new one gets what comes from now on."""
        with self._lock:
            self._database.execute(
                "insert or ignore into sinks select ?, coalesce(max(number), 0) from verdicts", (sink,)
            )

    def next(self, sink: str) -> Kept | None:
        """Return the oldest verdict that a sink has not got; None where it has all."""
        found = self._ask(
            "select number, body from verdicts where number > (select number from sinks where name = ?) "
            "and body is not null order by number limit 1",
            sink,
        )
        return Kept(*found[0]) if found else None

    def advance(self, sink: str, number: int) -> None:
        """Note that a sink has got a verdict, and all before it.

        Args:
            sink: One that joined.
            number: Of that verdict.
        """
        with self._lock, self._database:
            self._database.execute("begin immediate")
            self._database.execute("update sinks set number = ? where name = ?", (number, sink))
            if number % 1000 == 0:
                # Keys stay: the image may still lie in its folder.
                self._database.execute(
                    "update verdicts set body = null where number <= (select min(number) from sinks) - ?", (_KEPT,)
                )

    def waiting(self, sink: str) -> int:
        """Count the verdicts that a sink has not got."""
        (row,) = self._ask(
            "select count(*) from verdicts where number > (select number from sinks where name = ?)", sink
        )
        return int(row[0])

    def _ask(self, query: str, *values: object) -> list[tuple[int, str]]:
        with self._lock:
            return list(self._database.execute(query, values))
