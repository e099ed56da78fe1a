"""What `data list` and `data show` tell."""

from collections import Counter

from flows.dataset.surface import prepared_images
from flows.runtime.data_stages import read_verdict
from pipelines.core.paths import Project
from pipelines.core.records import Part, Record
from pipelines.core.results import Verdict
from pipelines.core.surface_settings import read_surface
from pipelines.data.versions import data_version, kept_versions


class SurfaceOverview(Record):
    """A surface at a glance. `parts` counts prepared images by part and label; paths are relative to the project."""

    surface: str
    layout: str
    source: str
    images: int
    data_version: str | None
    versions: tuple[str, ...]
    parts: dict[str, dict[str, int]]
    verdict: Verdict | None
    docs: str | None


def describe(project: Project, name: str) -> SurfaceOverview:
    """Describe one surface; raise SettingsError where there is none."""
    settings = read_surface(project, name)
    paths = project.surface(name)
    images = prepared_images(project, name)
    counts = Counter((image.part.value, image.label.value) for image in images)
    parts = {p.value: {label: n for (part, label), n in sorted(counts.items()) if part == p.value} for p in Part}
    origin = settings.source.git_url or settings.source.path or "drawn from a seed"
    docs = paths.reports / "validation" / "index.html"
    return SurfaceOverview(
        surface=name,
        layout=settings.source.layout.value,
        source=origin,
        images=len(images),
        data_version=data_version(project, name),
        versions=tuple(kept_versions(project, name)),
        parts=parts,
        verdict=read_verdict(project, name) if paths.verdict.is_file() else None,
        docs=str(docs.relative_to(project.root)) if docs.is_file() else None,
    )


def describe_all(project: Project) -> list[SurfaceOverview]:
    return [describe(project, name) for name in project.surface_names()]
