"""What was measured once is not measured again, and what has its part keeps it."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from pipelines.core.errors import ToolError
from pipelines.core.records import Label, SourceRow
from pipelines.core.surface_settings import SplitSettings, ValidationSettings
from pipelines.data import manifest as manifest_module
from pipelines.data.manifest import assign_groups, assign_splits, measure_rows, read_manifest, write_manifest

SETTINGS = ValidationSettings()
_TYPES = {1: "live knot", 2: "dead knot"}


def _board(number: int, width: int = 48) -> Image.Image:
    rng = np.random.default_rng(number)
    return Image.fromarray(rng.integers(60, 220, (36, width, 3)).astype(np.uint8))


@pytest.fixture
def rows(tmp_path: Path) -> list[SourceRow]:
    """Write normal boards, one with a typed mask, one with an untyped one, an odd name and a broken file."""
    for number in range(6):
        _board(number).save(tmp_path / f"{number}.png")
    _board(7).save(tmp_path / 'été, "1" NA.png')
    (tmp_path / "broken.png").write_bytes(b"\x89PNG")
    for name, value in (("typed", 2), ("plain", 255)):
        mask = Image.new("L", (48, 36))
        mask.paste(value, (3, 3, 10, 9))
        mask.save(tmp_path / f"{name}_mask.png")
    odd = SourceRow(path='été, "1" NA.png', label=Label.NORMAL, condition="NA", group="board 1")
    typed = {"mask": "typed_mask.png", "typed_mask": True, "defects": _TYPES}
    return [
        *(SourceRow(path=f"{number}.png", label=Label.NORMAL) for number in range(4)),
        SourceRow.model_validate({"path": "4.png", "label": "anomalous", **typed}),
        SourceRow(path="5.png", label=Label.ANOMALOUS, mask="plain_mask.png", defects={1: "crack"}),
        SourceRow(path="broken.png", label=Label.NORMAL),
        odd,
    ]


def _build(rows: list[SourceRow], folder: Path, known: pd.DataFrame | None = None, late: str = "") -> pd.DataFrame:
    frame = measure_rows(rows, folder, SETTINGS, known)
    frame = frame.assign(arrival=[2 if late and path.startswith(late) else 1 for path in frame["path"]])
    return assign_splits(assign_groups(frame, 20), SplitSettings())


def test_manifest_holds_what_is_in_the_files(tmp_path: Path, rows: list[SourceRow]) -> None:
    frame = _build(rows, tmp_path).set_index("path")
    assert frame.at["4.png", "defects"] == '{"2": "dead knot"}'
    assert frame.at["5.png", "defects"] == '{"1": "crack"}'
    assert frame.at["5.png", "mask_area"] == pytest.approx(42 / (48 * 36), rel=1e-5)
    assert frame.at["broken.png", "error"] == "not an image"
    assert (frame["error"] != "").sum() == 1
    assert frame.at["0.png", "brightness_mean"] == pytest.approx(np.asarray(_board(0).convert("L")).mean(), abs=0.6)
    assert (frame.at["0.png", "width"], frame.at["0.png", "height"]) == (48, 36)


def test_table_comes_back_as_it_was(tmp_path: Path, rows: list[SourceRow]) -> None:
    frame = _build(rows, tmp_path)
    path = tmp_path / "out/manifest.csv"
    write_manifest(frame, path)
    back = read_manifest(path)
    pd.testing.assert_frame_equal(back, frame.drop(columns="arrival"))
    before = path.read_bytes()
    write_manifest(back, path)
    assert path.read_bytes() == before
    assert [p.name for p in path.parent.iterdir()] == ["manifest.csv"]
    path.write_text("path,sha256\n")
    with pytest.raises(ToolError, match="has other columns"):
        read_manifest(path)


def test_a_carriage_return_in_a_condition_does_not_make_the_manifest_unreadable(
    tmp_path: Path, rows: list[SourceRow]
) -> None:
    """It is a cell's in labels.csv; in the manifest it ended the row, and no `data update` mended that."""
    told = [SourceRow.model_validate({**row.model_dump(), "condition": "dry\rcold", "group": "\r1"}) for row in rows]
    written = _build(told, tmp_path)
    write_manifest(written, tmp_path / "manifest.csv")
    assert read_manifest(tmp_path / "manifest.csv")["condition"].tolist() == ["dry cold"] * len(rows)


