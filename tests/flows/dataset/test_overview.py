"""What `data show` says of a surface."""

import pytest

from pipelines.core.paths import Project
from pipelines.core.records import Layout
from pipelines.core.surface_settings import ProceduralSettings, SourceSettings, SurfaceSettings, write_surface
from tests.conftest import call_knotwatch


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (SourceSettings(layout=Layout.PROCEDURAL, procedural=ProceduralSettings(seed=7)), "procedural, from seed 7"),
        (SourceSettings(layout=Layout.PROCEDURAL), "procedural, from a seed"),
        (SourceSettings(layout=Layout.FOLDER, path="/photographs"), "folder, from /photographs"),
    ],
    ids=["seed", "default", "folder"],
)
def test_where_the_images_are_from(
    project: Project, capsys: pytest.CaptureFixture[str], source: SourceSettings, said: str
) -> None:
    write_surface(project, "oak", SurfaceSettings(source=source))
    assert call_knotwatch(capsys, "data", "show", "oak").out.startswith(f"oak: layout {said}\n")
