"""A line: images come in, verdicts go out, until it is stopped; the next start goes on with whatever that left."""

import logging
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event, Thread

from filelock import FileLock, Timeout

from flows.line.addresses import KEY, SinkAddress, SourceAddress, read_sink, read_source, secret
from flows.line.board import Board, Judged
from flows.line.delivery import Delivery
from flows.line.eye import Eye, Seen, draw_picture
from flows.line.folder_source import FolderSource
from flows.line.frame_source import FrameSource
from flows.line.journal import Journal
from flows.line.page import make_app, show_page
from flows.line.sinks.folder import FolderSink
from flows.line.sinks.sink import Sink
from flows.line.sinks.webhook import WebhookSink
from flows.line.source import Arrival, Behind, Source
from flows.line.verdict import Answer, Verdict
from flows.runtime.environment import prepare_environment
from flows.serving.champions.holder import Holder, watch
from flows.serving.champions.shelf import Shelf
from flows.serving.metrics import Metrics
from flows.serving.recorder import Recorder
from pipelines.core.errors import BusyError, ImageError
from pipelines.core.files import write_whole
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.wording import count_in_words
from pipelines.tracking.store import Tracking

_BEAT = 1.0  # seconds between two heartbeats
_STALE = 2.0  # seconds after which a loop that has not come round is taken for stopped
_EVERY = 30.0  # seconds between two lines of the log
_UNREADABLE = 5.0  # seconds that a file which cannot be read may still be written for
_DRAIN = 3.0  # seconds that sinks get at the end
_PICTURES = 1000  # that are kept

log = logging.getLogger(__name__)


class LineOptions(Record):
    """How a line works.

    `settle` is how many seconds a file must have stood still, `frozen_after` how many the same picture may come; `move`
    puts judged images into `done/`; `once` ends it when no image is left and all sinks have all. The page is served on
    `port` of this machine; None serves none. Of cameras, streams and videos at most `rate` frames a second are taken, 0
    takes all; `behind` says what becomes of those that come too fast.
    """

    settle: float = 0.5
    move: bool = True
    frozen_after: float = 10.0
    once: bool = False
    port: int | None = None
    rate: float = 0.0
    behind: Behind | None = None


def run_line(
    project: Project,
    surface: str,
    source: str,
    sinks: Sequence[str],
    options: LineOptions,
    ready: Callable[[str], None] = log.info,
) -> dict[str, int]:
    """Judge each image of a source by the surface's champion and hand verdicts to the sinks, until Ctrl-C or SIGTERM.

    Args:
        project: Its registry is looked at every two seconds for another champion; its state folder keeps the journal.
        surface: Surface that has a champion.
        source: Address of the source.
        sinks: Addresses of the sinks, at least one.
        options: How it works.
        ready: Called with the address of the page, once it is there.

    Returns:
        How many images got which verdict in this call.

    Raises:
        CallError: If an address is none that is known.
        BusyError: If a line of this surface runs already.
        ModelError: If the surface has no champion, or it does not load and reproduce its reference tiles.
    """
    came, addresses = read_source(source), [read_sink(text) for text in sinks]
    prepare_environment(project)
    home = project.state / "line" / surface
    home.mkdir(parents=True, exist_ok=True)
    stop = Event()
    previous = signal.signal(signal.SIGTERM, lambda *_: stop.set())
    try:
        with ExitStack() as stack:
            try:
                stack.enter_context(FileLock(home / "lock", timeout=0))
            except Timeout as error:
                raise BusyError(f"a line of '{surface}' runs already", hint="end it first") from error
            metrics = Metrics()
            holder = Holder(project, Tracking(project), surface, Shelf(), metrics)
            recorder = stack.enter_context(closing(Recorder(project.surface(surface).history)))
            journal = stack.enter_context(closing(Journal(home / "journal.db")))
            pictures = home / "pictures"
            deliveries = [
                stack.enter_context(closing(Delivery(journal, _open(address, surface, pictures))))
                for address in addresses
            ]
            images = _open_source(came, options)
            line = _Line(
                holder, recorder, journal, deliveries, Eye(surface, options.frozen_after), images, pictures, metrics
            )
            if options.port is not None:
                wrong = project.surface(surface).reports / "line-wrong"
                app = make_app(
                    line.board, lambda: line.board.state(deliveries, journal, images), pictures, wrong, metrics.render
                )
                ready(stack.enter_context(show_page(app, options.port)))
            for act, name in ((lambda: watch([holder], stop), "champion"), (lambda: line.beat(stop), "heartbeat")):
                Thread(target=act, name=name, daemon=True).start()
            log.info("line %s: %s looks at %s", surface, holder.current.name, came.text)
            with suppress(KeyboardInterrupt):
                line.run(stop, once=options.once)
            stop.set()
            line.finish(None if options.once else _DRAIN)
            return {answer.value: number for answer, number in line.board.counts().items()}
    finally:
        signal.signal(signal.SIGTERM, previous)


