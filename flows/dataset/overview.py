"""What `data list` and `data show` tell."""

from collections import Counter

from pydantic import Field

from flows.dataset.surface import prepared_images
from flows.runtime.data_stages import read_warned_verdict
from pipelines.core.paths import Project
from pipelines.core.records import TYPES, Record, Split
from pipelines.core.results import ValidationReport
from pipelines.core.surface_settings import SourceSettings, read_surface
from pipelines.data.versioning.versions import data_version, kept_versions
from pipelines.reports.verdict_page import PAGE_NAME


class SurfaceOverview(Record):
    """A surface at a glance. `splits` counts prepared images by split and label; paths are relative to the project.

    `masks` counts images with a mask, `types` by type the images whose mask or folder names it, `examples` the crops
    that were added by `data add-types`.
    """

    surface: str
    layout: str
    source: str
    images: int
    data_version: str | None
    versions: tuple[str, ...]
    splits: dict[str, dict[str, int]]
    masks: int = 0
    types: dict[str, int] = Field(default_factory=dict)
    examples: dict[str, int] = Field(default_factory=dict)
    verdict: ValidationReport | None
    docs: str | None


def describe(project: Project, name: str) -> SurfaceOverview:
    """Describe one surface.

    Args:
        project: Paths in the answer are relative to its root.
        name: Surface that has settings; its data may not have been prepared yet.

    Returns:
        What is known now, without measuring or preparing anything; nothing is counted before preprocessing has run.

    Raises:
        SettingsError: If there is no such surface, or its settings are wrong.
    """
    settings = read_surface(project, name)
    paths = project.surface(name)
    images = prepared_images(project, name)
    counts = Counter((image.split.value, image.label.value) for image in images)
    splits = {p.value: {label: n for (split, label), n in sorted(counts.items()) if split == p.value} for p in Split}
    docs = paths.reports / PAGE_NAME
    return SurfaceOverview(
        surface=name,
        layout=settings.source.layout.value,
        source=_origin(settings.source),
        images=len(images),
        data_version=data_version(project, name),
        versions=tuple(kept_versions(project, name)),
        splits=splits,
        masks=sum(image.mask is not None for image in images),
        types=dict(sorted(Counter(name for image in images for name in set(image.defects.values())).items())),
        examples=dict(sorted(Counter(crop.parent.name for crop in (paths.prepared / TYPES).glob("*/*.png")).items())),
        verdict=read_warned_verdict(project, name, settings) if paths.verdict.is_file() else None,
        docs=str(docs.relative_to(project.root)) if docs.is_file() else None,
    )


def _origin(source: SourceSettings) -> str:
    drawn = f"seed {source.procedural.seed}" if source.procedural else "a seed"
    return source.git_url or source.path or drawn


def describe_all(project: Project) -> list[SurfaceOverview]:
    return [describe(project, name) for name in project.surface_names()]
