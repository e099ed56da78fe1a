"""The guard of the fast tier: it knows what is slow to start, and nothing else."""

import subprocess
import sys
from typing import Any

import pytest

from tests.tiers import find_service, refuse_services

PYTHON = sys.executable


@pytest.mark.parametrize(
    "command",
    [
        [PYTHON, "-m", "dvc", "repro"],
        [PYTHON, "-m", "flows.local_servers.prefect_app", "5"],
        [PYTHON, "-m", "mlflow.server"],
        [PYTHON, "-c", "from flows.cli import main; main()", "retrain", "oak"],
        [PYTHON, "-c", "import mlflow"],
        ["/somewhere/bin/knotwatch", "doctor"],
        "prefect server start",
    ],
)
def test_a_command_that_the_fast_tier_has_no_time_for_fails_the_test(command: Any) -> None:
    with refuse_services(), pytest.raises(pytest.fail.Exception, match="services"):
        subprocess.run(command, check=False)


@pytest.mark.parametrize(
    "command",
    [
        ["git", "init", "/project/mlflow/prefect"],
        [PYTHON, "-c", "from flows.runtime.locks import surface_lock"],
        [PYTHON, "-m", "pipelines.registry.checks", "/project/.knotwatch/mlflow/artifacts"],
    ],
)
def test_what_only_lies_in_a_folder_of_that_name_passes(command: Any) -> None:
    assert find_service(command) is None
