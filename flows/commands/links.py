"""Links into MLflow's pages, for the answers of commands."""

from collections.abc import Iterator

from flows.runtime.environment import mlflow_address
from flows.runtime.session import Session
from flows.steps.results import MlflowPages
from pipelines.core.errors import ModelError
from pipelines.core.paths import Project
from pipelines.reports.overview.surface_card import read_card
from pipelines.tracking.pages import experiment_page, run_page, version_page


def link_version(session: Session, version: int | None) -> MlflowPages | None:
    """Link to the pages of a version, its run and its experiment, where a server shows them.

    Args:
        session: Open on the surface.
        version: Number of the version; None links to the experiment alone.

    Returns:
        Links; None where no server of the user's is named and `knotwatch ui` does not run.
    """
    server = mlflow_address(session.project)
    if not server:
        return None
    surface, experiment = session.surface, session.tracking.experiment(session.surface)
    pages = MlflowPages(experiment=experiment_page(server, experiment))
    try:
        found = session.tracking.version(surface, version) if version else None
    except ModelError:
        found = None
    if found is None:
        return pages
    run = run_page(server, experiment, found.run_id) if found.run_id else None
    return pages.model_copy(update={"run": run, "version": version_page(server, surface, found.version)})


def link_surfaces(project: Project, server: str) -> Iterator[tuple[str, str]]:
    """Link to the experiment of each surface that has a version in use; MLflow's first page shows an empty one.

    Args:
        project: Its surfaces' cards are read, MLflow is not asked.
        server: Address of MLflow's pages, without a slash at the end.

    Yields:
        Surface and link.
    """
    for surface in project.surface_names():
        models = read_card(project.surface(surface).reports).models
        if models and models.champion and models.champion.experiment:
            yield surface, experiment_page(server, models.champion.experiment)
