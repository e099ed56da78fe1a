from types import SimpleNamespace
from typing import Any

import pytest

from flows.adapting.origins import Origin, find_origins
from pipelines.core.errors import ModelError
from pipelines.core.geometry import TilePlan
from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.models.fastflow.settings import FastflowSettings
from pipelines.models.registry import find_algorithm
from pipelines.models.settings import FeatureSettings
from pipelines.training.run_settings import resolve_run

AUXILIARY = FeatureSettings(backbone="dinov2", layers=(5, 8))


@pytest.mark.parametrize("algorithm", ["fastflow", "fastflow_dinov2"])
@pytest.mark.parametrize("of_source", [None, AUXILIARY])
@pytest.mark.parametrize("of_target", [None, AUXILIARY.model_copy(update={"layers": (2,)})])
def test_the_target_s_network_is_made_like_the_source_s(
    project: Project, algorithm: str, of_source: FeatureSettings | None, of_target: FeatureSettings | None
) -> None:
    """Whatever the target's own settings say of a network beside the backbone."""
    params = {f"{algorithm}.backbone": "lite1", f"{algorithm}.auxiliary": "None", f"{algorithm}.max_steps": "7"}
    if of_source:
        params |= {f"{algorithm}.auxiliary.backbone": "dinov2", f"{algorithm}.auxiliary.layers": "[5, 8]"}
    train = {algorithm: {"auxiliary": of_target and of_target.model_dump(mode="json")}}
    own = SurfaceSettings(source=SourceSettings(layout=Layout.FOLDER), train=train)
    found = resolve_run(project, own, "full", find_algorithm(algorithm).structure(params)).of(algorithm)
    assert isinstance(found, FastflowSettings)
    assert (found.backbone, found.auxiliary) == ("lite1", of_source)
    assert found.max_steps == 200, "how long was trained is no part of the network"


def test_a_source_without_versions_is_refused_and_the_one_that_was_meant_is_offered() -> None:
    registry: Any = SimpleNamespace(versions=lambda _: [], model_names=lambda: ["fabric", "wood-boards"])
    with pytest.raises(ModelError, match="did you mean 'wood-boards'"):
        find_origins(registry, "wod-boards", ["padim"], "pine")


def test_what_learns_without_steps_is_tried_from_scratch_where_the_source_has_no_version(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bank wants no source; a network that is trained by steps does."""
    version = SimpleNamespace(surface="oak", version=3, run_id="r", algorithm="padim", aliases=("champion",))
    plan = TilePlan(mode="fit", tile_height=32, tile_width=32)
    made = Origin(surface="oak", version=3, run_id="r", algorithm="padim", folder="f", plan=plan)
    monkeypatch.setattr("flows.adapting.origins._open", lambda *_: made)
    registry: Any = SimpleNamespace(versions=lambda _: [version])
    found = find_origins(registry, "oak", ["padim", "fastflow", "anomalydino"], "pine")
    assert [(origin.algorithm, origin.stranger) for origin in found] == [("padim", False), ("anomalydino", True)]
