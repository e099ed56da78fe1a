"""Links to Prefect's pages on runs and versions that were made while no server had pages."""

from collections.abc import Mapping

from pipelines.tracking.store import Tracking

_RUN, _PAGE = "prefect_flow_run", "prefect_page"
# What earlier versions of knotwatch wrote where there was no page, or a server of another start of `knotwatch ui`.
_STALE = ("None/", "http://127.0.0.1:", "http://localhost:")


def fill_flow_pages(tracking: Tracking, prefect: str) -> int:
    """Link runs and versions to their flow runs' pages on the server that shows them now.

    Args:
        tracking: The project's own store; links to servers elsewhere stay.
        prefect: Address of Prefect's pages, without a slash at the end.

    Returns:
        How many runs and versions were given a link.
    """
    client, filled = tracking.client, 0
    for experiment in client.search_experiments():
        for run in client.search_runs([experiment.experiment_id], f"tags.{_RUN} != ''"):
            if page := _new_page(run.data.tags, prefect):
                client.set_tag(run.info.run_id, _PAGE, page)
                filled += 1
    for name in tracking.model_names():
        for version in tracking.versions(name):
            if page := _new_page(version.tags, prefect):
                tracking.tag_version(name, version.version, {_PAGE: page})
                filled += 1
    return filled


def _new_page(tags: Mapping[str, str], prefect: str) -> str:
    known, flow_run = tags.get(_PAGE, ""), tags.get(_RUN, "")
    page = f"{prefect}/flow-runs/flow-run/{flow_run}"
    stale = not known or known.startswith(_STALE)
    return page if flow_run and stale and known != page else ""
