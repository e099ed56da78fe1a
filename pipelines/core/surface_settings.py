"""A surface's own settings: its YAML in data/surfaces, written with all defaults and read once a run."""

import logging
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, model_validator

from pipelines.core.errors import SettingsError, offer_closest
from pipelines.core.files import write_whole
from pipelines.core.paths import Project, check_name
from pipelines.core.records import Layout
from pipelines.core.renamed import modernise, present_text
from pipelines.core.settings import Settings, check_settings, explain_yaml, read_meanings, read_yaml

log = logging.getLogger(__name__)

# What is hashed or folded: any whole number that a file can hold is a seed.
HashedSeed = Annotated[int, Field(ge=-(2**63), lt=2**63)]
Pixel = Annotated[int, Field(ge=-1_000_000, le=1_000_000)]


class ProceduralSettings(Settings):
    """What the drawn data set holds; the same values and seed draw the same files."""

    seed: HashedSeed = 0
    material: Literal["wood", "fabric"] = "wood"
    look: str | None = None  # a species or a cloth; by default the material's first
    normal: int = Field(default=90, ge=1, le=1_000_000)
    defective: int = Field(default=30, ge=0, le=1_000_000)
    width: int = Field(default=384, ge=64, le=8192)
    height: int = Field(default=192, ge=64, le=8192)


class SourceSettings(Settings):
    """Where a surface's images came from."""

    layout: Layout
    path: str | None = None
    git_url: str | None = None
    procedural: ProceduralSettings | None = None

    @model_validator(mode="after")
    def _names_no_option(self) -> "SourceSettings":
        # DVC and git read a word that begins with a dash as an option of theirs, and some of those run commands.
        if any(word and (word.startswith("-") or "\0" in word) for word in (self.path, self.git_url)):
            raise ValueError("path and git_url may not begin with a dash")
        if self.git_url and self.path not in (None, "."):
            check_name(str(PurePosixPath(str(self.path))))
        return self


class ValidationSettings(Settings):
    """What a good data set looks like. Shares are of the images, brightness is on 0 to 255."""

    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    max_unused_share: float = Field(default=0.3, ge=0, le=1)
    min_side: int = Field(default=32, ge=8, le=1_000_000)
    max_megapixels: float = Field(default=200.0, gt=0, le=100_000)
    min_brightness: float = Field(default=8.0, ge=0, le=255)
    max_saturated_share: float = Field(default=0.5, gt=0, le=1)
    near_duplicate_bits: int = Field(default=20, ge=0, le=256)


class RegionSettings(Settings):
    """The rule for the region of interest: found (`auto`), the whole image (`none`), or a fixed `box`."""

    rule: Literal["auto", "none", "box"] = "auto"
    box: tuple[Pixel, Pixel, Pixel, Pixel] | None = None

    @model_validator(mode="after")
    def _box_goes_with_its_rule(self) -> "RegionSettings":
        if (self.rule == "box") != (self.box is not None):
            raise ValueError("`box: [left, top, right, bottom]` goes with `rule: box`, and only with it")
        return self


class SplitSettings(Settings):
    """Shares of the normals. `test` counts all of them (where the layout brings no split), the rest what is left.

    A set of fewer than `small` groups of normals is divided so that no split gets less than it needs, see
    pipelines/data/splits/needs.py; 0: by the shares alone. So is one whose YAML has no `small`: its splits are older
    than the setting, and stay.

    `labelled` is the share of the groups with a labelled anomaly that are chosen on, once there are 15, see
    pipelines/data/splits/labelled.py; the others are tested on, and with 0, or no such key in the YAML, all are. Those
    of a layout's own test split are tested on unless `validation_from_test`.

    Near duplicates are kept together in groups of at most `largest_group`, and not at all where a chain of them holds a
    larger share than `alike` of the images, see pipelines/data/splits/groups.py; with 0, or no such key in the YAML,
    groups have any size and any labels.
    """

    former: ClassVar[Mapping[str, str]] = {"select": "validation"}

    seed: HashedSeed = 0
    test: float = Field(default=0.30, ge=0, lt=1)
    train: float = Field(default=0.55, gt=0, le=1)
    validation: float = Field(default=0.10, ge=0, lt=1)
    small: int = Field(default=300, ge=0, le=1_000_000)
    labelled: float = Field(default=0.33, ge=0, lt=1)
    largest_group: int = Field(default=20, ge=0, le=1_000_000)
    alike: float = Field(default=0.5, ge=0, le=1)
    validation_from_test: bool = False

    @model_validator(mode="after")
    def _something_is_left(self) -> "SplitSettings":
        if self.train + self.validation > 1:
            raise ValueError("train and validation together exceed 1; what they leave is calibrated on")
        return self