def _open_source(address: SourceAddress, options: LineOptions) -> Source:
    if address.kind == "folder":
        return FolderSource(Path(address.opened), options.settle, move=options.move)
    ends = address.kind == "video"
    opened = int(address.opened) if address.kind == "camera" else address.opened
    behind = options.behind or (Behind.BLOCK if ends else Behind.DROP_OLDEST)
    return FrameSource(opened, address.text, options.rate, behind, ends=ends)


def _open(address: SinkAddress, surface: str, pictures: Path) -> Sink:
    if address.kind == "folder":
        return FolderSink(address.text, Path(address.path), pictures)
    if address.kind in {"http", "https"}:
        return WebhookSink(address.path, secret(KEY))
    from flows.line.sinks.mqtt import MqttSink

    return MqttSink(address, f"knotwatch-{surface}")


@dataclass
class _Line:
    """The loop, and the heart that beats while it comes round."""

    holder: Holder
    recorder: Recorder
    journal: Journal
    deliveries: Sequence[Delivery]
    eye: Eye
    source: Source
    pictures: Path
    metrics: Metrics

    def __post_init__(self) -> None:
        self._round = self._said = time.monotonic()
        self.board = Board(self.holder.surface)
        self.board.model = self.holder.current.name

    def run(self, stop: Event, *, once: bool) -> None:
        for arrival in self.source.images(stop):
            self._round = time.monotonic()
            if self._round - self._said > _EVERY:
                self._say()
            if arrival is None:
                if once and not self.source.waiting:
                    return
                continue
            self._take(arrival)

    def beat(self, stop: Event) -> None:
        """Have every sink show each second whether the loop comes round."""
        while not stop.wait(_BEAT):
            alive = time.monotonic() - self._round < _STALE and not self.source.problem
            for delivery in self.deliveries:
                delivery.sink.beat(alive=alive)

    def finish(self, seconds: float | None) -> None:
        """Give the sinks some seconds for what they miss, all that they need with None, and say what came of it."""
        for delivery in self.deliveries:
            delivery.drain(float("inf") if seconds is None else seconds)
        self._say()

    def _say(self) -> None:
        self._said, counts, p95 = time.monotonic(), self.board.counts(), self.board.p95()
        total = count_in_words(sum(counts.values()), "image")
        odd = f"{counts[Answer.ANOMALOUS]} anomalous, {counts[Answer.UNINSPECTABLE]} uninspectable"
        late = "" if p95 is None else f", 95 % within {p95:.2f} s"
        missed = [(d.sink.name, self.journal.waiting(d.sink.name)) for d in self.deliveries]
        behind = "".join(f"; {name} misses {number}" for name, number in missed if number)
        dropped = f", {self.source.dropped} dropped" if self.source.dropped else ""
        log.info("line %s: %s, %s%s%s%s", self.board.surface, total, odd, dropped, late, behind)

    def _take(self, arrival: Arrival) -> None:
        if self.journal.knows(arrival.key):
            self.source.finish(arrival)
            return
        with self.holder.lend(lambda: None) as used:
            try:
                seen = self.eye.judge(used, arrival.read(), arrival.name, arrival.since)
            except FileNotFoundError:
                return
            except (ImageError, OSError) as error:
                # Written in bursts, or still locked: it is looked at again for a while.
                if time.monotonic() - arrival.since < _UNREADABLE:
                    return
                problem = error.problem if isinstance(error, ImageError) else str(error)
                seen = self.eye.refuse(used, arrival.name, arrival.since, problem)
            self._keep(arrival, seen)

    def _keep(self, arrival: Arrival, seen: Seen) -> None:
        picture = draw_picture(seen)

        def number_it(number: int) -> Verdict:
            if picture is not None:
                write_whole(self.pictures / f"{number}.jpg", picture)
            return seen.verdict.model_copy(update={"number": number})

        verdict = self.journal.add(arrival.key, number_it)
        self.recorder.add([seen.observation])
        self.metrics.note_request(verdict.surface, verdict.verdict.value, verdict.seconds)
        if verdict.score is not None:
            anomalous = verdict.verdict == Answer.ANOMALOUS
            self.metrics.note_predictions(verdict.surface, [{"score": verdict.score, "anomalous": anomalous}])
        self.board.add(Judged(verdict, self.source.finish(arrival), picture is not None))
        (self.pictures / f"{verdict.number - _PICTURES}.jpg").unlink(missing_ok=True)
        for delivery in self.deliveries:
            delivery.wake()
