"""Pages in the user's browser, and names that lead here, against every server of this machine: real ones, attacked."""

import base64
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from flows.local_servers.door import make_code
from pipelines.core.paths import Project
from pipelines.inspection.history import read_history
from tests.chromium import Tab, open_chromium
from tests.conftest import run_knotwatch
from tests.flows.attacks import ask, assert_foreign_refused, attack, foreign_page, run_chain
from tests.flows.processes import free_port, until
from tests.flows.projects import SURFACE, copy_project
from tests.flows.started import Ui, basic, start, start_ui
from tests.flows.test_killed import RETRAIN, Killed

pytestmark = pytest.mark.slow


class Target(NamedTuple):
    """A project whose servers all run."""

    ui: Ui
    serve: int

    @property
    def prefect(self) -> int:
        return port_of(self.ui.prefect)

    @property
    def mlflow(self) -> int:
        return port_of(self.ui.mlflow)


def port_of(url: str) -> int:
    return int(url.split(":")[2].split("/", maxsplit=1)[0])


@pytest.fixture(scope="module")
def target(trained_once: Project, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    project = copy_project(trained_once, tmp_path_factory.mktemp("attacked") / "project")
    port = free_port()
    with start_ui(project) as ui, start(project, project.root / "serve.log", "serve", SURFACE, "--port", str(port)):
        run_knotwatch(project.root, "schedule", SURFACE, "--cron", "0 2 * * 1")
        yield Target(ui, port)


@pytest.fixture(scope="module")
def tab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with open_chromium(tmp_path_factory.mktemp("chromium")) as opened:
        opened.call("Emulation.setDeviceMetricsOverride", width=1280, height=900, deviceScaleFactor=1, mobile=False)
        yield opened


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    with foreign_page() as address:
        yield address


def attacks_on(api: str, pool: str = "knotwatch") -> list[tuple[str, str, Any]]:
    some = "00000000-0000-0000-0000-000000000000"
    steps = [{"prefect.deployments.steps.run_shell_script": {"script": "true"}}]
    return [
        ("GET", f"{api}/admin/version", None),
        ("POST", f"{api}/flows/", {"name": "evil"}),
        ("POST", f"{api}/flows/filter", {}),
        ("POST", f"{api}/deployments/", {"name": "e", "flow_id": some, "work_pool_name": pool, "pull_steps": steps}),
        ("POST", f"{api}/deployments/{some}/create_flow_run", {"state": {"type": "SCHEDULED"}}),
    ]


def attack_all(target: Target, tab: Tab, page: str, source_image: Path) -> None:
    image = base64.b64encode(source_image.read_bytes()).decode()
    requested = {"dataframe_split": {"columns": ["image"], "data": [[image]]}}
    create = "2.0/mlflow/experiments/create"
    mlflow = [("POST", f"{target.ui.mlflow}/{kind}/{create}", {"name": f"evil-{kind}"}) for kind in ("api", "ajax-api")]
    served = ("POST", f"http://127.0.0.1:{target.serve}/invocations", requested)
    door = ("POST", target.ui.link.split("#")[0], "guess")
    file = target.ui.project.root / "touched"
    assert run_chain(tab, page, target.ui.prefect, str(file)) == "refused"
    attack(tab, page, [*attacks_on(target.ui.prefect), door, *mlflow, served])
    assert not [f for f in target.ui.api("flows/filter", {}) if f["name"] == "evil"]
    assert {d["name"] for d in target.ui.api("deployments/filter", {})} == {SURFACE}
    assert not file.exists()


def test_no_page_of_another_port_commands_any_server(target: Target, tab: Tab, page: str, boards: Path) -> None:
    image = next(boards.iterdir())
    attack_all(target, tab, page, image)
    log_in(tab, target.ui.link)
    attack_all(target, tab, page, image)
    found = target.ui.project
    listed = run_knotwatch(found.root, "models", SURFACE, "--json").json
    assert len(listed["models"]) == 1
    history = read_history(found.surface(SURFACE).history)
    assert history.empty or not history["path"].str.startswith("rest:").any()
    assert ask(target.mlflow, "GET", "/api/2.0/mlflow/experiments/get-by-name?experiment_name=evil-api", {})[0] == 404


_TEXT = "document.body ? document.body.innerText : ''"


def log_in(tab: Tab, link: str) -> None:
    tab.visit(link)
    see(tab, "Flow Runs")


def see(tab: Tab, words: str) -> None:
    until(lambda: words in str(tab.evaluate(_TEXT)), words, seconds=60)


def test_the_owner_sees_both_pages_and_pauses_a_schedule_on_one(target: Target, tab: Tab) -> None:
    origin = target.ui.prefect.removesuffix("/api")
    log_in(tab, target.ui.link)
    tab.visit(target.ui.link.split("#")[0])
    see(tab, "Flow Runs")
    tab.visit(f"{origin}/v2/runs")
    see(tab, f"retrain {SURFACE}")
    deployment = target.ui.api(f"deployments/name/retrain/{SURFACE}")["id"]
    tab.visit(f"{origin}/v2/deployments/deployment/{deployment}")
    see(tab, "02:00 AM")
    shown = "document.querySelector('[role=switch]')?.getAttribute('aria-checked')"
    for active in (False, True):
        # A click before the page knows of the one before would ask for the same once more.
        until(lambda wanted=active: tab.evaluate(shown) == str(not wanted).lower(), "the switch as it is", seconds=60)
        tab.evaluate("document.querySelector('[role=switch]').click()")
        words = ("schedule", SURFACE, "--json")
        until(
            lambda wanted=active: target.ui.api(f"deployments/{deployment}")["schedules"][0]["active"] is wanted,
            "the schedule's state",
            seconds=30,
        )
        (schedule,) = run_knotwatch(target.ui.project.root, *words).json["schedules"]
        assert schedule["active"] is active
    tab.visit(target.ui.mlflow)
    see(tab, "Recent Experiments")
    # What a person chose on MLflow's page is kept.
    assert tab.evaluate("localStorage.getItem('mlflow.workflowType_v1')") == '"machine_learning"'
    tab.evaluate("localStorage.setItem('mlflow.workflowType_v1', '\"genai\"')")
    tab.visit(f"{target.ui.mlflow}/?again")
    see(tab, "Prompts")
    tab.evaluate("localStorage.clear()")


def test_pages_open_on_model_training_and_ask_no_other_machine(target: Target, tab: Tab) -> None:
    origin, mlflow, project = target.ui.prefect.removesuffix("/api"), target.ui.mlflow, target.ui.project
    found = run_knotwatch(project.root, "models", SURFACE, "--json").json["models"][0]
    (flow_run,) = target.ui.api("flow_runs/filter", {"limit": 1})
    log_in(tab, target.ui.link)
    pages = {
        f"{mlflow}/": "Recent Experiments",
        f"{mlflow}/#/experiments/1": "retrain quick",
        f"{mlflow}/#/experiments/1/runs/{found['run_id']}": "About this run",
        f"{mlflow}/#/models/{SURFACE}": "Version 1",
        f"{mlflow}/#/models/{SURFACE}/versions/1": "Source Run",
        f"{origin}/v2/dashboard": "Flow Runs",
        f"{origin}/flow-runs/flow-run/{flow_run['id']}": "Task Runs",
        (project.root / "data/reports/index.html").as_uri(): SURFACE,
    }
    for address, words in pages.items():
        # From another page: a new fragment alone would not load anything.
        tab.visit("about:blank")
        tab.events.clear()
        tab.visit(address)
        see(tab, words)
        assert not [url for url in tab.requests() if not url.startswith(("file:", "about:", mlflow, origin))], address
        if address.startswith(mlflow):
            assert not [word for word in ("Prompts", "Assistant", "telemetry") if word in tab.evaluate(_TEXT)], address


def test_a_link_opens_for_minutes_in_any_browser_and_then_says_what_to_do(
    target: Target, tab: Tab, tmp_path: Path
) -> None:
    door, _, _ = target.ui.link.partition("#")
    with open_chromium(tmp_path) as other:
        old = make_code(target.ui.secret, time.time() - 3600)
        for code in (old, "1.0", f"{int(time.time()) + 900}.{old.partition('.')[2]}"):
            other.visit("about:blank")
            other.visit(f"{door}#{code}")
            see(other, "does not open Prefect's pages any more")
            assert not other.evaluate("localStorage.getItem('prefect-password')?.length > 10")
        log_in(tab, target.ui.link)
        other.visit("about:blank")
        log_in(other, target.ui.link)


def test_foreign_names_and_origins_are_refused_whatever_they_know(target: Target) -> None:
    secret = basic(target.ui.secret)
    assert_foreign_refused(target.prefect, "/api/flows/filter", secret)
    assert_foreign_refused(target.prefect, "/api/admin/version", secret)
    assert_foreign_refused(target.mlflow, "/api/2.0/mlflow/experiments/search", {})
    for host in ("evil.example", f"10.evil.example:{target.serve}"):
        assert ask(target.serve, "GET", "/health", {"Host": host})[0] == 400
    assert ask(target.serve, "POST", "/invocations", {"Content-Type": "text/plain"}, "{}")[0] == 415


def test_prefect_asks_for_the_secret_and_keeps_out_of_frames(target: Target) -> None:
    for headers in ({}, basic("guessed")):
        assert ask(target.prefect, "GET", "/api/admin/version", headers)[0] == 401
        assert ask(target.prefect, "POST", "/api/flows/filter", headers, "{}")[0] == 401
    status, answer = ask(target.prefect, "GET", "/", {"Host": f"localhost:{target.prefect}"})
    assert (status, answer["x-frame-options"]) == (200, "SAMEORIGIN")


@pytest.mark.parametrize("place", ["events/in", "events/out", "logs/out"])
def test_streams_ask_for_the_secret_and_for_no_foreign_origin(target: Target, place: str) -> None:
    url = f"ws://127.0.0.1:{target.prefect}/api/{place}"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin="http://evil.example", subprotocols=["prefect"]):
        pass
    assert refused.value.response.status_code == 403
    with connect(url, subprotocols=["prefect"]) as socket:
        socket.send(json.dumps({"type": "auth", "token": "guessed"}))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=30)
    with connect(url, subprotocols=["prefect"]) as socket:
        socket.send(json.dumps({"type": "auth", "token": target.ui.secret}))
        assert json.loads(socket.recv(timeout=30))["type"] == "auth_success"


