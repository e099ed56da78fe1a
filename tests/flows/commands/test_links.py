"""Links that `knotwatch ui` prints: past MLflow's first page, which shows an empty experiment."""

from flows.commands.links import link_surfaces
from pipelines.core.paths import Project
from pipelines.reports.overview.surface_card import ChampionNote, ModelsNote, SurfaceCard, write_card


def test_each_surface_in_use_has_a_link_to_its_runs(project: Project) -> None:
    for name, experiment in (("oak", "7"), ("ash", ""), ("elm", None)):
        paths = project.surface(name)
        paths.settings.parent.mkdir(parents=True, exist_ok=True)
        paths.settings.touch()
        champion = (
            None if experiment is None else ChampionNote(version=1, algorithm="padim", run_id="", experiment=experiment)
        )
        write_card(paths.reports, SurfaceCard(surface=name, models=ModelsNote(champion=champion)))
    ((surface, page),) = link_surfaces(project, "http://127.0.0.1:5000")
    assert surface == "oak"
    assert page.startswith("http://127.0.0.1:5000/#/experiments/7/runs")
