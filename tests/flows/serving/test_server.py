"""The server itself, asked with MLflow's own client: the scores of `inspect`, and a champion changed under load."""

import asyncio
import base64
import io
import json
import signal
import socket
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import Any

import numpy as np
import pandas as pd
import pytest
import tifffile
from PIL import Image

from flows.serving.access import bind_listener
from pipelines.core.paths import Project
from pipelines.inspection.history import read_history
from tests.conftest import run_knotwatch
from tests.flows.processes import until
from tests.flows.projects import SURFACE, copy_project
from tests.flows.serving.served import Served, add_version, encode, put_in_use, registry_of, serving


@pytest.fixture(scope="module")
def served(in_use: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server for tests that leave it, and its champion, as they were."""
    with serving(in_use, tmp_path_factory.mktemp("serve") / "said") as found:
        yield found


@pytest.fixture
def own(trained_once: Project, tmp_path: Path) -> Iterator[Served]:
    """A server of the test's own, with a project of its own."""
    with serving(copy_project(trained_once, tmp_path / "project"), tmp_path / "said") as found:
        yield found


def mlflow_client(port: int) -> Any:
    with warnings.catch_warnings():
        # Its import warns of its own type hints.
        warnings.simplefilter("ignore")
        from mlflow.pyfunc.scoring_server.client import ScoringServerClient
    return ScoringServerClient("127.0.0.1", port)


def test_an_answer_does_not_wait_for_an_acknowledgement() -> None:
    found: asyncio.Future[int]

    async def look(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        accepted = writer.get_extra_info("socket")
        found.set_result(accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    async def ask() -> int:
        nonlocal found
        found = asyncio.get_running_loop().create_future()
        with bind_listener(0) as listener:
            async with await asyncio.start_server(look, sock=listener):
                _, writer = await asyncio.open_connection(*listener.getsockname())
                writer.close()
                return await found

    assert asyncio.run(ask()) != 0


def test_mlflows_client_gets_what_inspect_says(served: Served, boards: Path, tmp_path: Path) -> None:
    # All defective ones among them, and no more than one request may bring.
    files = sorted(boards.iterdir())[-50:]
    words = ("inspect", SURFACE, *map(str, files), "--no-pictures", "--maps", str(tmp_path), "--json")
    found = run_knotwatch(served.project.root, *words).json
    inspected = found["images"]
    client = mlflow_client(served.port)
    client.ping()
    table = pd.DataFrame({"image": [encode(file) for file in files]})
    answered = client.invoke(table, params={"maps": True})["predictions"]
    assert len({prediction["score"] for prediction in answered}) > 40, "the boards differ"
    assert any(prediction["anomalous"] for prediction in answered)
    assert any(prediction["defects"] for prediction in answered)
    for prediction, image in zip(answered, inspected, strict=True):
        assert prediction["score"] == pytest.approx(image["score"], rel=1e-6)
        assert prediction["image_threshold"] == found["image_threshold"]
        for name in ("anomalous", "defects", "normal_regions", "out_of_distribution"):
            assert prediction[name] == image[name]
        assert (prediction["version"], prediction["model"]) == (1, "drawn/1 (padim)")
        sent = tifffile.imread(io.BytesIO(base64.b64decode(prediction["map"])))
        assert np.allclose(sent, tifffile.imread(image["map"]), rtol=1e-6)
    assert "map" not in client.invoke(table[:1])["predictions"][0]


def test_what_cannot_be_read_is_named_and_the_server_goes_on(served: Served, boards: Path) -> None:
    ask_for_what_is_torn(served, boards)


def ask_for_what_is_torn(served: Served, boards: Path) -> None:
    """What cannot be read is named by its row, and the server goes on."""
    whole = encode(sorted(boards.iterdir())[0])
    torn = base64.b64encode(base64.b64decode(whole)[:200]).decode()
    with pytest.raises(urllib.error.HTTPError) as refused:
        served.ask({"dataframe_records": [{"image": whole}, {"image": torn}]})
    assert refused.value.code == 400
    assert json.load(refused.value)["message"].startswith("row 1: file is truncated")
    assert served.ask({"dataframe_records": [{"image": whole}]})[0]["version"] == 1


def test_an_image_far_larger_than_those_trained_on_is_refused(served: Served) -> None:
    answers = {}
    for width in (700, 800):  # 16 times 192 x 128 lies between
        file = io.BytesIO()
        Image.new("1", (width, 520)).save(file, "PNG")
        body = {"dataframe_records": [{"image": base64.b64encode(file.getvalue()).decode()}]}
        try:
            answers[width] = served.ask(body)[0]["version"]
        except urllib.error.HTTPError as refused:
            answers[width] = refused.code
    assert answers == {700: 1, 800: 413}


def test_a_registry_without_a_champion_leaves_the_old_one_serving(served: Served, boards: Path) -> None:
    registry = registry_of(served.project)
    registry.delete_registered_model_alias(SURFACE, "champion")
    try:
        until(lambda: served.get("health")["status"] == "degraded", "the look at the registry", seconds=30)
        assert "no champion" in served.get("health")["problem"]
        assert served.ask({"dataframe_records": [{"image": encode(next(boards.iterdir()))}]})[0]["score"] > 0
    finally:
        registry.set_registered_model_alias(SURFACE, "champion", "1")


def test_a_champion_changes_under_load_and_ctrl_c_ends_it_with_all_that_was_asked_in_the_history(
    own: Served, boards: Path
) -> None:
    ask_for_what_is_torn(own, boards)
    change_champion_under_load(own, boards)
    before = read_history(own.project.surface(SURFACE).history)
    assert not before["path"].str.startswith("rest:").any()
    own.process.send_signal(signal.SIGINT)
    assert own.process.wait(timeout=60) == 0, own.said.read_text()
    assert "takes over from drawn/1" in own.said.read_text()
    assert "Traceback" not in own.said.read_text()
    found = read_history(own.project.surface(SURFACE).history)
    requested = found[found["path"].str.startswith("rest:")]
    assert set(requested["version"]) == {1, 2}
    assert (requested["error"] == "file is truncated").sum() == 1
    assert requested["brightness_mean"].notna().sum() == len(requested) - 1
    assert requested["path"].is_unique


def change_champion_under_load(served: Served, boards: Path) -> None:
    """No request fails, none goes back to the old champion, and the new one is in use soon."""
    made = add_version(served.project)
    bodies = [{"dataframe_records": [{"image": encode(board)}]} for board in sorted(boards.iterdir())[:4]]
    enough = Event()

    def load(body: Any) -> list[tuple[float, Any]]:
        answers = []
        while not enough.is_set():
            answers.append((served.ask(body)[0], time.monotonic()))
        return answers

    with ThreadPoolExecutor(len(bodies)) as pool:
        loads = [pool.submit(load, body) for body in bodies]
        try:
            time.sleep(1)
            moved = time.monotonic()
            put_in_use(served.project, made)
            until(lambda: served.get("health")["version"] == made, "the new champion", seconds=30)
            time.sleep(0.5)
        finally:
            enough.set()
        for answers in (load.result() for load in loads):
            versions = [answer["version"] for answer, _ in answers]
            assert set(versions) == {1, made}
            assert versions == sorted(versions), "no request went back"
            assert len({answer["score"] for answer, _ in answers}) == 1, "both versions hold the same network"
            taken = next(when for answer, when in answers if answer["version"] != 1)
            assert taken - moved < 10
    assert served.get("health")["status"] == "ok"
