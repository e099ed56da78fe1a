"""Settings: what is refused with its place named, what overrides what, and the way to disk and back."""

from pathlib import Path

import pytest
import yaml

from pipelines.core.errors import SettingsError
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import (
    PolicySettings,
    RegionSettings,
    SourceSettings,
    SurfaceSettings,
    ValidationSettings,
    read_surface,
    write_surface,
)
from pipelines.training.run_settings import RunSettings, resolve_run

PARAMS = """
seed: 3
profiles:
  quick: {evaluation: {bootstrap: 200}, padim: {features: 20}}
  full:
padim: {features: 100, max_train_tiles: 900}
evaluation: {bootstrap: 1000, pictures: 5}
"""


@pytest.fixture
def bare(tmp_path: Path) -> Project:
    (tmp_path / "params.yaml").write_text(PARAMS)
    (tmp_path / "data/surfaces").mkdir(parents=True)
    return Project(tmp_path)


def surface(**train: object) -> SurfaceSettings:
    return SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), train=dict(train))


def test_each_layer_overrides_the_one_before_key_by_key(bare: Project) -> None:
    plain = resolve_run(bare, surface(), "full", [])
    assert (plain.seed, plain.padim.features, plain.evaluation.bootstrap) == (3, 100, 1000)
    quick = resolve_run(bare, surface(), "quick", [])
    assert (quick.padim.features, quick.evaluation.bootstrap) == (20, 200)
    assert (quick.padim.max_train_tiles, quick.evaluation.pictures) == (900, 5), "neighbours of a changed key were lost"
    own = surface(padim={"features": 30}, evaluation={"bootstrap": 40})
    ours = resolve_run(bare, own, "quick", ["padim.features=50", "padim.layers=[2, 3]", "tiles.mode=grid"])
    assert (ours.padim.features, ours.padim.layers, ours.tiles.mode) == (50, (2, 3), "grid")
    assert (ours.evaluation.bootstrap, ours.padim.max_train_tiles) == (40, 900)


def test_the_shipped_profiles_resolve_and_differ(project: Project) -> None:
    quick, full = (resolve_run(project, surface(), profile, []) for profile in ("quick", "full"))
    assert quick.evaluation.bootstrap < full.evaluation.bootstrap
    assert set(full.algorithms) - set(quick.algorithms) == {"fastflow", "efficientad"}, "what takes steps"
    assert [settings.fastflow_dinov2.auxiliary for settings in (quick, full)] == [
        RunSettings().fastflow_dinov2.auxiliary
    ] * 2


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("padim.features", "KEY=VALUE"),
        ("=5", "KEY=VALUE"),
        ("padim.layers=[1", r"--set padim\.layers=\[1: .*YAML"),
        ("padim.featurs=5", r"padim\.featurs: "),
        ("padim.features=many", r"padim\.features: .*integer"),
        ("padim=5", "padim: "),
    ],
)
def test_a_wrong_assignment_is_refused_and_named(bare: Project, word: str, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        resolve_run(bare, surface(), "full", [word])


def test_every_key_of_a_new_surface_has_a_comment(bare: Project) -> None:
    settings = surface(padim={"features": 30})
    write_surface(bare, "oak", settings)
    assert read_surface(bare, "oak") == settings
    lines = bare.surface("oak").settings.read_text().splitlines()
    above = zip(["", *lines], lines, strict=False)
    bald = [line for before, line in above if ":" in line and "#" not in line and not before.lstrip().startswith("#")]
    assert bald == ["  padim:", "    features: 30"], "of one's own training settings params.yaml says what they mean"


def test_a_policy_that_proposes_an_unknown_algorithm_is_refused(bare: Project) -> None:
    wanted = surface().model_copy(update={"policy": PolicySettings(propose="padi")})
    with pytest.raises(SettingsError, match="padim"):
        resolve_run(bare, wanted, "full", [])


def test_an_unknown_profile_names_those_there_are(bare: Project) -> None:
    with pytest.raises(SettingsError, match="quick, full"):
        resolve_run(bare, surface(), "quik", [])


@pytest.mark.parametrize(("section", "key"), [("", "seeds"), ("padim", "featurs"), ("profiles.full.tiles", "tille")])
def test_an_unknown_key_in_params_is_refused_with_file_and_key(bare: Project, section: str, key: str) -> None:
    values = yaml.safe_load(PARAMS)
    place = values
    for name in section.split(".") if section else ():
        place[name] = place.get(name) or {}
        place = place[name]
    place[key] = 1
    bare.params.write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError) as refused:
        resolve_run(bare, surface(), "full", [])
    assert str(bare.params) in refused.value.problem
    assert ".".join([*section.removeprefix("profiles.full.").split("."), key]).lstrip(".") in refused.value.problem


def test_an_unknown_key_of_a_surface_is_refused_with_file_and_key(bare: Project) -> None:
    write_surface(bare, "oak", surface())
    path = bare.surface("oak").settings
    path.write_text(path.read_text().replace("min_side", "min_sides"))
    with pytest.raises(SettingsError, match=r"oak\.yaml: validation\.min_sides"):
        read_surface(bare, "oak")
    assert SettingsError.exit_code == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [("a: [1", "not valid YAML"), ("- 1", "no mapping"), ("", "no mapping"), ("é: 1", "not valid")],
)
def test_a_damaged_file_is_named(bare: Project, text: str, said: str) -> None:
    bare.surface("oak").settings.write_text(text, encoding="latin-1")
    with pytest.raises(SettingsError, match=f"oak.yaml.*{said}"):
        read_surface(bare, "oak")


def test_a_surface_comes_back_as_it_was_written(bare: Project) -> None:
    written = SurfaceSettings(
        source=SourceSettings(layout=Layout.VSB, path="/somewhere/Bretter 1"),
        validation=ValidationSettings(min_side=64),
        region=RegionSettings(rule="box", box=(1, 2, 30, 40)),
        train={"padim": {"layers": [2, 3]}},
    )
    write_surface(bare, "oak", written)
    assert read_surface(bare, "oak") == written
    assert "false_positive_rate: 0.01" in bare.surface("oak").settings.read_text(), "a default is not spelt out"
    with pytest.raises(SettingsError, match=r"no surface 'elm' here \(oak\)"):
        read_surface(bare, "elm")


def test_a_surface_that_is_older_than_a_setting_of_splits_keeps_its_splits(bare: Project) -> None:
    for split in ({}, {"split": {"seed": 4}}):
        bare.surface("oak").settings.write_text(yaml.safe_dump({"source": {"layout": "folder"}, **split}))
        older = read_surface(bare, "oak").split
        assert (older.small, older.labelled, older.validation_from_test) == (0, 0, False)
    write_surface(bare, "elm", surface())
    assert (read_surface(bare, "elm").split.small, read_surface(bare, "elm").split.labelled) == (300, 0.33)
    assert {"labelled: 0.33", "validation_from_test: false"} <= {
        line.strip() for line in bare.surface("elm").settings.read_text().splitlines()
    }


@pytest.mark.parametrize("region", [{"rule": "box"}, {"rule": "auto", "box": [0, 0, 9, 9]}, {"box": [0, 0, 9, 9]}])
def test_a_box_and_its_rule_go_together(bare: Project, region: dict[str, object]) -> None:
    values = {"source": {"layout": "folder"}, "region": region}
    bare.surface("oak").settings.write_text(yaml.safe_dump(values))
    with pytest.raises(SettingsError, match=r"oak\.yaml: region: .*rule: box"):
        read_surface(bare, "oak")
