"""Sinks that are away: nothing is lost, doubled or out of order, and nobody else is held up."""

import json
import socket
import time
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from threading import Thread

import pytest

from flows.line.addresses import read_sink
from flows.line.delivery import Delivery
from flows.line.journal import Journal, Kept
from flows.line.sinks.folder import FolderSink
from flows.line.sinks.mqtt import MqttSink
from flows.line.sinks.webhook import WebhookSink, sign
from tests.flows.line.receivers import HttpReceiver, Listener, broker, free_port, until, verdict


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.db")
    yield made
    made.close()


def fill(journal: Journal, first: int, last: int) -> None:
    for number in range(first, last + 1):
        journal.add(f"k{number}", verdict)


def test_a_webhook_gets_all_in_order_signed_also_what_it_missed(journal: Journal) -> None:
    receiver = HttpReceiver()
    delivery = Delivery(journal, WebhookSink(f"http://127.0.0.1:{receiver.port}/hook", "key"))
    fill(journal, 1, 2)
    assert delivery.drain(20)
    receiver.status = 503
    fill(journal, 3, 4)
    until(lambda: "answered 503" in delivery.problem, "the refusal", seconds=20)
    receiver.close()
    fill(journal, 5, 6)
    again = HttpReceiver(receiver.port)
    assert delivery.drain(60)
    delivery.close()
    again.close()
    assert [json.loads(body)["number"] for _, body in receiver.got + again.got] == [1, 2, 3, 4, 5, 6]
    headers, body = again.got[-1]
    assert headers["X-Knotwatch-Id"] == "id6"
    assert headers["X-Knotwatch-Signature"] == "sha256=" + sign("key", headers["X-Knotwatch-Time"], body)
    assert delivery.problem == ""


def test_a_sink_that_is_away_holds_up_no_other(journal: Journal, tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures/1.jpg").write_bytes(b"jpeg")
    away = Delivery(journal, WebhookSink(f"http://127.0.0.1:{free_port()}/hook", ""))
    folder = Delivery(journal, FolderSink("folder", tmp_path / "out", tmp_path / "pictures"))
    fill(journal, 1, 2)
    assert folder.drain(20)
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["00000001.jpg", "00000001.json", "00000002.json"]
    assert json.loads((tmp_path / "out/00000002.json").read_text())["number"] == 2
    assert journal.waiting(away.sink.name) == 2
    for delivery in (away, folder):
        delivery.close()


def test_a_broker_that_goes_and_comes_back_gets_each_verdict_once_with_birth_heartbeat_and_last_will(
    journal: Journal, tmp_path: Path
) -> None:
    port = free_port()
    with broker(port, tmp_path):
        listener = Listener(port)
        sink = MqttSink(read_sink(f"mqtt://127.0.0.1:{port}/line1/oak"), "knotwatch-oak")
        delivery = Delivery(journal, sink)
        fill(journal, 1, 3)
        assert delivery.drain(30)
        sink.beat(alive=True)
        until(lambda: listener.of("line1/oak/heartbeat"), "a heartbeat", seconds=20)
        sink.beat(alive=False)
        until(lambda: b"stopped" in listener.of("line1/oak/state")[-1], "the state", seconds=20)
        sink.beat(alive=True)
        until(lambda: len(listener.of("line1/oak")) == 3, "three verdicts", seconds=20)
    fill(journal, 4, 8)
    with broker(port, tmp_path):
        assert delivery.drain(60)
        until(lambda: len(listener.of("line1/oak")) >= 8, "all verdicts", seconds=30)
        delivery.close()
        until(lambda: b"offline" in listener.of("line1/oak/state")[-1], "the farewell", seconds=20)
        listener.close()
    assert [json.loads(body)["number"] for body in listener.of("line1/oak")] == [1, 2, 3, 4, 5, 6, 7, 8]
    states = [json.loads(body)["state"] for body in listener.of("line1/oak/state")]
    assert states[:2] == ["online", "stopped"]


def test_an_endless_answer_holds_up_and_fills_nothing() -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        with suppress(OSError):
            for _ in range(2):
                connection, _address = listener.accept()
                with connection, suppress(OSError):
                    connection.recv(65536)
                    connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    for _ in range(400):
                        connection.sendall(b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
                        time.sleep(0.05)

    Thread(target=answer, daemon=True).start()
    sink = WebhookSink(f"http://127.0.0.1:{listener.getsockname()[1]}/", "")
    started = time.monotonic()
    with closing(listener), closing(sink):
        for number in (1, 2):
            sink.send(Kept(number, verdict(number).model_dump_json()))
    assert time.monotonic() - started < 10, "the answer was read to its end"
