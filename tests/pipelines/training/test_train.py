"""What early stopping looks at, without a fit."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from pipelines.core.records import Label, Split
from pipelines.data.prepared import PreparedImage
from pipelines.imaging.tiling import TileSet
from pipelines.training import train as stage
from pipelines.training.run_settings import RunSettings


class _Fitted(Exception):  # noqa: N818 - no error: it ends the stage where it would fit
    pass


def _prepare(folder: Path, split: Split, level: int, label: Label = Label.NORMAL) -> PreparedImage:
    file = f"{level}.png"
    Image.fromarray(np.full((64, 96, 3), level, np.uint8)).save(folder / file)
    place = {"left": 0, "top": 0, "right": 96, "bottom": 64, "width": 96, "height": 64}
    facts = {"path": file, "file": file, "mask": None, "split": split, "label": label, "defects": {}}
    return PreparedImage.model_validate({**place, **facts, "condition": None, "group": file, "key": ""})


@pytest.mark.parametrize("held_out", [True, False])
def test_no_anomaly_says_when_to_stop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, held_out: bool) -> None:
    images = [_prepare(tmp_path, Split.TRAIN, 10 + n) for n in range(10)]
    images += [_prepare(tmp_path, Split.VALIDATION, 30 + n) for n in range(3 if held_out else 0)]
    images += [_prepare(tmp_path, Split.VALIDATION, 200 + n, Label.ANOMALOUS) for n in range(5)]
    seen: list[set[int]] = []

    def fit(_algorithm: str, tiles: TileSet, validation: TileSet, *_rest: object) -> None:
        seen.extend({int(tile.max()) for tile in some} for some in (tiles, validation))
        raise _Fitted

    monkeypatch.setattr(stage, "_fit", fit)
    with pytest.raises(_Fitted):
        stage.train("fastflow", tmp_path, images, RunSettings(), tmp_path / "model")
    fitted, stopped_by = seen
    assert fitted | stopped_by <= set(range(10, 33)), "an anomaly was looked at"
    # Without a normal one held out, every fifth training image stands in.
    assert stopped_by == ({30, 31, 32} if held_out else {10, 15})
