"""What a request may look like: MLflow's formats, and a message for everything else."""

import base64
import json
import tracemalloc
from typing import Any

import pytest

from flows.serving.protocol import Limits, RequestError, read_request

ENCODED = base64.b64encode(b"a photograph").decode()


def read(content: Any, **limits: int) -> Any:
    return read_request(json.dumps(content).encode(), Limits(**limits))


def split(*values: Any) -> dict[str, Any]:
    return {"dataframe_split": {"index": [0], "columns": ["image"], "data": [[value] for value in values]}}


def test_both_formats_give_the_images_in_order() -> None:
    second = base64.encodebytes(b"another" * 30).decode()
    assert "\n" in second[:-1], "MLflow's own encoder breaks lines"
    for content in (split(ENCODED, second), {"dataframe_records": [{"image": ENCODED}, {"image": second, "line": 3}]}):
        assert read(content) == ([b"a photograph", b"another" * 30], False)
    assert read({**split(ENCODED), "params": {"maps": True}}).maps
    assert not read({**split(ENCODED), "params": {}}).maps
    wider = {"dataframe_split": {"columns": ["line", "image"], "data": [[3, ENCODED]]}}
    assert read(wider).images == [b"a photograph"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([], "no JSON object"),
        ({}, "found nothing"),
        ({"inputs": [1]}, "found inputs"),
        ({**split(ENCODED), "dataframe_records": []}, "expected one of"),
        ({**split(ENCODED), "parms": {}}, "parms"),
        ({"dataframe_split": [1]}, "columns and data"),
        ({"dataframe_split": {"columns": ["picture"], "data": [[ENCODED]]}}, "found picture"),
        ({"dataframe_split": {"columns": ["image"], "data": [ENCODED]}}, "list of rows"),
        ({"dataframe_split": {"columns": ["image", "x"], "data": [[ENCODED]]}}, "every column"),
        ({"dataframe_records": [{"picture": ENCODED}]}, "list of objects"),
        (split(), "no image"),
        (split(ENCODED, 7), "row 1: `image` is no text"),
        (split("a?b"), "row 0: `image` is no base64"),
        ({**split(ENCODED), "params": {"maps": "yes"}}, "params expects"),
        ({**split(ENCODED), "params": {"map": True}}, "params expects"),
    ],
)
def test_what_is_malformed_is_named(content: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said) as refused:
        read(content)
    assert refused.value.status == 400


@pytest.mark.parametrize("body", [b"", b"{", b"\xff\xfe", b"[" * 5_000])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    with pytest.raises(RequestError, match="no JSON"):
        read_request(body, Limits())


@pytest.mark.parametrize("unit", [b"[],", b"{},", b"1,"])
def test_a_body_of_a_hundred_thousand_small_values_is_refused_before_it_is_parsed(unit: bytes) -> None:
    """100 MB of `[],` were a minute in which the server answered nobody, and 2.4 GB."""
    body = b'{"dataframe_split": {"columns": ["image"], "data": [' + unit * 100_000 + b"[]]}}"
    with pytest.raises(RequestError, match="values and lists, at most 7400 are read") as refused:
        read_request(body, Limits())
    assert refused.value.status == 413


def test_base64_that_is_all_spaces_becomes_no_list_of_words() -> None:
    image = bytes(range(256)) * 400
    spaced = " ".join(base64.b64encode(image).decode())
    tracemalloc.start()
    try:
        assert read(split(spaced)).images == [image]
        assert tracemalloc.get_traced_memory()[1] < 8 * len(spaced)
    finally:
        tracemalloc.stop()


def test_too_many_images_are_refused() -> None:
    assert len(read(split(ENCODED, ENCODED), images=2).images) == 2
    with pytest.raises(RequestError, match="at most 2") as refused:
        read(split(*[ENCODED] * 3), images=2)
    assert refused.value.status == 413
