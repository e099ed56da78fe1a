"""The list of surfaces that dvc.yaml makes its stages for: knotwatch writes it from their settings."""

import yaml

from pipelines.core.files import write_whole
from pipelines.core.paths import Project


def write_surface_list(project: Project) -> None:
    """List the surfaces that have settings, keeping the file's own words at the top.

    Whatever else it held is gone then: `git checkout` brings an old list back, and DVC would know no stage of the
    surfaces that were added since. Nothing is written where the list is right.

    Args:
        project: Its folder of surfaces.

    Raises:
        CallError: If a file there has a name that no surface can have.
    """
    path = project.surfaces_index
    found = path.read_text("utf-8", errors="replace") if path.is_file() else ""
    head = [line for line in found.splitlines() if line.startswith("#")]
    text = "\n".join([*head, yaml.safe_dump({"surfaces": project.surface_names()}, sort_keys=False)])
    if found != text:
        write_whole(path, text)
