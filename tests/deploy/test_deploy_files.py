"""Files of a deployment: as their public schemas want them, and with commands that there are."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import typer
import yaml

from flows.cli.app import app
from tests.conftest import ROOT

DEPLOY = ROOT / "deploy"
MANIFESTS = sorted(path for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.name != "kustomization.yaml")
LASTING = {"postgres", "storage", "prefect", "mlflow", "worker", "serving"}
SECRET = re.compile(r"PASSWORD|TOKEN|AUTH|SECRET|KEY")


def read_compose() -> Any:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def read_manifests() -> Iterator[tuple[str, Any]]:
    for path in MANIFESTS:
        for document in yaml.safe_load_all(path.read_text()):
            yield path.name, document


def find_commands() -> Iterator[tuple[str, list[str]]]:
    """Yield the words of each command of ours, with something in the place of variables."""
    for name, service in read_compose()["services"].items():
        if "build" in service:
            yield f"compose {name}", service["command"]
    for name, document in read_manifests():
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in (*pod.get("initContainers", ()), *pod.get("containers", ())):
            yield f"{name} {container['name']}", container["args"]


COMMANDS = [(name, [re.sub(r"\$[{(].*?[})]", "boards", word) for word in words]) for name, words in find_commands()]


def test_the_compose_file_is_one() -> None:
    schema = json.loads(files("check_jsonschema").joinpath("builtin_schemas/vendor/compose-spec.json").read_text())
    jsonschema.validate(read_compose(), schema)


def test_services_wait_for_healthy_ones_and_keep_what_they_write() -> None:
    services = read_compose()["services"]
    assert {name for name, service in services.items() if "test" in service.get("healthcheck", {})} == LASTING
    for name, service in services.items():
        for other, wanted in service.get("depends_on", {}).items():
            healthy = wanted["condition"] == "service_healthy"
            assert healthy == (other in LASTING), f"{name} waits for {other}"
    volumes = {volume.split(":")[0] for service in services.values() for volume in service.get("volumes", ())}
    assert volumes - {"./databases.sql"} == set(read_compose()["volumes"])
    assert (DEPLOY / "databases.sql").is_file()


def test_no_secret_has_a_value_of_ours() -> None:
    example = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    asked = set(re.findall(r"\$\{(\w+):\?", (DEPLOY / "compose.yaml").read_text()))
    assert {name: example[name] for name in asked} == dict.fromkeys(asked, "")
    for service in read_compose()["services"].values():
        for name, value in service.get("environment", {}).items():
            assert not SECRET.search(name) or "${" in value or value == "knotwatch", name
    for path, document in read_manifests():
        pod = document.get("spec", {}).get("template", {}).get("spec", {})
        for container in pod.get("containers", ()):
            for variable in container.get("env", ()):
                hidden = "secretKeyRef" in variable.get("valueFrom", {}) or variable.get("value") == "knotwatch"
                assert hidden or not SECRET.search(variable["name"]), path
                if hidden and "valueFrom" in variable:
                    assert variable["valueFrom"]["secretKeyRef"]["key"] in example


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_a_manifest_is_as_kubernetes_wants_it(path: Path) -> None:
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    for document in yaml.safe_load_all(path.read_text()):
        kubernetes_validate.validate(document, kubernetes_validate.latest_version(), strict=True)


def test_the_kustomization_names_each_manifest() -> None:
    named = yaml.safe_load((DEPLOY / "kubernetes" / "kustomization.yaml").read_text())["resources"]
    assert sorted(named) == [path.name for path in MANIFESTS]


@pytest.mark.parametrize(("name", "words"), [case for case in COMMANDS if case[1][0] == "knotwatch"])
def test_a_command_of_ours_is_understood(name: str, words: list[str]) -> None:
    command: Any = typer.main.get_command(app)
    context, words = command.make_context("knotwatch", list(words[1:]), resilient_parsing=True), words[1:]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, list(words), parent=context)


@pytest.mark.services
@pytest.mark.slow
@pytest.mark.parametrize(("name", "words"), [case for case in COMMANDS if case[1][0] != "knotwatch"])
def test_a_command_of_a_library_has_these_options(name: str, words: list[str]) -> None:
    first = next(number for number, word in enumerate(words) if word.startswith("-"))
    program = Path(sys.executable).with_name(words[0])
    done = subprocess.run([program, *words[1:first], "--help"], capture_output=True, text=True, check=True)
    assert [word for word in words[first:] if word.startswith("--") and word not in done.stdout] == []


def test_the_image_runs_as_nobody_special_with_files_that_there_are() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    words = [line.split() for line in lines if line and not line.startswith("#")]
    last = max(number for number, (word, *_) in enumerate(words) if word == "FROM")
    final = [word for word, *_ in words[last:]]
    assert final.index("USER") < final.index("ENTRYPOINT")
    assert {word: rest for word, *rest in words[last:]}["USER"] == ["10001"]
    assert "HEALTHCHECK" in final
    assert all("gcc" not in line and "build-essential" not in line for line in lines)
    copied = [
        part for word, *rest in words for part in rest[:-1] if word == "COPY" and not rest[0].startswith("--from")
    ]
    assert [name for name in copied if not name.startswith("--") and not (ROOT / name).exists()] == []
    for service in read_compose()["services"].values():
        checks = [word for word in service.get("healthcheck", {}).get("test", ()) if "/opt/knotwatch/" in word]
        assert all((ROOT / word.removeprefix("/opt/knotwatch/")).is_file() for word in checks)


def test_an_empty_volume_becomes_a_project_and_one_with_settings_keeps_them(tmp_path: Path) -> None:
    environment = {**os.environ, "KNOTWATCH_CODE": str(ROOT), "KNOTWATCH_PREPARE": "1"}

    def enter(*words: str) -> str:
        command = [str(DEPLOY / "enter.sh"), *words]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    assert enter("echo", "it runs") == "it runs\n"
    index, own = tmp_path / "data/surfaces/index.yaml", tmp_path / "data/surfaces/oak.yaml"
    for path in (index, own):
        path.write_text("surfaces: [oak]\n")
    (tmp_path / "params.yaml").write_text("old: 1\n")
    enter("true")
    assert {index.read_text(), own.read_text()} == {"surfaces: [oak]\n"}
    for name in ("dvc.yaml", "params.yaml", "flows/retrain.py", "pipelines/data/validate.py", "mlflow/server.yaml"):
        assert (tmp_path / name).read_bytes() == (ROOT / name).read_bytes()
    assert (tmp_path / ".dvc/config").is_file()
    assert (tmp_path / ".git").is_dir()
