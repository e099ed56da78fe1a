"""Frames of a real video and of a real MJPEG camera that comes, goes and comes back."""

import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event
from typing import Any

import cv2
import numpy as np

from flows.line.addresses import read_source
from flows.line.frame_source import FrameSource
from flows.line.source import Behind
from pipelines.imaging.decoding import decode_image


def frame(level: int) -> Any:
    return np.full((48, 64, 3), level, np.uint8)


def write_video(file: Path, frames: int) -> str:
    writer = cv2.VideoWriter(str(file), cv2.VideoWriter_fourcc(*"MJPG"), 25, (64, 48))
    for number in range(frames):
        writer.write(frame(10 * number))
    writer.release()
    return str(file)


class Camera:
    """An MJPEG camera on loopback; each connection gets twenty frames a second until it is ended."""

    def __init__(self, port: int = 0) -> None:
        ended = self._ended = Event()

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=next")
                self.end_headers()
                level = 0
                while not ended.is_set():
                    level = (level + 5) % 250
                    data = cv2.imencode(".jpg", frame(level))[1].tobytes()
                    head = f"--next\r\nContent-Type: image/jpeg\r\nContent-Length: {len(data)}\r\n\r\n"
                    try:
                        self.wfile.write(head.encode() + data + b"\r\n")
                    except OSError:
                        return
                    time.sleep(0.05)

            def log_message(self, *_: Any) -> None:
                pass

        class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
            allow_reuse_address, daemon_threads, block_on_close = True, True, False

        self._server = Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def end(self) -> None:
        self._ended.set()
        self._server.shutdown()
        self._server.server_close()


def test_every_frame_of_a_video_is_taken_once_in_order_however_slow_inspection_is(tmp_path: Path) -> None:
    address = read_source(f"video:{write_video(tmp_path / 'board.avi', 20)}")
    source, levels, keys = FrameSource(address.opened, address.text, 0, Behind.BLOCK, ends=True), [], set()
    for arrival in source.images(Event()):
        if arrival is None:
            continue
        time.sleep(0.01)
        keys.add(arrival.key)
        levels.append(round(float(decode_image(arrival.read(), 1).image.mean())))
        assert source.finish(arrival) is None
    np.testing.assert_allclose(levels, [10 * n for n in range(20)], atol=3)
    assert (len(keys), source.dropped, source.waiting) == (20, 0, 0)


def test_a_camera_that_vanishes_is_named_and_taken_again_and_what_comes_too_fast_is_counted() -> None:
    camera, stop = Camera(), Event()
    address = f"http://127.0.0.1:{camera.port}/stream"
    source = FrameSource(address, address, 0, Behind.DROP_OLDEST, ends=False)
    images = source.images(stop)
    assert next(arrival for arrival in images if arrival).name == "frame-00000001.png"
    time.sleep(1.5)
    assert source.dropped > 0, "twenty a second came, and nobody took them"
    camera.end()
    deadline = time.monotonic() + 30
    while not source.problem:
        next(images)
        assert time.monotonic() < deadline
    assert source.problem == f"{address} hands over no frames"
    again = Camera(camera.port)
    while source.problem:
        next(images)
        assert time.monotonic() < deadline + 30
    assert next(arrival for arrival in images if arrival)
    stop.set()
    again.end()
