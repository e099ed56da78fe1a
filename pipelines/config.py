"""Settings: params.yaml, a surface's own YAML, and what one call changes. Read once, frozen, no unknown keys."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipelines.errors import SettingsError
from pipelines.paths import Project
from pipelines.records import Algorithm, Layout


class Settings(BaseModel):
    """Frozen settings that refuse unknown keys, so that a misspelt key stops before work starts."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class ProceduralSettings(Settings):
    """What the drawn data set holds; the same values and seed draw the same files."""

    seed: int = 0
    material: Literal["wood", "fabric"] = "wood"
    look: str | None = None  # a species or a cloth; by default the material's first
    normal: int = Field(default=90, ge=1)
    defective: int = Field(default=30, ge=0)
    width: int = Field(default=384, ge=64, le=8192)
    height: int = Field(default=192, ge=64, le=8192)


class SourceSettings(Settings):
    """Where a surface's photographs came from."""

    layout: Layout
    path: str | None = None
    git_url: str | None = None
    procedural: ProceduralSettings | None = None


class ValidationSettings(Settings):
    """What a good data set looks like. Shares are of the images, brightness is on 0 to 255."""

    max_quarantined_share: float = Field(default=0.05, ge=0, le=1)
    min_side: int = Field(default=32, ge=8)
    max_megapixels: float = Field(default=200.0, gt=0)
    min_brightness: float = 8.0
    max_saturated_share: float = Field(default=0.5, gt=0, le=1)
    near_duplicate_bits: int = Field(default=20, ge=0, le=256)


class RegionSettings(Settings):
    """The rule for the region of interest: found (`auto`), the whole photograph (`none`), or a fixed `box`."""

    rule: Literal["auto", "none", "box"] = "auto"
    box: tuple[int, int, int, int] | None = None

    @model_validator(mode="after")
    def _box_goes_with_its_rule(self) -> "RegionSettings":
        if (self.rule == "box") != (self.box is not None):
            raise ValueError("`box: [left, top, right, bottom]` goes with `rule: box`, and only with it")
        return self


class PartSettings(Settings):
    """Shares of the normals. `test` counts all of them (where the layout brings no split), the rest what is left."""

    seed: int = 0
    test: float = Field(default=0.30, ge=0, lt=1)
    train: float = Field(default=0.55, gt=0, le=1)
    select: float = Field(default=0.10, ge=0, lt=1)

    @model_validator(mode="after")
    def _something_is_left(self) -> "PartSettings":
        if self.train + self.select > 1:
            raise ValueError("train and select together exceed 1; what they leave is calibrated on")
        return self


class MarginSettings(Settings):
    """How much lower than the champion's a candidate's figure may be."""

    image_auroc: float = Field(default=0.01, ge=0, lt=1)
    aupro: float = Field(default=0.02, ge=0, lt=1)
    planted_auroc: float = Field(default=0.03, ge=0, lt=1)


class FloorSettings(Settings):
    """What a surface's first champion must reach at least. A detector that guesses has AUROC 0.5 and AUPRO 0.15."""

    image_auroc: float = Field(default=0.6, ge=0, le=1)
    aupro: float = Field(default=0.3, ge=0, le=1)
    planted_auroc: float = Field(default=0.6, ge=0, le=1)


class GateSettings(Settings):
    """What a candidate must show to become champion; see pipelines/gate.py.

    With `automatic` false a retrain only proposes. `on_alias_moved` says what becomes of a champion that was set by
    hand and that the gate refuses: it is kept with a warning, or the one before it comes back.
    """

    automatic: bool = True
    on_alias_moved: Literal["keep", "revert"] = "keep"
    margins: MarginSettings = MarginSettings()
    floors: FloorSettings = FloorSettings()
    false_alarm_quantile: float = Field(default=0.99, gt=0, lt=1)
    max_latency_ratio: float = Field(default=1.5, gt=0)


