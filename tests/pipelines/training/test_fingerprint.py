"""What makes training again worth while, and what does not."""

import shutil
import subprocess
from pathlib import Path

import grimp
import pytest

from pipelines.core.surface_settings import PolicySettings
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.padim.settings import PadimSettings
from pipelines.models.registry import algorithms
from pipelines.training import fingerprint as fingerprint_module
from pipelines.training.ensemble.settings import ENSEMBLE, EnsembleSettings
from pipelines.training.fingerprint import code_hash, fingerprint, fingerprints, git_commit
from pipelines.training.run_settings import EvaluationSettings, RunSettings

POLICY = PolicySettings()
PACKAGE = Path(fingerprint_module.__file__).parents[1]


@pytest.fixture
def package(tmp_path: Path) -> Path:
    shutil.copytree(PACKAGE, tmp_path / "pipelines", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path / "pipelines"


def test_data_and_every_setting_count() -> None:
    plain = fingerprint("0" * 16, RunSettings(), PolicySettings(), "padim")
    assert plain == fingerprint("0" * 16, RunSettings(), PolicySettings(), "padim")
    changed = [
        fingerprint("1" * 16, RunSettings(), PolicySettings(), "padim"),
        fingerprint("0" * 16, RunSettings(seed=1), PolicySettings(), "padim"),
        fingerprint("0" * 16, RunSettings(padim=PadimSettings(layers=(2, 3))), PolicySettings(), "padim"),
        fingerprint("0" * 16, RunSettings(evaluation=EvaluationSettings(bootstrap=7)), PolicySettings(), "padim"),
        fingerprint("0" * 16, RunSettings(), PolicySettings(false_positive_rate=0.02), "padim"),
    ]
    assert len({plain, *changed}) == 6
    assert plain == fingerprint("0" * 16, RunSettings(), PolicySettings(propose="efficientad"), "padim"), "no training"


def test_only_an_algorithms_own_settings_count_for_it() -> None:
    plain = fingerprints("0" * 16, RunSettings(), PolicySettings())
    assert set(plain) == {*algorithms(), ENSEMBLE}
    assert len(set(plain.values())) == len(algorithms()) + 1
    other = RunSettings(fastflow=FastflowSettings(max_steps=7), algorithms=("padim", "fastflow"))
    changed = fingerprints("0" * 16, other, PolicySettings())
    assert changed["padim"] == plain["padim"]
    assert changed["fastflow"] != plain["fastflow"]
    assert "efficientad" not in changed


def test_of_an_ensemble_its_members_and_what_chooses_them_count() -> None:
    pair = RunSettings(algorithms=("padim", "fastflow"))
    plain = fingerprints("0" * 16, pair, PolicySettings())[ENSEMBLE]
    changed = [
        fingerprints("0" * 16, RunSettings(algorithms=pair.algorithms, fastflow=FastflowSettings(max_steps=7)), POLICY),
        fingerprints(
            "0" * 16, RunSettings(algorithms=pair.algorithms, ensemble=EnsembleSettings(least_auroc=0.5)), POLICY
        ),
        fingerprints("0" * 16, pair, PolicySettings(latency_ms=7)),
        fingerprints("0" * 16, RunSettings(algorithms=("padim", "fastflow", "efficientad")), POLICY),
    ]
    assert len({plain, *(found[ENSEMBLE] for found in changed)}) == 5
    assert changed[1]["padim"] == fingerprints("0" * 16, pair, POLICY)["padim"], "no member is trained again"
    assert ENSEMBLE not in fingerprints("0" * 16, RunSettings(algorithms=("padim",)), POLICY), "one is no ensemble"


def test_a_library_that_computes_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = fingerprint("0" * 16, RunSettings(), PolicySettings(), "padim")
    monkeypatch.setattr(fingerprint_module, "version", lambda name: f"{name} {9 if name == 'torch' else 1}.0")
    one = fingerprint("0" * 16, RunSettings(), PolicySettings(), "padim")
    monkeypatch.setattr(fingerprint_module, "version", "{} 1.0".format)
    assert len({plain, one, fingerprint("0" * 16, RunSettings(), PolicySettings(), "padim")}) == 3


@pytest.mark.parametrize(
    "name",
    ["training/train.py", "training/types/fit.py", "models/padim/model.py", "imaging/tiling.py", "metrics/curves.py"],
)
def test_a_source_that_trains_or_evaluates_counts(package: Path, name: str) -> None:
    before = code_hash(package)
    assert before == code_hash(PACKAGE)
    with (package / name).open("a") as file:
        file.write("\n")
    assert code_hash(package) != before


def test_all_that_a_computing_stage_imports_counts(package: Path) -> None:
    """A module that is split off a stage must not be forgotten: its change would go unseen by `retrain`."""
    graph = grimp.build_graph("pipelines", cache_dir=None)
    names = ("train", "calibrate", "types.train", "choosing.selection", "evaluate")
    stages = [f"pipelines.training.{name}" for name in names]
    needed = {module for stage in stages for module in (stage, *graph.find_upstream_modules(stage))}
    # Settings count by their values; records, paths and the like compute nothing.
    places = {module.removeprefix("pipelines.") for module in needed if not module.startswith("pipelines.core")}
    before = code_hash(package)
    for place in sorted(places):
        path = package / place.replace(".", "/")
        file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
        with file.open("a") as appended:
            appended.write("\n")
        after = code_hash(package)
        assert after != before, f"{place} does not count"
        before = after


def test_a_new_file_and_a_renamed_one_count(package: Path) -> None:
    before = code_hash(package)
    (package / "models/other.py").touch()
    added = code_hash(package)
    (package / "models/other.py").rename(package / "models/another.py")
    renamed = code_hash(package)
    (package / "models/teacher").mkdir(exist_ok=True)
    (package / "models/teacher/weights.safetensors").write_bytes(b"weights")
    assert len({before, added, renamed, code_hash(package)}) == 4


def test_reports_and_caches_do_not_count(package: Path) -> None:
    before = code_hash(package)
    (package / "reports/run_page.py").write_text("PAGE = 2\n")
    (package / "inspection/inspect.py").unlink()
    (package / "models/__pycache__").mkdir()
    (package / "models/__pycache__/padim.cpython-311.pyc").touch()
    assert code_hash(package) == before


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.invalid")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def test_a_commit_is_named_and_a_change_to_it_flagged(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q", ".")
    assert git_commit(tmp_path) == "", "a repository without a commit has none"
    (tmp_path / "params.yaml").write_text("seed: 0\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    git(tmp_path, "tag", "v1")
    commit = git(tmp_path, "rev-parse", "HEAD")
    assert git_commit(tmp_path) == commit
    (tmp_path / "params.yaml").write_text("seed: 1\n")
    assert git_commit(tmp_path) == f"{commit}-dirty"


def test_without_git_there_is_no_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert git_commit(tmp_path) == ""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit(tmp_path) == "", "git is not installed"