class MarginSettings(Settings):
    """How much lower than the champion's a candidate's figure may be.

    `recall` has the widest: a threshold for 1 % from a hundred images is itself a draw, which no resample of the test
    split shows. Simulated with an AUROC of 0.93 and 220 anomalies, equal candidates differ by 0.17 (standard
    deviation), and are refused in 36 % of trials at a margin of 0.05, in 3 to 9 % at 0.3.
    """

    former: ClassVar[Mapping[str, str]] = {"planted_auroc": "synthetic_auroc"}

    image_auroc: float = Field(default=0.01, ge=0, lt=1)
    aupro: float = Field(default=0.02, ge=0, lt=1)
    synthetic_auroc: float = Field(default=0.03, ge=0, lt=1)
    recall: float = Field(default=0.3, ge=0, lt=1)


class FloorSettings(Settings):
    """What a surface's first champion must reach at least. A detector that guesses has AUROC 0.5 and AUPRO 0.15.

    `recall`, at the image threshold, binds every candidate. Whoever guesses has the false-positive rate, by default
    0.01; at a threshold for that, normal detectors of difficult surfaces were seen to find 2 to 7 of 100 anomalies.
    """

    former: ClassVar[Mapping[str, str]] = {"planted_auroc": "synthetic_auroc"}

    image_auroc: float = Field(default=0.6, ge=0, le=1)
    aupro: float = Field(default=0.3, ge=0, le=1)
    synthetic_auroc: float = Field(default=0.6, ge=0, le=1)
    recall: float = Field(default=0.01, ge=0, le=1)


class GateSettings(Settings):
    """What a candidate must show to become champion; see pipelines/registry/gate.py.

    With `automatic` false a retrain only proposes. `on_alias_moved` says what becomes of a champion that was set by
    hand and that the gate refuses: it is kept with a warning, or the one before it comes back. Recall is judged by at
    least `least_anomalies`: labelled ones, or else synthetic ones; of fewer, a version that finds three in ten would
    now and then find none.
    """

    automatic: bool = True
    on_alias_moved: Literal["keep", "revert"] = "keep"
    margins: MarginSettings = MarginSettings()
    floors: FloorSettings = FloorSettings()
    least_anomalies: int = Field(default=10, ge=1)
    false_alarm_quantile: float = Field(default=0.99, gt=0, lt=1)
    max_latency_ratio: float = Field(default=1.5, gt=0, le=1e9)


class DefectSettings(Settings):
    """Which regions of a map count as defects; see pipelines/imaging/components.py.

    A region holds a pixel above the pixel threshold, in an anomalous image above `anomalous` times that, and
    spreads as far as the map exceeds `low` times that level. Its area is at least `min_area` pixels of the image
    or, where the surface says how many `pixels_per_mm` its images have, `min_area_mm2`. The higher its peak, the closer
    it is drawn: `trim` says by how much, 0 not at all.
    """

    anomalous: float = Field(default=0.75, gt=0, le=1)
    low: float = Field(default=0.9, gt=0, le=1)
    trim: float = Field(default=0.6, ge=0, le=1)
    min_area: int = Field(default=25, ge=1, le=10**9)
    min_area_mm2: float | None = Field(default=None, gt=0, le=1e9)
    pixels_per_mm: float | None = Field(default=None, gt=0, le=1e6)

    @model_validator(mode="after")
    def _millimetres_need_a_scale(self) -> "DefectSettings":
        if self.min_area_mm2 is not None and self.pixels_per_mm is None:
            raise ValueError("`min_area_mm2` needs `pixels_per_mm`")
        return self


class WatchSettings(Settings):
    """What the flow `watch` looks for, and what follows; see flows/watch.py and pipelines/inspection/drift.py.

    The source is looked at every `source_minutes`, and a file there may be taken in once it has been still for
    `settle_seconds`: it may be half copied. What is new is taken in, and trained on in a run of `profile`, unless
    `retrain_on_new_data` is false; with `retrain_on_drift` it is trained on once drift was noticed too.

    Drift is checked for in every batch of at least `least_images`; smaller ones are taken together. All checks of one
    champion together raise a false alarm with probability `drift_level`; a change smaller than `drift_size`, a
    population stability index, is none. `usual_defect_share` of the images may be defective without being news.
    `review_images` are sampled for review. `notify` names Prefect's notification blocks, for example
    `custom-webhook/factory`.
    """

    former: ClassVar[Mapping[str, str]] = {"least_photographs": "least_images", "review_photographs": "review_images"}

    source_minutes: float = Field(default=15.0, ge=0, le=1e6)
    settle_seconds: float = Field(default=60.0, ge=0, le=1e7)
    retrain_on_new_data: bool = True
    retrain_on_drift: bool = False
    profile: str = "full"
    usual_defect_share: float = Field(default=0.1, gt=0, lt=1)
    least_images: int = Field(default=20, ge=5, le=1_000_000)
    drift_level: float = Field(default=0.05, gt=0, lt=1)
    drift_size: float = Field(default=0.25, ge=0, le=1000)
    review_images: int = Field(default=20, ge=0, le=100_000)
    notify: tuple[str, ...] = ()


