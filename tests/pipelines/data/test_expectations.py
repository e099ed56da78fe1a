"""Every fault that real folders bring is found, named by file, and given its own reason."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.core.records import Label, SourceRow
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import SplitSettings, ValidationSettings
from pipelines.data.expectations import judge
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows

# Raised while great_expectations is imported, by modules of the standard library that it uses.
pytestmark = pytest.mark.filterwarnings("ignore:module 'sre_:DeprecationWarning")

_TYPES = {1: "live knot", 2: "dead knot"}


def _board(number: int, level: float = 150.0) -> Image.Image:
    grain = np.random.default_rng(number).normal(level, 20, (48, 64, 3))
    return Image.fromarray(grain.clip(0, 255).astype(np.uint8))


def _normals(folder: Path, count: int = 12) -> list[SourceRow]:
    for number in range(count):
        _board(number).save(folder / f"normal {number:02}.png")
    return [SourceRow(path=f"normal {number:02}.png", label=Label.NORMAL) for number in range(count)]


def _mask(
    folder: Path,
    name: str,
    value: int,
    size: tuple[int, int] = (64, 48),
    box: tuple[int, int, int, int] = (5, 5, 20, 20),
) -> str:
    mask = Image.new("L", size)
    mask.paste(value, box)
    mask.save(folder / name)
    return name


def _bomb() -> bytes:
    header = struct.pack(">IIBBBBB", 50000, 50000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0")), (b"IEND", b"")]
    body = b"".join(struct.pack(">I", len(d)) + n + d + struct.pack(">I", zlib.crc32(n + d)) for n, d in chunks)
    return b"\x89PNG\r\n\x1a\n" + body


def _judge(folder: Path, rows: list[SourceRow], share: float = 0.05, docs: Path | None = None) -> ValidationReport:
    settings = ValidationSettings(max_quarantined_share=share, max_megapixels=1)
    frame = assign_groups(measure_rows(rows, folder, settings), 20)
    return judge(assign_splits(frame, SplitSettings()), settings, docs)


def test_clean_set_is_accepted_and_documented(tmp_path: Path) -> None:
    rows = _normals(tmp_path)
    _board(90).save(tmp_path / "knot.png")
    mask = _mask(tmp_path, "knot mask.png", 2)
    rows.append(SourceRow(path="knot.png", label=Label.ANOMALOUS, mask=mask, typed_mask=True, defects=_TYPES))
    verdict = _judge(tmp_path, rows, docs=tmp_path / "docs")
    assert verdict == ValidationReport(accepted=True, images=13, usable=13)
    assert (tmp_path / "docs/index.html").is_file()


@pytest.fixture
def faulty(tmp_path: Path) -> list[SourceRow]:
    """Plant one fault of each kind among twelve normal boards."""
    rows = _normals(tmp_path)
    whole = (tmp_path / "normal 00.png").read_bytes()
    contents = {
        "truncated.png": whole[: len(whole) // 2],
        "empty.jpg": b"",
        "text.jpg": b"Dear colleague, the photographs follow.",
        "bomb.png": _bomb(),
        "copy.png": whole,
        "torn.png": (tmp_path / "normal 01.png").read_bytes(),
    }
    for name, data in contents.items():
        (tmp_path / name).write_bytes(data)
    pictures = {
        "black.png": _board(50, 0),
        "white.png": _board(51, 300),
        "tiny.png": _board(52).crop((0, 0, 20, 48)),
        "wrong size.png": _board(53),
        "wrong value.png": _board(54),
        "denied.png": _board(55),
        "blank.png": _board(56),
        "inverted.png": _board(57),
    }
    for name, image in pictures.items():
        image.save(tmp_path / name)
    plain = ["truncated.png", "empty.jpg", "text.jpg", "bomb.png", "copy.png", "black.png", "white.png", "tiny.png"]
    rows += [SourceRow(path=name, label=Label.NORMAL) for name in plain]
    typed = {"label": Label.ANOMALOUS, "typed_mask": True, "defects": _TYPES}
    masks = {
        "wrong size.png": (_mask(tmp_path, "a.png", 1, (60, 48)), typed),
        "wrong value.png": (_mask(tmp_path, "b.png", 9), typed),
        "denied.png": (_mask(tmp_path, "c.png", 1), {**typed, "label": Label.NORMAL}),
        "blank.png": (_mask(tmp_path, "d.png", 0), typed),
        "inverted.png": (_mask(tmp_path, "e.png", 1, box=(0, 0, 64, 30)), typed),
    }
    rows += [SourceRow.model_validate({"path": name, "mask": mask, **kind}) for name, (mask, kind) in masks.items()]
    rows.append(SourceRow(path="torn.png", label=Label.ANOMALOUS))
    return sorted(rows, key=lambda row: row.path)


def test_each_fault_is_named_with_its_reason(tmp_path: Path, faulty: list[SourceRow]) -> None:
    verdict = _judge(tmp_path, faulty)
    reasons = {q.path: q.reason for q in verdict.quarantined}
    expected = {
        "truncated.png": "file is truncated",
        "empty.jpg": "file is empty (0 bytes)",
        "text.jpg": "not an image",
        "bomb.png": "50000 x 50000 pixels are more than 1 megapixels",
        "black.png": "too dark",
        "white.png": "overexposed",
        "tiny.png": "too small: 20 x 48",
        "wrong size.png": "mask a.png: mask is 60 x 48, its image 64 x 48",
        "wrong value.png": "mask b.png: mask holds the value 9",
        "denied.png": "labelled normal, but its mask marks 7.32% of it",
        "torn.png": "the same file as normal 01.png, which has another label",
        "normal 01.png": "the same file as torn.png, which has another label",
    }
    assert reasons.keys() == expected.keys()
    for path, start in expected.items():
        assert reasons[path].startswith(start)
    assert [(d.path, d.reason) for d in verdict.duplicates] == [("normal 00.png", "the same file as copy.png")]
    assert any("a mask that marks nothing: blank.png" in warning for warning in verdict.warnings)
    assert any("more than half of the image" in warning and "inverted.png" in warning for warning in verdict.warnings)
    assert (verdict.images, verdict.usable) == (26, 26 - 12 - 1)
    assert not verdict.accepted
    assert verdict.reasons == (
        "12 of 26 images (46.2%) are quarantined, allowed are 5.0% (validation.max_quarantined_share)",
    )
    assert verdict == _judge(tmp_path, faulty)
    assert _judge(tmp_path, faulty, share=0.5).accepted


def test_a_mask_that_a_person_reviewed_is_not_called_inverted(tmp_path: Path) -> None:
    rows = _normals(tmp_path)
    for seed, name in enumerate(("found.png", "reviewed.png")):
        _board(60 + seed).save(tmp_path / name)
    Image.fromarray(np.full((48, 64), 255, np.uint8)).save(tmp_path / "large.png")
    rows += [SourceRow(path=n, label=Label.ANOMALOUS, mask="large.png") for n in ("found.png", "reviewed.png")]
    settings = ValidationSettings(max_megapixels=1)
    frame = assign_splits(assign_groups(measure_rows(rows, tmp_path, settings), 20), SplitSettings())
    frame.loc[frame["path"] == "reviewed.png", "mask"] = "reviews/masks/reviewed.png"
    (warning,) = judge(frame, settings).warnings
    assert warning.startswith("1 image with a mask that marks more than half")
    assert warning.endswith(": found.png")


def test_several_reasons_stand_together(tmp_path: Path) -> None:
    rows = _normals(tmp_path)
    _board(50, 0).crop((0, 0, 20, 20)).save(tmp_path / "bad.png")
    verdict = _judge(tmp_path, [*rows, SourceRow(path="bad.png", label=Label.NORMAL)])
    assert len(verdict.quarantined) == 1
    assert "too small" in verdict.quarantined[0].reason
    assert "; too dark" in verdict.quarantined[0].reason


def test_mixed_sizes_and_near_copies_only_warn(tmp_path: Path) -> None:
    rows = _normals(tmp_path)
    _board(3).resize((160, 120)).save(tmp_path / "large.png")
    deep = np.random.default_rng(9).integers(1024, 4095, (48, 64)).astype(np.uint16)
    Image.fromarray(deep).save(tmp_path / "camera.png")
    rows += [SourceRow(path=name, label=Label.NORMAL) for name in ("camera.png", "large.png")]
    verdict = _judge(tmp_path, rows)
    assert verdict.accepted
    assert [warning.split(" ", 1)[1] for warning in verdict.warnings] == [
        "image of 9 to 15 bits a sample, stretched by these: camera.png",
        "image more than 4 times larger or smaller than the median: large.png",
        "image nearly the same as an earlier one, kept in its group (validation.near_duplicate_bits): normal 03.png",
    ]


@pytest.mark.parametrize(
    ("facts", "why", "advice"),
    [
        ({"label": Label.ANOMALOUS}, "none is labelled normal", "add normal images"),
        (
            {"label": Label.NORMAL, "declared_split": "test"},
            "the layout or a review keeps all 1 that are usable for the test split",
            "add normal images that are not for the test split",
        ),
    ],
)
def test_a_refusal_says_why_nothing_is_left_to_train_on_and_only_what_helps(
    tmp_path: Path, facts: dict[str, str], why: str, advice: str
) -> None:
    _board(1).save(tmp_path / "bad.png")
    only = _judge(tmp_path, [SourceRow.model_validate({"path": "bad.png", **facts})])
    assert (only.accepted, only.reasons) == (False, (f"no normal image is left to train on: {why}",))
    assert only.advice == advice
    assert "max_quarantined_share" not in only.advice


def test_nothing_that_can_be_used_is_refused(tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"")
    none = _judge(tmp_path, [SourceRow(path="bad.png", label=Label.NORMAL)], share=1)
    assert (none.accepted, none.reasons) == (False, ("of 1 images none can be used",))
    assert none.advice == "mend or replace the files that are listed"


def test_labels_are_checked_and_an_empty_manifest_is_refused(tmp_path: Path) -> None:
    rows = _normals(tmp_path)
    settings = ValidationSettings(max_quarantined_share=1)
    frame = assign_splits(assign_groups(measure_rows(rows, tmp_path, settings), 20), SplitSettings())
    labels = pd.Series(["", "fine", *frame["label"][2:]], dtype="str")
    reasons = {q.path: q.reason for q in judge(frame.assign(label=labels), settings).quarantined}
    assert reasons == {
        "normal 00.png": "has no label",
        "normal 01.png": "its label 'fine' is none of normal, anomalous, unknown",
    }
    assert not judge(frame.iloc[:0], settings).accepted
