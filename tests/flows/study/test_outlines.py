from pathlib import Path

import pytest

from flows.study.outlines import Outline, read_outlines, write_outlines
from pipelines.core.errors import SourceError

KNOT = Outline(label="knot", polygon=((0, 0), (4.5, 0), (4, 4)))


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    (tmp_path / "raw").mkdir()
    for name in ("a b.jpg", "c.jpg"):
        (tmp_path / "raw" / name).touch()
    return tmp_path / "raw"


def test_outlines_come_back_as_they_were_written(raw: Path) -> None:
    file = raw.parent / "annotations.json"
    write_outlines(file, {"a b.jpg": [KNOT], "c.jpg": []})
    assert read_outlines(file, raw) == {"a b.jpg": (KNOT,)}
    assert read_outlines(raw / "none.json", raw) == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"images": {"lost.jpg": []}}', "'lost.jpg', which is not in"),
        ('{"images": {"c.jpg": [{"label": "knot", "polygon": [[1, 2]]}]}}', "polygon"),
        ("{", "holds no outlines"),
    ],
)
def test_a_damaged_file_is_named_with_a_hint(raw: Path, text: str, said: str) -> None:
    file = raw.parent / "annotations.json"
    file.write_text(text)
    with pytest.raises(SourceError, match=said) as error:
        read_outlines(file, raw)
    assert str(file) in error.value.problem
    assert error.value.hint
