"""What makes no sense ends in one sentence and the right exit code: never in a stack trace, never after the work."""

import errno
import json
import os
import pwd
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image

from flows.cli.app import run
from flows.steps.algorithm import describe_failure
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings, write_surface
from tests.pipelines.core.test_malformed_files import DEEP, LAUGHS, judged

Said = pytest.CaptureFixture[str]
CIRCLE = LAUGHS.replace("\n", ", ")[:60]


@pytest.fixture
def oak(project: Project) -> Project:
    """A project with a surface that has settings and nothing else."""
    write_surface(project, "oak", SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER, path="/nowhere")))
    return project


def fails(said: Said, words: list[str], code: int) -> str:
    assert run(words) == code
    found = said.readouterr().err
    assert found.startswith("knotwatch: ") or "Usage" in found
    assert "Traceback" not in found
    assert len(found) < 2000
    return found


@pytest.mark.parametrize(
    "word",
    [
        "seed=-1",
        "seed=4294967296",
        "seed=true",
        "seed=1e300",
        "seed=" + "9" * 5000,
        "seed=2020-13-45",
        "seed=!!int ''",
        "seed=.nan",
        "colour=.nan",
        "colour=.inf",
        "colour=1e300",
        "colour=-0.1",
        "colour=true",
        "tiles.tile=0",
        "tiles.tile=3200000000000000000000000000000",
        "tiles.max_side=1000000000000",
        "padim.features=1000000000000000000000000000000",
        "padim.features=-1",
        "padim.layers=[1000000000000]",
        "padim.layers=[-1]",
        "padim.layers=[true]",
        "padim.layers=[]",
        "padim.ridge=.inf",
        "padim.score.top_share=.nan",
        "fastflow.batch=1000000000000",
        "fastflow.learning_rate=.inf",
        "fastflow.max_steps=1000000000000",
        "fastflow.hidden_ratio=.inf",
        "evaluation.bootstrap=1000000000000",
        "evaluation.pictures=-1",
        "unlabelled.false_blocks=.inf",
        "adapt.synthetic=1000000000000",
        "seed=" + DEEP[:1000] + "]" * 1000,
        "seed=" + DEEP,
        "seed=" + "{a: " * 1000,
        "seed=" + CIRCLE,
        ".".join("a" * 5000) + "=1",
    ],
    ids=lambda word: word[:40],
)
def test_a_setting_that_cannot_be_stops_before_work_starts(oak: Project, capsys: Said, word: str) -> None:
    assert "--set" in (said := fails(capsys, ["retrain", "oak", "--set", word], 2)) or "params.yaml" in said
    assert not (oak.state / "mlflow").exists()


@pytest.mark.parametrize(
    "text",
    [
        "source: {layout: folder, path: /x}\ntrain: " + DEEP,
        "source: {layout: folder, path: /x}\ntrain: {a: &a [1], b: *a}",
        "source: {layout: folder, path: /x}\nvalidation: {max_megapixels: .inf}",
        "source: {layout: folder, path: /x}\nvalidation: {min_side: true}",
        "source: {layout: folder, path: /x}\nregion: {rule: box, box: [0, 0, 1000000000000, 5]}",
        "source: {layout: folder, path: /x}\npolicy: {false_positive_rate: .nan}",
        "source: {layout: folder, path: /x, git_url: --upload-pack=sh}",
        "source: {layout: folder, path: ../../x, git_url: https://127.0.0.1/x}",
        'source: {layout: folder, path: "a\\0b"}',
    ],
    ids=lambda text: text[:80],
)
def test_a_surfaces_settings_that_cannot_be(oak: Project, capsys: Said, text: str) -> None:
    oak.surface("oak").settings.write_text(text)
    assert "oak.yaml" in fails(capsys, ["data", "update", "oak"], 2)


