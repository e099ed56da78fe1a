"""Former names of keys: what was written with them is read, and a user is told of his once."""

import json
import logging
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from pipelines.core.paths import Project
from pipelines.core.records import Split
from pipelines.core.renamed import Renamed, _tell, present_names, present_text
from pipelines.core.surface_settings import SurfaceSettings, read_surface, renew_surface
from pipelines.training.run_settings import resolve_run

DOCS = Path(__file__).parents[3] / "docs/renamed.md"
MODULES = (
    *("core.results", "training.run_settings", "core.surface_settings", "detector.version", "detector.type_head"),
    *("registry.decision", "registry.record", "data.prepared", "data.review", "data.review_ledger", "inspection.batch"),
)
SURFACE = """\
source: {layout: folder, path: /boards}
# how the normals are shared out
parts:
  select: 0.2  # a comment
policy: {false_alarm_rate: 0.02, watch: {least_photographs: 9}}
train:
  evaluation: {planted: 7}
"""
THRESHOLD = {"threshold": 1.2, "asked": 0.01, "rate": 0.05, "images": 19, "estimate": True}


def renamed_models(kind: type[Renamed] = Renamed) -> Iterator[type[Renamed]]:
    for found in kind.__subclasses__():
        yield found
        yield from renamed_models(found)


def former_names() -> list[tuple[type[Renamed], str, str]]:
    for name in MODULES:
        import_module(f"pipelines.{name}")
    for name in ("watching.state", "promotion.lineage", "adapting.results"):
        import_module(f"flows.{name}")
    models = dict.fromkeys(m for m in renamed_models() if m.__module__.startswith(("pipelines.", "flows.")))
    return [(model, old, new) for model in models for old, new in model.former.items()]


@pytest.fixture(autouse=True)
def untold() -> None:
    _tell.cache_clear()


