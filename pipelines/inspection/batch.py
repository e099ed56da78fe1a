"""A large batch on its way to one Parquet table: a journal beside it, from which a stopped batch goes on.

The journal, `NAME.part.jsonl`, has one line for the batch and one an image, added as soon as the image's
pictures and maps are written. A killed process leaves at most a torn last line, which is cut off.
"""

import fcntl
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import IO, ClassVar, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from pipelines.core.errors import BusyError, CallError
from pipelines.core.files import as_utf8, whole_file
from pipelines.core.records import Record
from pipelines.core.results import Inspected
from pipelines.inspection.history import Observation, name_batch, write_batch
from pipelines.inspection.inputs import InputImage

_SCHEMA = pa.schema(
    [
        ("path", pa.string()),
        ("score", pa.float64()),
        ("anomalous", pa.bool_()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("version", pa.int64()),
        ("error", pa.string()),
        ("overlay", pa.string()),
        ("map", pa.string()),
        ("defects", pa.int32()),
        ("normal_regions", pa.int32()),
        ("out_of_distribution", pa.bool_()),
    ]
)
_ROWS = 10_000  # of one row group: what is held in memory while the table is written

log = logging.getLogger(__name__)
_Line = TypeVar("_Line", bound=Record)


class Terms(Record):
    """What all rows of a batch share. `results` names the folders of pictures, maps and the like."""

    surface: str
    version: int
    results: dict[str, str]


class Head(Record):
    """The journal's first line. `name` is the batch's in the history."""

    terms: Terms
    name: str


class Entry(Record):
    """One image's line. `file_key` tells whether the file is still the one that was looked at.

    The outlines of regions would outgrow the table: `defects` is their number.
    """

    former: ClassVar[Mapping[str, str]] = {"mark": "file_key"}

    file_key: str
    inspected: Inspected
    observation: Observation
    defects: int


class Counts(Record):
    """How many images a batch holds, were found anomalous, could not be read, and were done by an earlier call."""

    total: int
    anomalous: int
    unreadable: int
    before: int = 0


class Batch:
    """A batch of images on the way to its table. Made by `open_batch`."""

    def __init__(self, table: Path, name: str, journal: IO[bytes], images: Sequence[InputImage]) -> None:
        self._table, self._name, self._journal = table, name, journal
        self._keys = {p.shown: _file_key(p) for p in images}
        done = {entry.file_key for entry in _read_entries(table)}
        self.left = [p for p in images if self._keys[p.shown] not in done]

    def add(self, inspected: Inspected, observation: Observation) -> None:
        """Keep an image's result: from here on it survives the process.

        Args:
            inspected: Of one of the batch's images; of its defects only their number is kept.
            observation: The same image's line for the history.
        """
        entry = Entry(
            file_key=self._keys[inspected.path],
            inspected=inspected.model_copy(update={"defects": ()}),
            observation=observation,
            defects=len(inspected.defects),
        )
        _write_line(self._journal, entry)

    def finish(self, history: Path) -> Counts:
        """Write the table and the history's batch, each whole or not at all, and remove the journal."""
        anomalous = unreadable = 0
        entries = self._entries()
        with whole_file(self._table) as neighbour, pq.ParquetWriter(neighbour, _SCHEMA) as writer:
            while rows := [_row(entry) for entry in islice(entries, _ROWS)]:
                writer.write_table(pa.Table.from_pylist(rows, _SCHEMA))
                anomalous += sum(bool(row["anomalous"]) for row in rows)
                unreadable += sum(row["error"] is not None for row in rows)
        # Under its own name: where the process dies here, the next call writes the same batch again.
        write_batch(history, (entry.observation for entry in self._entries()), self._name)
        _journal_of(self._table).unlink()
        before = len(self._keys) - len(self.left)
        return Counts(total=len(self._keys), anomalous=anomalous, unreadable=unreadable, before=before)

    def _entries(self) -> Iterator[Entry]:
        """Read the lines of the images that were requested, as they are now."""
        wanted = set(self._keys.values())
        return (entry for entry in _read_entries(self._table) if entry.file_key in wanted)


@contextmanager
def open_batch(table: Path, terms: Terms, images: Sequence[InputImage], history: Path) -> Iterator[Batch]:
    """Begin the batch of a table, or go on with it where its journal lies beside it.

    What another version has seen goes into the history, and the batch begins anew.

    Args:
        table: The Parquet file that `Batch.finish` writes; its folder is made, its journal is locked meanwhile.
        terms: Must equal those that the batch was begun with, the version excepted.
        images: All images of the batch, those that an earlier call has done included.
        history: Folder of the surface's history.

    Yields:
        The batch; its `left` are the images that are still to be inspected.

    Raises:
        CallError: If the table cannot be written, or its journal is damaged or was begun with other folders for its
            results.
        BusyError: If another process works on the table.
    """
    with _locked(table) as journal:
        _cut_torn_line(journal)
        head = _read_head(table)
        if head is not None and head.terms.version != terms.version:
            write_batch(history, (entry.observation for entry in _read_entries(table)), head.name)
            log.info("%s was begun with version %d: begun anew", table, head.terms.version)
            journal.truncate(0)
            head = None
        if head is not None and head.terms != terms:
            raise CallError(
                f"{_journal_of(table)} was begun for other results: {head.terms.model_dump_json()}",
                hint="give --out, --no-pictures, --maps and the like as before, or remove that file to begin anew",
            )
        if head is None:
            head = Head(terms=terms, name=name_batch(datetime.now(UTC)))
            _write_line(journal, head)
        yield Batch(table, head.name, journal, images)


@contextmanager
def _locked(table: Path) -> Iterator[IO[bytes]]:
    """Open a table's journal for adding lines. The system frees the lock with the process, however it ends."""
    if table.suffix != ".parquet":
        raise CallError(f"{table}: a batch becomes a Parquet table", hint="give --table a name that ends in .parquet")
    try:
        table.parent.mkdir(parents=True, exist_ok=True)
        journal = _journal_of(table).open("a+b")
    except OSError as error:
        raise CallError(f"{table} cannot be written: {error.strerror}", hint="name a file in another folder") from error
    with journal:
        try:
            fcntl.flock(journal, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BusyError(f"another process works on {table}", hint="wait until it ends, or name another") from error
        yield journal


def _journal_of(table: Path) -> Path:
    # An ending that is not taken for an image's, where the table lies among some.
    return table.with_suffix(".part.jsonl")


def _cut_torn_line(journal: IO[bytes]) -> None:
    end = journal.seek(0, 2)
    while end:
        start = max(0, end - 65536)
        journal.seek(start)
        cut = journal.read(end - start).rfind(b"\n") + 1
        if cut:
            journal.truncate(start + cut)
            return
        end = start
    journal.truncate(0)


def _read_head(table: Path) -> Head | None:
    with _journal_of(table).open("rb") as journal:
        line = journal.readline()
    return _parse(Head, line, table) if line else None


def _read_entries(table: Path) -> Iterator[Entry]:
    with _journal_of(table).open("rb") as journal:
        journal.readline()
        for line in journal:
            yield _parse(Entry, line, table)


def _parse(kind: type[_Line], line: bytes, table: Path) -> _Line:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        raise CallError(
            f"{_journal_of(table)} is no journal of this knotwatch: {error.errors()[0]['msg']}",
            hint="remove that file to begin the batch anew",
        ) from error


def _write_line(journal: IO[bytes], line: Record) -> None:
    journal.write(line.model_dump_json().encode() + b"\n")
    journal.flush()


def _file_key(image: InputImage) -> str:
    path = Path(image.file).absolute()
    try:
        found = path.stat()
    except OSError:  # gone since it was listed: reported in its place
        return f"- - {as_utf8(str(path))}"
    return f"{found.st_size} {found.st_mtime_ns} {as_utf8(str(path))}"


def _row(entry: Entry) -> dict[str, object]:
    found = entry.inspected.model_dump()
    return {**found, "version": entry.observation.version, "defects": entry.defects}