def test_incremental_is_the_clean_result_byte_for_byte(
    tmp_path: Path, rows: list[SourceRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "old.csv"
    write_manifest(_build(rows, tmp_path), old)
    _board(20).save(tmp_path / "1.png")
    _board(21).save(tmp_path / "new.png")
    Image.new("L", (48, 36), 1).save(tmp_path / "typed_mask.png")
    grown = [*rows, SourceRow(path="new.png", label=Label.NORMAL)]
    write_manifest(_build(grown, tmp_path, late="new"), tmp_path / "clean.csv")
    decoded = []
    decode = manifest_module.decode_image
    monkeypatch.setattr(manifest_module, "decode_image", lambda *given: decoded.append(1) or decode(*given))
    write_manifest(_build(grown, tmp_path, read_manifest(old), late="new"), tmp_path / "incremental.csv")
    assert (tmp_path / "incremental.csv").read_bytes() == (tmp_path / "clean.csv").read_bytes()
    # Decoded are: the changed image, the new one, the one whose mask changed, and the broken one.
    assert len(decoded) == 4


def test_settings_and_types_reach_known_rows(tmp_path: Path, rows: list[SourceRow]) -> None:
    known = _build(rows, tmp_path)
    strict = SETTINGS.model_copy(update={"max_megapixels": 1e-3})
    assert (measure_rows(rows, tmp_path, strict, known)["error"] != "").all()
    renamed = [r.model_copy(update={"defects": {2: "loose knot"}}) if r.path == "4.png" else r for r in rows]
    frame = measure_rows(renamed, tmp_path, SETTINGS, known).set_index("path")
    assert frame.at["4.png", "defects"] == '{"2": "loose knot"}'


def _drawn(count: int, **columns: object) -> pd.DataFrame:
    """Make a manifest's columns that grouping and splitting read, with hashes far from each other."""
    rng = np.random.default_rng(5)
    return pd.DataFrame(
        {
            "path": [f"{number:05}.png" for number in range(count)],
            "sha256": [f"{number:064x}" for number in range(count)],
            "phash": [rng.bytes(32).hex() for _ in range(count)],
            "error": "",
            "label": "normal",
            "declared_split": "",
            "group": "",
            "arrival": 1,
        }
    ).assign(**columns)


def _flip(phash: str, bits: int) -> str:
    return f"{int(phash, 16) ^ ((1 << bits) - 1):064x}"


def test_copies_and_near_copies() -> None:
    frame = _drawn(6)
    hashes = frame["phash"].tolist()
    frame = frame.assign(
        phash=[*hashes[:2], _flip(hashes[0], 20), _flip(hashes[1], 21), hashes[0], hashes[5]],
        sha256=[*frame["sha256"][:4], frame["sha256"][0], frame["sha256"][5]],
    )
    grouped = assign_groups(frame, 20)
    assert grouped["duplicate_of"].tolist() == ["", "", "", "", "00000.png", ""]
    assert grouped["near_duplicate_of"].tolist() == ["", "", "00000.png", "", "", ""]
    assert grouped["group"].tolist() == [frame["path"][i] for i in (0, 1, 0, 3, 0, 5)]


def test_near_copies_are_those_that_a_plain_loop_finds() -> None:
    rng = np.random.default_rng(1)
    seeds = [int.from_bytes(rng.bytes(32), "big") for _ in range(40)]
    noisy = [seeds[rng.integers(40)] ^ (int(rng.integers(1, 2**20)) << int(rng.integers(0, 200))) for _ in range(300)]
    frame = _drawn(300, phash=[f"{value:064x}" for value in noisy])
    expected = []
    for i in range(300):
        distances = [(noisy[i] ^ noisy[j]).bit_count() for j in range(i)]
        best = min(range(i), key=lambda j: distances[j], default=None)
        expected.append(frame["path"][best] if best is not None and distances[best] <= 12 else "")
    assert assign_groups(frame, 12)["near_duplicate_of"].tolist() == expected


def test_test_copy_is_the_one_kept_within_an_arrival() -> None:
    frame = _drawn(2, declared_split=["train", "test"], sha256=["a", "a"])
    assert assign_groups(frame, 20)["duplicate_of"].tolist() == ["00001.png", ""]
    # What is already trained on stays: a copy that arrives later is left out, not tested on.
    later = assign_groups(frame.assign(arrival=[1, 2]), 20)
    assert later["duplicate_of"].tolist() == ["", "00000.png"]


def test_group_of_the_layout_stays_and_groups_do_not_merge() -> None:
    frame = _drawn(4, group=["board a", "board b", "", "board b"])
    hashes = frame["phash"].tolist()
    grouped = assign_groups(frame.assign(phash=[hashes[0], hashes[1], hashes[0], hashes[0]]), 20)
    assert grouped["group"].tolist() == ["board a", "board b", "board a", "board b"]


def test_shares_of_the_splits() -> None:
    parted = assign_splits(assign_groups(_drawn(3000), 0), SplitSettings())
    shares = parted["split"].value_counts(normalize=True)
    assert shares["test"] == pytest.approx(0.30, abs=0.03)
    assert shares["train"] == pytest.approx(0.70 * 0.55, abs=0.03)
    assert shares["validation"] == pytest.approx(0.70 * 0.10, abs=0.02)
    other = assign_splits(parted, SplitSettings(seed=1))
    assert (other["split"] != parted["split"]).mean() > 0.3


def test_labels_and_splits_decide_before_chance() -> None:
    kinds = {
        "label": ["unknown", "anomalous", "normal", "normal"] * 50,
        "declared_split": ["", "", "test", "train"] * 50,
    }
    splits = assign_splits(assign_groups(_drawn(200, **kinds), 0), SplitSettings())["split"]
    assert set(splits[0::4]) == {"train"}
    assert set(splits[1::4]) == {"test", "validation"}
    assert set(splits[2::4]) == {"test"}
    assert set(splits[3::4]) == {"train", "validation", "calibration"}


def test_group_is_split_as_a_whole_by_its_first_arrival() -> None:
    frame = _drawn(60, group=["shared"] * 3 + [""] * 57, label=["normal", "anomalous", "normal"] + ["normal"] * 57)
    assert set(assign_splits(assign_groups(frame, 0), SplitSettings())["split"][:3]) == {"test"}
    late = frame.assign(arrival=[1, 2, 2] + [1] * 57, declared_split="train")
    splits = assign_splits(assign_groups(late, 0), SplitSettings())["split"]
    assert splits[0] == splits[2] != "test"
    assert splits[1] == "test", "a defective image that came later would be trained on"


def test_adding_images_moves_none() -> None:
    rng = np.random.default_rng(2)
    grown = _drawn(
        400, label=rng.choice(["normal", "normal", "anomalous"], 400), arrival=[1] * 200 + [2] * 100 + [3] * 100
    )
    # Late images that are copies of early ones, near or exact, and sort before them.
    hashes, shas = grown["phash"].tolist(), grown["sha256"].tolist()
    for number in range(200, 400, 5):
        hashes[number] = _flip(hashes[int(rng.integers(200))], 9)
        shas[number + 1] = shas[int(rng.integers(200))]
    grown = grown.assign(phash=hashes, sha256=shas, path=[f"{(7 * n) % 400:03}.png" for n in range(400)])
    columns = ["duplicate_of", "near_duplicate_of", "group", "split"]
    settled: pd.DataFrame | None = None
    for arrival in (1, 2, 3):
        now = assign_splits(assign_groups(grown[grown["arrival"] <= arrival], 20), SplitSettings()).set_index("path")
        if settled is not None:
            pd.testing.assert_frame_equal(now.loc[settled.index, columns], settled[columns])
        settled = now