def test_the_secret_is_its_owners_alone_and_stands_nowhere(target: Target) -> None:
    file = target.ui.project.state / "prefect-secret"
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(target.ui.secret) > 40
    logs = [target.ui.project.root / "ui.log", *(target.ui.project.state / "logs").iterdir()]
    assert not [log for log in logs if target.ui.secret in log.read_text(errors="replace")]
    for process in psutil.Process(target.ui.process.pid).children(recursive=True):
        assert target.ui.secret not in " ".join(process.cmdline())


def test_the_temporary_server_of_a_retrain_is_as_closed_and_ends_with_it(
    added_once: Project, tab: Tab, page: str, tmp_path: Path
) -> None:
    project = copy_project(added_once, tmp_path / "project")
    process = Killed(project).hang_in("flows.steps.tasks:train", *RETRAIN)
    try:
        (server,) = psutil.Process(process.pid).children()
        (port,) = [c.laddr.port for c in server.net_connections("inet") if c.status == psutil.CONN_LISTEN]
        assert ask(port, "GET", "/api/health", {})[0] == 200
        assert ask(port, "GET", "/api/admin/version", {})[0] == 401
        api = f"http://127.0.0.1:{port}/api"
        attack(tab, page, attacks_on(api))
        assert run_chain(tab, page, api, str(tmp_path / "touched")) == "refused"
        secret = basic((project.state / "prefect-secret").read_text())
        assert_foreign_refused(port, "/api/admin/version", secret)
        assert ask(port, "GET", "/api/admin/version", secret)[0] == 200
    finally:
        process.kill()
        process.wait()
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE, "the server's end", seconds=60)
