"""The registry, asked once where nothing was written in between; outside such a block, each time."""

from collections import Counter
from pathlib import Path
from typing import Any

import mlflow
import pytest

from pipelines.core.paths import Project
from pipelines.tracking.store import Tracking
from tests import tiny_version as tiny

pytestmark = [
    # MLflow's own, of its chat types, when mlflow.pyfunc is first imported.
    pytest.mark.filterwarnings("ignore:.*Any type hint is inferred as AnyType:UserWarning"),
]


def test_answers_are_kept_within_the_block_until_something_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")
    store, folder = Tracking(Project(tmp_path / "project")), tmp_path / "made"
    folder.mkdir()
    with store.run("oak", "retrain", tags={}) as run:
        store.register(run, "oak", tiny.save_version(folder, 100.0), {"algorithm": "padim"}, "")
    requested: Counter[str] = Counter()
    for name in ("search_model_versions", "get_registered_model", "get_model_version", "get_run"):
        original = getattr(store.client, name)

        def counting(*words: Any, name: str = name, original: Any = original, **options: Any) -> Any:
            requested[name] += 1
            return original(*words, **options)

        monkeypatch.setattr(store.client, name, counting)
    by_hand = mlflow.MlflowClient(store.uri)
    with store.remembering():
        for _ in range(2):
            assert store.champion("oak") is None
            assert store.version("oak", 1) == store.versions("oak")[0]
            assert store.is_finished(run.id)
            assert store.model_tag("oak", "hold") == ""
        assert requested == {"search_model_versions": 1, "get_registered_model": 1, "get_run": 1}
        store.set_alias("oak", "champion", 1)
        with store.remembering():
            champion = store.champion("oak")
        assert (champion and champion.version, requested["search_model_versions"]) == (1, 2)
        store.tag_model("oak", "hold", "held by a test")
        assert store.model_tag("oak", "hold") == "held by a test"
    by_hand.delete_registered_model_alias("oak", "champion")
    assert store.champion("oak") is None, "what others write is not seen"