class DefectSettings(Settings):
    """Which regions of a map count as defects; see pipelines/defects/regions.py.

    A region holds a pixel above the pixel threshold, in an anomalous photograph above `anomalous` times that, and
    spreads as far as the map exceeds `low` times that level. Its area is at least `min_area` pixels of the photograph
    or, where the surface says how many `pixels_per_mm` its photographs have, `min_area_mm2`.
    """

    anomalous: float = Field(default=0.75, gt=0, le=1)
    low: float = Field(default=0.9, gt=0, le=1)
    min_area: int = Field(default=25, ge=1)
    min_area_mm2: float | None = Field(default=None, gt=0)
    pixels_per_mm: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _millimetres_need_a_scale(self) -> "DefectSettings":
        if self.min_area_mm2 is not None and self.pixels_per_mm is None:
            raise ValueError("`min_area_mm2` needs `pixels_per_mm`")
        return self

    @property
    def least_pixels(self) -> float:
        """The smallest area in pixels."""
        if self.min_area_mm2 is None or self.pixels_per_mm is None:
            return self.min_area
        return self.min_area_mm2 * self.pixels_per_mm**2


class WatchSettings(Settings):
    """What the flow `watch` looks for, and what follows; see flows/watch.py and pipelines/drift.py.

    The source is looked at every `source_minutes`, and a file there may be taken in once it has been still for
    `settle_seconds`: it may be half copied. What is new is taken in, and trained on in a run of `profile`, unless
    `retrain_on_new_data` is false; with `retrain_on_drift` it is trained on once drift was noticed too.

    Drift is looked for in every batch of at least `least_photographs`; smaller ones are taken together. All looks at
    one champion together cry drift by chance with `drift_level`; a change smaller than `drift_size`, a population
    stability index, is none. `usual_defect_share` of the photographs may be defective without being news.
    `review_photographs` are put aside to be looked at. `notify` names Prefect's notification blocks, for example
    `custom-webhook/factory`.
    """

    source_minutes: float = Field(default=15.0, ge=0)
    settle_seconds: float = Field(default=60.0, ge=0)
    retrain_on_new_data: bool = True
    retrain_on_drift: bool = False
    profile: str = "full"
    usual_defect_share: float = Field(default=0.1, gt=0, lt=1)
    least_photographs: int = Field(default=20, ge=5)
    drift_level: float = Field(default=0.05, gt=0, lt=1)
    drift_size: float = Field(default=0.25, ge=0)
    review_photographs: int = Field(default=20, ge=0)
    notify: tuple[str, ...] = ()


class PolicySettings(Settings):
    """What the surface promises: shares of sound photographs, and of sound area, that may be marked."""

    false_alarm_rate: float = Field(default=0.01, gt=0, lt=1)
    marked_area_rate: float = Field(default=0.01, gt=0, lt=1)
    defects: DefectSettings = DefectSettings()
    gate: GateSettings = GateSettings()
    watch: WatchSettings = WatchSettings()


class SurfaceSettings(Settings):
    """One surface's YAML. `train` overrides params.yaml for this surface."""

    source: SourceSettings
    validation: ValidationSettings = ValidationSettings()
    region: RegionSettings = RegionSettings()
    parts: PartSettings = PartSettings()
    policy: PolicySettings = PolicySettings()
    train: dict[str, Any] = Field(default_factory=dict)


class TileSettings(Settings):
    """How the tile plan is chosen; see params.yaml."""

    mode: Literal["auto", "fit", "grid"] = "auto"
    tile: int = Field(default=256, ge=64, multiple_of=32)
    overlap: float = Field(default=0.25, ge=0, le=0.75)
    max_side: int = Field(default=1536, ge=256)


class ScoreSettings(Settings):
    """How a map becomes an image score: `border_share` of the shorter side is left out, `top_share` is averaged."""

    border_share: float = Field(default=0.07, ge=0, lt=0.4)
    top_share: float = Field(default=0.005, ge=0, le=1)


