"""Nothing is reported to anybody, waiting threads do not spin, and mlflow/ does not stand in for the library."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT

OFF = {
    "DO_NOT_TRACK": "1",
    "DVC_NO_ANALYTICS": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
}


def ask(code: str, cwd: Path = ROOT, **environment: str) -> Any:
    """Run code with the project first on the path, without any switch that is set here; it prints JSON."""
    clean = {k: v for k, v in os.environ.items() if k not in OFF}
    command = [sys.executable, "-c", f"import json, os, sys; sys.path[0] = {str(ROOT)!r}; {code}"]
    done = subprocess.run(command, cwd=cwd, env={**clean, **environment}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_importing_any_room_switches_reporting_off() -> None:
    found = ask(f"import pipelines.core.errors; print(json.dumps({{k: os.environ.get(k) for k in {list(OFF)} }}))")
    assert found == OFF
    assert ask(f"import flows.runtime.locks; print(json.dumps({{k: os.environ.get(k) for k in {list(OFF)} }}))") == OFF


def test_what_the_user_set_stays() -> None:
    code = "import pipelines; print(json.dumps(os.environ['HF_HUB_OFFLINE']))"
    assert ask(code, HF_HUB_OFFLINE="0") == "0"


def test_threads_that_wait_do_not_spin_unless_the_user_wants_them_to(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("OMP_WAIT_POLICY", "KMP_BLOCKTIME", "OPENBLAS_THREAD_TIMEOUT")
    for name in names:
        monkeypatch.delenv(name)
    code = f"import pipelines; print(json.dumps([os.environ[name] for name in {names}]))"
    assert ask(code) == ["PASSIVE", "0", "4"]
    assert ask(code, OMP_WAIT_POLICY="ACTIVE") == ["ACTIVE", "0", "4"]


@pytest.mark.services
def test_the_libraries_take_the_switches(tmp_path: Path) -> None:
    # Away from the project, whose own .dvc/config says the same again.
    code = (
        "import pipelines.core.errors; from dvc.analytics import is_enabled; "
        "from mlflow.telemetry.utils import is_telemetry_disabled; "
        "from openvino.tools.ovc import telemetry_utils; "
        "stub = telemetry_utils.tm.__name__; "
        "print(json.dumps([is_enabled(), is_telemetry_disabled(), stub]))"
    )
    assert ask(code, tmp_path) == [False, True, "openvino.tools.ovc.telemetry_stub"]


@pytest.mark.services
def test_the_folder_mlflow_does_not_shadow_the_library() -> None:
    assert (ROOT / "mlflow").is_dir()
    assert [p.name for p in (ROOT / "mlflow").rglob("*") if p.suffix in {".py", ".pyi", ".so"}] == []
    file = Path(ask("import mlflow; print(json.dumps(mlflow.__file__))"))
    assert "site-packages" in file.parts
    assert ask("import mlflow; print(json.dumps(hasattr(mlflow, 'MlflowClient')))") is True
