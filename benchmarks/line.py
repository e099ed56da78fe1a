"""A line under load: `python -m benchmarks.line SURFACE IMAGES`, in a project whose surface has a champion.

A real mosquitto on loopback; a camera that writes in bursts, half of the images slowly under their own name, half by
renaming; a receiver that counts. The broker is stopped in the middle, and the line killed with
SIGKILL and started again. At the end each image must have exactly one verdict.
"""

import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import paho.mqtt.client as mqtt
import psutil
import typer
from paho.mqtt.enums import CallbackAPIVersion
from rich.console import Console

from benchmarks.command import run_command
from pipelines.core.errors import CallError
from pipelines.core.paths import find_project
from pipelines.data.layouts.listing import image_files

_TOPIC = "bench/line"
_BURST = 20


class _Receiver:
    """Notes when each verdict arrived."""

    def __init__(self, port: int) -> None:
        self.got: list[tuple[float, dict[str, Any]]] = []
        self.beats = list[float]()
        client = mqtt.Client(CallbackAPIVersion.VERSION2, "receiver", clean_session=False)
        client.on_connect = lambda c, *_: c.subscribe(f"{_TOPIC}/#", qos=1)
        client.on_message = self._note
        client.reconnect_delay_set(1, 1)
        client.connect_async("127.0.0.1", port, keepalive=5)
        client.loop_start()
        self.close = client.loop_stop

    def _note(self, _client: Any, _data: Any, message: mqtt.MQTTMessage) -> None:
        if message.topic == _TOPIC:
            self.got.append((time.time(), json.loads(message.payload)))
        elif message.topic.endswith("/heartbeat"):
            self.beats.append(time.time())


def line(
    surface: Annotated[str, typer.Argument(help="A surface with a champion.")],
    folder: Annotated[Path, typer.Argument(help="Images that the camera takes in turns.")],
    images: Annotated[int, typer.Option(min=20, help="How many it takes.")] = 1000,
    rate: Annotated[float, typer.Option(min=0.1, help="Images a second.")] = 10.0,
    away: Annotated[float, typer.Option(min=0, help="Seconds that the broker is stopped for.")] = 20.0,
) -> None:
    """Put a line under load, break what can break, and count.

    Example: python -m benchmarks.line boards data/raw/boards/source --images 5000
    """
    project, sources = find_project(), image_files(folder)
    broker = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if not sources or broker is None:
        raise CallError(f"{folder} has no images, or mosquitto is not installed", hint="apt-get install mosquitto")
    with TemporaryDirectory() as scratch, socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        camera = Path(scratch) / "camera"
        camera.mkdir()
        _write_settings(Path(scratch), port)
        serving = _start_broker(broker, Path(scratch))
        receiver = _Receiver(port)
        command = [
            sys.executable,
            "-c",
            "from flows.cli import main; main()",
            "line",
            surface,
            "--source",
            f"folder:{camera}",
        ]
        command += [
            "--settle",
            "0.2",
            "--frozen-after",
            "0",
            "--no-page",
            "--sink",
            f"mqtt://127.0.0.1:{port}/{_TOPIC}",
        ]
        process = subprocess.Popen(command, cwd=project.root)
        written: dict[str, float] = {}
        writer = threading.Thread(target=_photograph, args=(camera, sources, images, rate, written))
        writer.start()
        memory = [_wait_for(receiver, images // 4, process)]
        serving.terminate()
        serving.wait(timeout=20)
        time.sleep(away)
        serving = _start_broker(broker, Path(scratch))
        _wait_for(receiver, images // 2, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process = subprocess.Popen(command, cwd=project.root)
        memory.append(_wait_for(receiver, 3 * images // 4, process))
        writer.join()
        memory.append(_wait_for(receiver, images, process))
        process.terminate()
        process.wait(timeout=30)
        time.sleep(1)
        receiver.close()
        serving.terminate()
        serving.wait(timeout=20)
    _report(receiver, written, memory)


def _write_settings(folder: Path, port: int) -> None:
    lines = (f"listener {port} 127.0.0.1", "allow_anonymous true", "persistence true", "max_queued_messages 0")
    (folder / "mosquitto.conf").write_text("\n".join((*lines, f"persistence_location {folder}/", "user root", "")))


def _start_broker(program: str, folder: Path) -> "subprocess.Popen[bytes]":
    started = subprocess.Popen(
        [program, "-c", str(folder / "mosquitto.conf")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    time.sleep(0.5)
    return started


def _photograph(camera: Path, sources: list[Path], images: int, rate: float, written: dict[str, float]) -> None:
    for number in range(images):
        source = sources[number % len(sources)]
        data, name = source.read_bytes(), f"{number:06d}{source.suffix}"
        if number % 2:
            (camera / f".{name}").write_bytes(data)
            (camera / f".{name}").rename(camera / name)
        else:
            with (camera / name).open("wb") as file:
                for part in np.array_split(np.frombuffer(data, np.uint8), 3):
                    file.write(part.tobytes())
                    file.flush()
                    time.sleep(0.02)
        written[name] = time.time()
        if number % _BURST == _BURST - 1:
            time.sleep(max(0.0, _BURST / rate - _BURST / 2 * 0.06))


def _wait_for(receiver: _Receiver, number: int, process: "subprocess.Popen[bytes]") -> float:
    """Wait for so many verdicts; return the line's memory in MB."""
    while len({body["id"] for _, body in list(receiver.got)}) < number:
        if process.poll() is not None:
            raise CallError("the line has ended", hint="its last words are above")
        time.sleep(0.2)
    return psutil.Process(process.pid).memory_info().rss / 1e6


def _report(receiver: _Receiver, written: dict[str, float], memory: list[float]) -> None:
    first: dict[str, tuple[float, dict[str, Any]]] = {}
    for when, body in receiver.got:
        first.setdefault(body["id"], (when, body))
    counts = Counter(body["image"] for _, body in first.values())
    delays = np.array([when - written[body["image"]] for when, body in first.values()])
    p50, p95, p99 = np.quantile(delays, (0.5, 0.95, 0.99))
    say = Console().print
    say(
        f"{len(written)} images, {len(counts)} with a verdict, {sum(n > 1 for n in counts.values())} with more than one"
    )
    say(f"{len(receiver.got) - len(first)} verdicts delivered a second time by the same id")
    say(f"uninspectable: {sum(body['verdict'] == 'uninspectable' for _, body in first.values())}")
    say(f"from the whole image to the message: p50 {p50:.2f}, p95 {p95:.2f}, p99 {p99:.2f} s, faults included")
    seconds = np.median([body["seconds"] for _, body in first.values()])
    say(f"in the line itself, median: {seconds:.3f} s; heartbeats: {len(receiver.beats)}")
    say("memory at a quarter, at three quarters and at the end: " + ", ".join(f"{value:.0f} MB" for value in memory))


if __name__ == "__main__":
    run_command(line)