class PadimSettings(Settings):
    backbone: str = "lite0"
    layers: tuple[int, ...] = (1, 2, 3)
    features: int = Field(default=100, ge=1)
    gaussian: Literal["auto", "steady", "per-position", "shared"] = "auto"
    stride: Literal[4, 8, 16, 32] = 8
    prior_images: float = Field(default=15.0, ge=0)
    ridge: float = Field(default=0.3, gt=0)
    max_train_tiles: int = Field(default=2000, ge=1)
    score: ScoreSettings = ScoreSettings()


class SteppedSettings(Settings):
    """What training by gradient steps needs: the select part is looked at every `check_every` steps.

    Training ends after `max_steps`, or where `patience` looks in a row were no better than the best.
    """

    batch: int = Field(ge=1)
    learning_rate: float = Field(gt=0)
    max_steps: int = Field(ge=1)
    check_every: int = Field(default=25, ge=1)
    patience: int = Field(default=4, ge=1)
    max_train_tiles: int = Field(default=2000, ge=1)
    score: ScoreSettings = ScoreSettings()


class FastflowSettings(SteppedSettings):
    """`border` cells of the coarsest layer are left out on every side of a tile."""

    backbone: str = "lite0"
    layers: tuple[int, ...] = (1, 2, 3)
    flow_steps: int = Field(default=8, ge=1)
    hidden_ratio: float = Field(default=1.0, gt=0)
    conv3x3_only: bool = False
    border: int = Field(default=1, ge=0)
    batch: int = Field(default=8, ge=1)
    learning_rate: float = Field(default=3e-3, gt=0)
    max_steps: int = Field(default=200, ge=1)


class EfficientAdSettings(SteppedSettings):
    """`teacher` is `bundled`, `official` (fetched before) or a folder; `penalty` a folder of images of anything.

    The student learns from the `hard_share` highest of its distances.
    """

    teacher: str = "bundled"
    penalty: str | None = None
    hard_share: float = Field(default=0.05, gt=0, le=1)
    batch: int = Field(default=1, ge=1)
    learning_rate: float = Field(default=1e-3, gt=0)
    max_steps: int = Field(default=150, ge=1)
    # Kept teacher outputs take 1 to 3 MB a tile and light, and some hundred steps see no more tiles.
    max_train_tiles: int = Field(default=300, ge=1)


class UnlabelledSettings(Settings):
    """Training on photographs that nobody labelled.

    At most a share `contamination` of the tiles, and of each kind's area, is taken to show defects. Up to `most_kinds`
    kinds of surface are told apart where their silhouette exceeds `separation`. Photographs are shown up to `max_side`.
    The pixel threshold is where about `false_blocks` places of a sound photograph would still be marked.
    """

    contamination: float = Field(default=0.1, gt=0, lt=0.5)
    false_blocks: float = Field(default=1.0, gt=0)
    most_kinds: int = Field(default=5, ge=1)
    separation: float = Field(default=0.25, ge=0, lt=1)
    max_side: int = Field(default=3072, ge=256)


class ExportSettings(Settings):
    """`auto` takes a precision about as fast as the fastest of those that agree with torch on the select part."""

    precision: Literal["auto", "f32", "bf16", "int8"] = "auto"


class EvaluationSettings(Settings):
    bootstrap: int = Field(default=1000, ge=0)
    pictures: int = Field(default=8, ge=0)
    planted: int = Field(default=5, ge=0)


class AdaptSettings(Settings):
    """How a surface learns from another; see params.yaml."""

    finetune_rate: float = Field(default=0.1, gt=0, le=1)
    planted: int = Field(default=60, ge=0)
    most_shots: int = Field(default=64, ge=1)


