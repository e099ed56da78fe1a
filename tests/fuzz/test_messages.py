"""What comes over the network is read right or refused with a status: requests, and the tags of an MLflow server."""

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from flows.serving.protocol import Limits, RequestError, read_request
from pipelines.registry.decision_log import records_of
from pipelines.registry.record import DecisionRecord, Outcome, Trigger
from pipelines.tracking.orphans import _is_gone
from pipelines.tracking.registry import ModelVersion
from tests.fuzz.texts import as_json, cut, damaged, few, junk

ENCODED = base64.b64encode(b"a photograph").decode()
BODIES = (
    {"dataframe_records": [{"image": ENCODED, "line": 3}], "params": {"maps": True}},
    {"dataframe_split": {"index": [0], "columns": ["line", "image"], "data": [[3, ENCODED]]}},
)
RECORD = DecisionRecord(
    number=7,
    surface="oak",
    version=5,
    algorithm="padim",
    time=datetime(2026, 1, 1, tzinfo=UTC),
    trigger=Trigger.PROMOTE,
    outcome=Outcome.ACCEPTED,
    before=3,
    after=5,
    message="version 5 (padim) accepted",
)


@few
@given(st.lists(st.binary(max_size=40), min_size=1, max_size=4), st.booleans(), st.sampled_from((0, 1, 19)))
def test_a_request_is_read_as_it_was_written(images: list[bytes], maps: bool, width: int) -> None:
    texts = [base64.b64encode(image).decode() for image in images]
    # Encoders break lines where they like.
    texts = ["\n".join(t[i : i + width] for i in range(0, len(t), width)) if width else t for t in texts]
    for table in (
        {"dataframe_records": [{"image": text} for text in texts]},
        {"dataframe_split": {"columns": ["image"], "data": [[text] for text in texts]}},
    ):
        assert read_request(json.dumps({**table, "params": {"maps": maps}}).encode(), Limits()) == (images, maps)


@few
@given(
    st.one_of(
        *(damaged(body).map(lambda found: as_json(found.value)) for body in BODIES),
        *(cut(as_json(body)) for body in BODIES),
        junk.map(as_json),
        st.binary(max_size=40),
    )
)
@example(b"9" * 5000)
@example(b'{"dataframe_records": [{"image": "\\ud800"}]}')
def test_a_request_is_read_right_or_refused(body: bytes) -> None:
    try:
        images, maps = read_request(body, Limits(images=3))
    except RequestError as error:
        refused = error
    else:
        assert all(isinstance(image, bytes) for image in images)
        assert isinstance(maps, bool)
        assert 1 <= len(images) <= 3
        return
    assert refused.status in {400, 413}
    assert len(refused.problem) < 1000
    refused.problem.encode()


def version(**tags: str) -> ModelVersion:
    return ModelVersion(surface="oak", version=5, run_id="", algorithm="padim", tags=tags, aliases=())


@few
@given(
    st.one_of(
        damaged(RECORD.model_dump(mode="json")).map(lambda found: as_json(found.value)), cut(as_json(RECORD.message))
    )
)
def test_a_decision_that_somebody_changed_in_mlflow_is_read_or_passed_over(text: bytes) -> None:
    tags = {"decision_0007": RECORD.model_dump_json(), "mlflow.knotwatch.decision_0008": text.decode(errors="replace")}
    found = records_of(version(**tags))
    assert RECORD in found
    assert len(found) <= 2


@few
@given(st.text(max_size=40))
@example("")
@example("a b c")
def test_a_tag_of_a_process_that_somebody_changed_is_nobodys(text: str) -> None:
    assert _is_gone(text, local=True)


@pytest.mark.parametrize("rest", ["1 nan", "1 inf", "-1 0", f"{10**30} 0", "1", "x 0", "1 1e999"])
def test_a_start_that_is_no_time_is_nobodys(rest: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "here")
    assert _is_gone(f"here {rest}", local=True)


def test_the_tag_of_this_process_is_its_own() -> None:
    from pipelines.tracking.runs import process_tag

    found: Any = process_tag()
    assert not _is_gone(found, local=True)
