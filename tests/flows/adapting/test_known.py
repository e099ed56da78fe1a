"""When an earlier adaptation answers for a new one: what its mark depends on, and what makes it no answer."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from flows.adapting import known as adapt_known
from flows.adapting.known import find_adapted, fingerprint_adaptation
from flows.adapting.origins import Origin
from flows.adapting.results import AdaptResult, ChosenResult
from flows.steps.job import Job
from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.records import Layout
from pipelines.core.results import Failure
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.training.run_settings import RunSettings

PLAN = TilePlan(mode="fit", tile_height=256, tile_width=256)
ORIGIN = Origin(surface="oak", version=3, run_id="r3", algorithm="padim", folder="x", plan=PLAN)


def make_job(**changes: Any) -> Job:
    facts = {
        "fingerprints": {"padim": "f" * 16},
        "settings": RunSettings(),
        "own": SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER)),
    }
    return Job.model_construct(**{**facts, **changes})


def test_whatever_a_result_depends_on_changes_the_mark(monkeypatch: pytest.MonkeyPatch) -> None:
    synthetic = RunSettings.model_validate({"adapt": {"synthetic": 61}})
    larger = make_job().own.model_copy(
        update={"validation": make_job().own.validation.model_copy(update={"max_megapixels": 999.0})}
    )
    calls: dict[str, tuple[Any, ...]] = {
        "as it is": (make_job(), [ORIGIN], [1, 8], "auto"),
        "data, settings or code": (make_job(fingerprints={"padim": "e" * 16}), [ORIGIN], [1, 8], "auto"),
        "how much is synthetic": (make_job(settings=synthetic), [ORIGIN], [1, 8], "auto"),
        "megapixels": (make_job(own=larger), [ORIGIN], [1, 8], "auto"),
        "source's version": (make_job(), [ORIGIN.model_copy(update={"version": 4})], [1, 8], "auto"),
        "source of the same number": (make_job(), [ORIGIN.model_copy(update={"run_id": "r9"})], [1, 8], "auto"),
        "shots": (make_job(), [ORIGIN], [1, 16], "auto"),
        "strategy": (make_job(), [ORIGIN], [1, 8], "scratch"),
    }
    marks = {name: fingerprint_adaptation(*call) for name, call in calls.items()}
    assert len(set(marks.values())) == len(calls), marks
    assert fingerprint_adaptation(make_job(), [ORIGIN], [8, 1], "auto") == marks["as it is"]
    monkeypatch.setattr(adapt_known, "hash_modules", lambda *names: str(len(names)))
    assert fingerprint_adaptation(*calls["as it is"]) != marks["as it is"]


class Store:
    """One finished adaptation whose version 2 is of run `child`."""

    def __init__(self, result: AdaptResult | None, parent: str = "run", *, deleted: bool = False) -> None:
        self._result, self._parent, self._deleted = result, parent, deleted

    def tag_values(self, *_: str) -> dict[str, str]:
        return {"mark": "run"}

    def read_text(self, *_: str) -> str:
        if self._result is None:
            raise ModelError("gone", hint="restore it")
        return self._result.model_dump_json()

    def version(self, *_: Any) -> Any:
        if self._deleted:
            raise ModelError("no version 2", hint="list them")
        return SimpleNamespace(run_id="child")

    def parent(self, _: str) -> str:
        return self._parent


RESULT = AdaptResult(
    source="oak",
    target="cloth",
    shots=8,
    results=(),
    chosen=ChosenResult(algorithm="padim", strategy="scratch", version=2, reason="r"),
    gain_over_scratch=None,
    summary="s",
    guarantee="p",
    report=None,
)
FAILED = RESULT.model_copy(update={"failed": (Failure(algorithm="fastflow", problem="no memory", hint="free some"),)})


@pytest.mark.parametrize(
    "make",
    [
        lambda: Store(FAILED),
        lambda: Store(RESULT, deleted=True),
        lambda: Store(RESULT, parent="a retrain"),
        lambda: Store(None),
    ],
    ids=["a way failed", "its version is gone", "another version has its number", "its file is gone"],
)
def test_what_is_no_answer_any_more_is_tried_again(make: Callable[[], Store]) -> None:
    assert find_adapted(Store(RESULT), "cloth", "mark") == RESULT  # type: ignore[arg-type] - a stand-in
    assert find_adapted(make(), "cloth", "mark") is None  # type: ignore[arg-type] - a stand-in