class RunSettings(Settings):
    """The resolved settings of one training run."""

    seed: int = 0
    algorithms: tuple[Algorithm, ...] = tuple(Algorithm)
    tiles: TileSettings = TileSettings()
    padim: PadimSettings = PadimSettings()
    fastflow: FastflowSettings = FastflowSettings()
    efficientad: EfficientAdSettings = EfficientAdSettings()
    unlabelled: UnlabelledSettings = UnlabelledSettings()
    export: ExportSettings = ExportSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    adapt: AdaptSettings = AdaptSettings()

    def of(self, algorithm: Algorithm) -> PadimSettings | FastflowSettings | EfficientAdSettings:
        """Return one algorithm's own section."""
        if algorithm == Algorithm.PADIM:
            return self.padim
        return self.fastflow if algorithm == Algorithm.FASTFLOW else self.efficientad

    @model_validator(mode="after")
    def _some_algorithm(self) -> "RunSettings":
        if not self.algorithms or len(set(self.algorithms)) < len(self.algorithms):
            raise ValueError(f"algorithms: name one or more of {', '.join(Algorithm)}, each once")
        return self


_Model = TypeVar("_Model", bound=Settings)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid YAML: {error}", cure="mend the line it names") from error
    if not isinstance(found, dict):
        raise SettingsError(f"{path} holds no mapping of keys to values", cure="restore it from git")
    return found


def _check(model: type[_Model], values: Mapping[str, Any], where: str) -> _Model:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{'.'.join(str(k) for k in e['loc']) or '(top)'}: {e['msg']}" for e in error.errors()]
        raise SettingsError(f"{where}: " + "; ".join(lines), cure="correct or remove these keys") from error


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, mappings key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Read `a.b=value` words, the value as YAML."""
    tree: dict[str, Any] = {}
    for word in assignments:
        key, found, text = word.partition("=")
        if not found or not key:
            raise SettingsError(f"--set {word}: expected KEY=VALUE", cure="write for example --set padim.features=64")
        try:
            value: Any = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise SettingsError(f"--set {word}: the value is not valid YAML", cure="quote it, or close it") from error
        for name in reversed(key.split(".")):
            value = {name: value}
        tree = _merge(tree, value)
    return tree


def read_surface(project: Project, name: str) -> SurfaceSettings:
    """Read a surface's YAML; raise SettingsError where it is missing or holds an unknown key."""
    path = project.surface(name).settings
    if not path.is_file():
        known = ", ".join(project.surface_names()) or "none yet"
        raise SettingsError(
            f"no surface '{name}' here ({known})", cure=f"knotwatch data add {name} PATH --layout LAYOUT"
        )
    return _check(SurfaceSettings, _read_yaml(path), str(path))


def write_surface(project: Project, name: str, settings: SurfaceSettings) -> None:
    """Write a surface's YAML with its defaults spelt out, so that a user sees what can be set."""
    path = project.surface(name).settings
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump(settings.model_dump(mode="json", exclude_none=True), sort_keys=False)
    path.write_text(text, encoding="utf-8")


def resolve_run(project: Project, surface: SurfaceSettings, profile: str, assignments: list[str]) -> RunSettings:
    """Lay profile, surface and call on params.yaml, in this order.

    Raises:
        SettingsError: for an unknown profile or key, or a value out of range.
    """
    params = _read_yaml(project.params)
    profiles = params.pop("profiles", {})
    if profile not in profiles:
        raise SettingsError(f"no profile '{profile}' in {project.params}", cure=f"choose one of {', '.join(profiles)}")
    values = params
    for layer in (profiles[profile] or {}, surface.train, _parse_assignments(assignments)):
        values = _merge(values, layer)
    return _check(RunSettings, values, f"{project.params}, profile {profile}, with this surface's and call's changes")


def read_procedural_options(size: str, **values: str | int | None) -> ProceduralSettings:
    """Check the options of `data add --layout procedural`; `size` is WIDTHxHEIGHT in pixels."""
    width, _, height = size.partition("x")
    return _check(ProceduralSettings, {**values, "width": width, "height": height}, "data add --layout procedural")