@pytest.mark.parametrize(
    "words",
    [
        ["data", "review", "oak", "review.json", "--photographs", "a\0b"],
        ["data", "update", "a\0b"],
        ["schedule", "oak", "--timezone", "Europe/Berlin"],
        ["schedule", "--all", "--profile", "quick"],
        ["inspect", "oak", "a\0b.png"],
        ["inspect", "oak", "x" * 300],
        ["inspect", "oak", "x/" * 3000],
        ["data", "add", "new", "x" * 300, "--layout", "folder"],
        ["data", "add", "new", "../../x", "--from-git", "--upload-pack=sh"],
        ["data", "add", "new", "--layout", "procedural", "--normal", "9" * 40],
        ["data", "add", "new", "--layout", "procedural", "--size", "1e9x64"],
        ["data", "checkout", "oak", "../../x"],
        ["watch", "oak", "--once", "--every", "nan"],
        ["watch", "oak", "--once", "--every", "inf"],
        ["adapt", "oak", "../oak"],
        ["promote", "../oak"],
    ],
    ids=lambda words: " ".join(words)[:60],
)
def test_a_word_that_cannot_be(oak: Project, capsys: Said, words: list[str]) -> None:
    fails(capsys, words, 2)


def test_a_review_that_cannot_be(oak: Project, capsys: Said, tmp_path: Path) -> None:
    kind = {"kind": "knotwatch review", "schema_version": 1, "surface": "oak", "model": "oak/1", "reviewed": "now"}
    corner = [{"outline": [[10**12, 5]], "verdict": "confirmed"}]
    for images in ([judged(path="a\0b")], [judged(defects=corner)], [judged(path="x" * 5000)]):
        (tmp_path / "review.json").write_text(json.dumps({**kind, "images": images}))
        fails(capsys, ["data", "review", "oak", str(tmp_path / "review.json")], 2)
    (tmp_path / "review.json").write_text(DEEP)
    fails(capsys, ["data", "review", "oak", str(tmp_path / "review.json")], 2)


@pytest.mark.parametrize(
    ("number", "code", "hint"),
    [
        (errno.ENOSPC, 1, "free space"),
        (errno.EDQUOT, 1, "free space"),
        (errno.EROFS, 1, "allow this user"),
        (errno.EACCES, 1, "allow this user"),
        (errno.EIO, 1, "run this again"),
        (errno.ENAMETOOLONG, 2, "shorter name"),
    ],
)
def test_what_the_system_refuses_is_one_sentence(
    oak: Project, capsys: Said, monkeypatch: pytest.MonkeyPatch, number: int, code: int, hint: str
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), "/disk/a.png")

    monkeypatch.setattr("flows.dataset.surface.take_in", refuse)
    said = fails(capsys, ["data", "update", "oak", "--json"], code)
    assert "/disk/a.png" in said
    assert hint in said


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give files away")
def test_what_belongs_to_another_user_is_named_with_its_owner(
    oak: Project, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two people on one checkout: the second may not write what the first has made."""
    theirs = oak.state / "locks" / "oak.lock"
    theirs.parent.mkdir(parents=True)
    theirs.touch()
    os.chown(theirs, 1, 1)

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(theirs))

    monkeypatch.setattr("flows.dataset.surface.take_in", refuse)
    said = fails(capsys, ["data", "update", "oak"], 1)
    assert f"{theirs}: Permission denied (it belongs to {pwd.getpwuid(1).pw_name})" in " ".join(said.split())


def test_a_server_of_prefects_that_went_away_is_one_sentence(
    oak: Project, capsys: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise httpx.ConnectError("Connection refused")

    monkeypatch.setattr("flows.dataset.surface.take_in", refuse)
    said = fails(capsys, ["data", "update", "oak"], 1)
    assert "Prefect's server does not answer any more (Connection refused)" in said


def test_an_algorithm_that_met_a_full_disk_says_so_without_a_stack(caplog: pytest.LogCaptureFixture) -> None:
    failure = describe_failure("padim", OSError(errno.ENOSPC, "No space left on device", "/disk/model.bin"))
    assert (failure.problem, "free space" in failure.hint) == ("/disk/model.bin: No space left on device", True)
    assert [record.exc_info for record in caplog.records] == [None]


@pytest.mark.services
def test_a_real_disk_that_takes_no_more(project: Project, tmp_path: Path) -> None:
    """Images of 300 kB, and a system that lets no file grow beyond 100 kB."""
    images = tmp_path / "boards/good"
    images.mkdir(parents=True)
    for number in range(3):
        pixels = np.random.default_rng(number).integers(0, 255, (320, 320, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(images / f"{number}.png")
    done = subprocess.run(
        [sys.executable, "-c", "from flows.cli import main; main()", "data", "add", "oak", str(images.parent)],
        cwd=project.root,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000)),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    assert "source/good/0.png: File too large" in done.stderr
    assert "Traceback" not in done.stderr
    assert not project.surface("oak").raw.exists()
    assert not project.surface("oak").settings.exists()