@pytest.fixture
def project(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text("profiles: {full: }\nevaluation: {synthetic: 5}\npadim: {gaussian: steady}\n")
    (tmp_path / "data/surfaces").mkdir(parents=True)
    (tmp_path / "data/surfaces/oak.yaml").write_text(SURFACE)
    return Project(tmp_path)


@pytest.mark.parametrize(("model", "old", "new"), former_names(), ids=lambda v: v if isinstance(v, str) else v.__name__)
def test_a_former_key_is_read_as_the_present_one_and_listed(model: type[Renamed], old: str, new: str) -> None:
    assert new in model.model_fields
    assert old not in model.model_fields
    assert present_names(model, {old: "x"}) == {new: "x"}
    assert f"| `{old}` | `{new}` |" in DOCS.read_text("utf-8")


def test_a_version_of_before_is_read_whole() -> None:
    from pipelines.detector.version import VersionInfo

    old = {
        "surface": "oak",
        "algorithm": "padim",
        "data_version": "ab",
        "map_divisor": 1.0,
        "image_divisor": 1.0,
        "image_threshold": THRESHOLD,
        "pixel_threshold": THRESHOLD,
        "region": {"rule": "none"},
        "score_rule": {},
        "plan": {"mode": "fit", "tile_height": 64, "tile_width": 64},
        "usual_reach": {"level": 2.0, "low": 0.5, "blocks": 1.0},
    }
    info = VersionInfo.model_validate_json(json.dumps(old))
    found = info.image_threshold
    assert (found.target_rate, found.achieved_rate, found.in_sample) == (0.01, 0.05, True)
    assert info.normal_peak is not None
    assert info.normal_peak.level == 2.0
    assert not {"usual_reach", "asked", "rate", "estimate"} & set(info.model_dump_json().split('"'))


def test_a_decision_of_before_is_read_with_its_evidence() -> None:
    from pipelines.registry.record import DecisionRecord, Outcome, Trigger

    fine = {"ok": True, "words": "fine"}
    facts = {
        "surface": "oak",
        "candidate": {"version": 1, "algorithm": "padim", "planted_auroc": {"value": 0.9}},
        "comparison": None,
        "promise": THRESHOLD,
        "false_alarms": 0,
        "images": {"normal": 1, "defective": 0, "masked": 0, "planted": 5},
        **dict.fromkeys(("validation", "references", "parity", "coordinates"), fine),
    }
    check = {"name": "planted_auroc", "outcome": "passed", "found": "f", "wanted": "w", "words": "said"}
    policy = {"margins": {"planted_auroc": 0.04}}
    old = {
        "number": 1,
        "surface": "oak",
        "version": 1,
        "algorithm": "padim",
        "time": "2026-01-01T00:00:00Z",
        "asked": "retrain",
        "verdict": "accepted",
        "before": None,
        "after": 1,
        "words": "because",
        "decision": {"accepted": True, "basis": "b", "checks": [check], "facts": facts, "policy": policy},
    }
    record = DecisionRecord.model_validate_json(json.dumps(old))
    assert (record.trigger, record.outcome, record.message) == (Trigger.RETRAIN, Outcome.ACCEPTED, "because")
    assert record.decision is not None
    assert (record.decision.checks[0].name, record.decision.checks[0].message) == ("synthetic_auroc", "said")
    assert record.decision.evidence.images.synthetic == 5
    assert record.decision.evidence.validation.message == "fine"
    assert record.decision.policy.margins.synthetic_auroc == 0.04


def test_figures_of_before_have_their_present_names() -> None:
    from pipelines.core.results import VersionSummary

    old = {
        "algorithm": "padim",
        "run_id": "r",
        "select": {"image_auroc": 0.8},
        "promise": THRESHOLD,
        "tiles": 1,
        "seconds": 1.0,
        "peak_rss_mb": 1.0,
        "folder_mb": 1.0,
        "metrics": {"false_alarm_rate": {"value": 0.1}},
    }
    found = VersionSummary.model_validate_json(json.dumps(old))
    assert found.figures() == {"false_positive_rate": 0.1, "validation_image_auroc": 0.8}


def test_an_index_and_a_manifest_of_before_keep_their_splits(tmp_path: Path) -> None:
    from pipelines.data.manifest import COLUMNS, as_manifest, read_manifest, write_manifest
    from pipelines.data.prepared import PreparedImage, read_index, write_index

    place = {"left": 0, "top": 0, "right": 4, "bottom": 4, "width": 4, "height": 4}
    kept = {"label": "normal", "defects": {}, "condition": None, "group": "g", "key": "k", "mask": None}
    images = [
        PreparedImage.model_validate({"path": f"{s}.png", "file": f"{s}.png", "split": s, **place, **kept})
        for s in Split
    ]
    write_index(tmp_path, images)
    index = tmp_path / "index.csv"
    index.write_text(_former_text(index.read_text(), "split", "part"))
    assert [(i.path, i.split) for i in read_index(tmp_path)] == [(i.path, i.split) for i in sorted(images, key=str)]
    rows = [{"path": s.value, "split": s.value, "declared_split": "only calibration"} for s in Split]
    write_manifest(as_manifest(rows), tmp_path / "manifest.csv")
    text = _former_text((tmp_path / "manifest.csv").read_text(), "split", "part").replace("declared_part", "split")
    (tmp_path / "manifest.csv").write_text(text)
    found = read_manifest(tmp_path / "manifest.csv")
    assert tuple(found.columns) == COLUMNS
    assert (found["split"].tolist(), set(found["declared_split"])) == ([s.value for s in Split], {"only calibration"})


def _former_text(text: str, column: str, former: str) -> str:
    """Write a table as it was: its header, and the words of its cells."""
    head, rest = text.split("\n", 1)
    rest = rest.replace(",validation,", ",select,").replace(",validation\n", ",select\n")
    rest = rest.replace(",calibration,", ",calibrate,").replace(",calibration\n", ",calibrate\n")
    return "\n".join((head.replace(column, former), rest.replace("only calibration", "only calibrate")))


def test_a_type_head_of_before_drops_what_it_calls_sound(tmp_path: Path) -> None:
    from pipelines.detector.type_head import Limits, TypeHead, load_head

    limits = Limits(types=("crack", "normal"), temperature=1.0, max_distance=9.0, drop_above=0.5)
    rows = np.eye(2, dtype=np.float32)
    head = TypeHead(limits, np.zeros(2, np.float32), np.ones(2, np.float32), 9 * rows, np.zeros(2, np.float32), rows)
    head.save(tmp_path / "head.safetensors")
    written = (tmp_path / "head.safetensors").read_bytes()
    # As long as the present words, so that the file's table of contents still fits.
    former = written.replace(rb"\"normal\"", rb"\"sound\" ").replace(rb"\"max_distance\"", rb"\"reach\"       ")
    assert former != written
    (tmp_path / "head.safetensors").write_bytes(former)
    named = load_head(tmp_path / "head.safetensors").name(np.float32([[[0, 1]], [[1, 0]]]))
    assert [(n.type, n.dropped) for n in named] == [("normal", True), ("crack", False)]


def test_a_user_is_told_once_of_each_former_key(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        own = read_surface(project, "oak")
        assert read_surface(project, "oak") == own
        settings = resolve_run(project, own, "full", ["unlabelled.most_kinds=3"])
    assert (own.split.validation, own.policy.false_positive_rate, own.policy.watch.least_images) == (0.2, 0.02, 9)
    assert (settings.evaluation.synthetic, settings.unlabelled.most_clusters) == (7, 3), "a layer above was lost"
    assert settings.padim.gaussian == "pooled"
    told = [record.getMessage() for record in caplog.records]
    pairs = (
        *(("parts", "split"), ("select", "validation"), ("false_alarm_rate", "false_positive_rate")),
        *(("least_photographs", "least_images"), ("planted", "synthetic"), ("most_kinds", "most_clusters")),
        ("gaussian: steady", "gaussian: pooled"),
    )
    for old, new in pairs:
        assert sum(f"`{old}`" in line and f"`{new}`" in line for line in told) == 1, (old, told)
    assert len(told) == len(pairs)


def test_a_key_under_both_names_is_refused() -> None:
    with pytest.raises(ValidationError, match="parts"):
        SurfaceSettings.model_validate({"source": {"layout": "folder"}, "parts": {}, "split": {}})


def test_a_surface_is_renewed_for_dvc_with_its_comments(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    path = project.surface("oak").settings
    before = read_surface(project, "oak")
    renew_surface(project, "oak")
    text = path.read_text()
    assert "# how the normals are shared out\nsplit:\n  validation: 0.2  # a comment\n" in text
    caplog.clear()
    _tell.cache_clear()
    assert read_surface(project, "oak") == before
    assert not caplog.records
    assert present_text(SurfaceSettings, text) == text