class PolicySettings(Settings):
    """What the surface guarantees: shares of normal images, and of normal area, that may be flagged.

    What a retrain proposes is chosen (`propose: auto`), or named by the user: an algorithm, or `ensemble`. An ensemble
    takes members until they need `latency_ms` milliseconds for a megapixel. A first champion that flags a larger share
    of the normal test images than `max_false_positive_rate` waits for a person. With `require_signature` a version that
    the project's key has not signed is not loaded.
    """

    former: ClassVar[Mapping[str, str]] = {
        "false_alarm_rate": "false_positive_rate",
        "marked_area_rate": "flagged_area_rate",
    }

    false_positive_rate: float = Field(default=0.01, gt=0, lt=1)
    flagged_area_rate: float = Field(default=0.01, gt=0, lt=1)
    propose: str = "auto"
    latency_ms: float = Field(default=2000.0, gt=0, le=1e9)
    max_false_positive_rate: float = Field(default=0.1, gt=0, le=1)
    require_signature: bool = False
    defects: DefectSettings = DefectSettings()
    gate: GateSettings = GateSettings()
    watch: WatchSettings = WatchSettings()


class LineSettings(Settings):
    """Where `knotwatch line` takes images from and hands verdicts to; empty: its options say so."""

    source: str = ""
    sinks: tuple[str, ...] = ()


class SurfaceSettings(Settings):
    """One surface's YAML. `train` overrides params.yaml for this surface."""

    former: ClassVar[Mapping[str, str]] = {"parts": "split"}

    source: SourceSettings
    validation: ValidationSettings = ValidationSettings()
    region: RegionSettings = RegionSettings()
    split: SplitSettings = SplitSettings()
    policy: PolicySettings = PolicySettings()
    line: LineSettings = LineSettings()
    train: dict[str, Any] = Field(default_factory=dict)


def read_surface(project: Project, name: str) -> SurfaceSettings:
    """Read a surface's YAML.

    Args:
        project: Where the surface is.
        name: The surface's.

    Returns:
        The settings; a line is logged for each former name in the file.

    Raises:
        CallError: If the name cannot be a surface's.
        SettingsError: If the file is missing, is no YAML, or holds an unknown key or a wrong value.
    """
    path = project.surface(name).settings
    if not path.is_file():
        known = project.surface_names()
        raise SettingsError(
            f"no surface '{name}' here ({', '.join(known) or 'none yet'})",
            hint=offer_closest(f"knotwatch data add {name} PATH --layout LAYOUT", name, known),
        )
    values = modernise(SurfaceSettings, read_yaml(path), path.name)
    return check_settings(SurfaceSettings, _keep_former(values), str(path))


# What a key means that a YAML lacks because it is older: as it was before there was such a setting. Versions of before
# would otherwise be compared on images that they were trained on, a data version that is brought back would be
# another, and what was taken in for months would be refused.
_FORMER: Mapping[str, Mapping[str, Any]] = {
    "split": {"small": 0, "labelled": 0, "largest_group": 0},
    "validation": {"max_unused_share": 1},
}


def _keep_former(values: Mapping[str, Any]) -> Mapping[str, Any]:
    sections = {name: values.get(name, {}) for name in _FORMER}
    kept = {name: {**_FORMER[name], **found} for name, found in sections.items() if isinstance(found, Mapping)}
    return {**values, **kept}


def renew_surface(project: Project, name: str) -> None:
    """Write the keys of a surface's YAML by their present names: DVC reads that file too, and knows no former ones.

    Args:
        project: Where the surface is.
        name: The surface's; it has settings. The file is written only where a former name stands in it.

    Raises:
        CallError: If the name cannot be a surface's.
        yaml.YAMLError: If the file is no YAML.
    """
    path = project.surface(name).settings
    text = path.read_text(encoding="utf-8")
    renewed = present_text(SurfaceSettings, text)
    if renewed != text:
        write_whole(path, renewed)
        log.info("%s: its keys were given their present names, see docs/renamed.md", path.name)


def write_surface(project: Project, name: str, settings: SurfaceSettings) -> None:
    """Write a surface's YAML with its defaults spelt out and explained, so that a user sees what can be set.

    Args:
        project: Where the surface is or will be.
        name: The surface's; a file of that name is replaced.
        settings: What to write; keys whose value is None are left out.

    Raises:
        CallError: If the name cannot be a surface's.
    """
    path = project.surface(name).settings
    text = explain_yaml(settings.model_dump(mode="json", exclude_none=True), read_meanings())
    write_whole(path, text)


def read_procedural_options(size: str, command: str, **values: str | int | None) -> ProceduralSettings:
    """Check what a command is told to draw.

    Args:
        size: WIDTHxHEIGHT in pixels, such as 384x192.
        command: Named where something is wrong.
        **values: Other keys of `ProceduralSettings`; None only where the key may be absent (`look`).

    Returns:
        The settings, checked.

    Raises:
        SettingsError: If the size is not of that form, a key is unknown, or a value is out of range.
    """
    width, _, height = size.partition("x")
    return check_settings(ProceduralSettings, {**values, "width": width, "height": height}, command)
