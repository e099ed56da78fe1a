"""Texts and structures as people, programs and attackers write them, and what may come of reading one."""

import json
import os
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any, NamedTuple, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from pipelines.core.errors import KnotwatchError

_Read = TypeVar("_Read")

# The same examples at every run; `make test-fuzz` tries more.
few = settings(
    max_examples=int(os.environ.get("FUZZ_EXAMPLES", "25")),
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)

_TEXTS = ("", " ", "..", "/etc/passwd", "a\0b", "\n", "💥", "é", "\ufeff", "9" * 5000, "1e999", "nan", "true", "=1+1")
junk = st.one_of(
    st.sampled_from(_TEXTS),
    st.none(),
    st.booleans(),
    st.sampled_from((0, -1, 1, 255, 256, 2**31, 2**63, 2**64, -(2**70), 10**400)),
    st.floats(),
    st.text(max_size=12),
    st.lists(st.integers(), max_size=3),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just([[[[]]]] * 3),
)


class Damaged(NamedTuple):
    """A structure with one thing in it replaced, removed or added, and where."""

    value: Any
    path: tuple[Any, ...]


@st.composite
def damaged(draw: st.DrawFn, whole: Any) -> Damaged:
    """Damage one place of a structure of mappings and lists."""
    found = deepcopy(whole)
    path = draw(st.sampled_from(sorted(_places(found), key=repr)))
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    what = draw(st.sampled_from(("replace", "replace", "remove", "add")))
    if what == "remove":
        del inner[path[-1]]
    elif what == "replace":
        inner[path[-1]] = draw(junk)
    elif isinstance(inner, dict):
        added = draw(st.text(min_size=1, max_size=8))
        inner[added], path = draw(junk), (*path[:-1], added)
    else:
        inner.append(draw(junk))
    return Damaged(found, path)


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (*path, key)
        yield from _places(value[key], (*path, key))


@st.composite
def cut(draw: st.DrawFn, text: bytes) -> bytes:
    """Damage bytes at one place."""
    start = draw(st.integers(0, len(text)))
    end = min(len(text), start + draw(st.sampled_from((0, 1, 3, 20))))
    put = draw(
        st.one_of(st.binary(max_size=4), st.sampled_from((b'"', b"\n", b",", b"\0", b"\xff", b"[" * 2000, b"{")))
    )
    return text[:start] + put + text[end:]


def as_json(value: Any) -> bytes:
    """Write JSON as Python does, NaN and numbers of any length included."""
    return json.dumps(value, ensure_ascii=False).encode(errors="surrogatepass")


def read_or_refuse(
    read: Callable[[], _Read], *places: object, kind: type[KnotwatchError] = KnotwatchError
) -> _Read | None:
    """Read something; where it is refused, the error names one of the places, in words that a terminal can show."""
    try:
        return read()
    except kind as error:
        refused = error
    assert any(str(place) in refused.problem for place in places), refused.problem
    assert refused.hint
    assert len(refused.problem) < 3000
    refused.problem.encode()
    return None
