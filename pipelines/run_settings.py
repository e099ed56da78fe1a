"""Settings of one run: params.yaml, and over it a profile, what the surface's YAML says, and what one call changes."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from pipelines.config import SurfaceSettings
from pipelines.errors import SettingsError
from pipelines.parsing import MalformedError, parse_yaml
from pipelines.paths import Project
from pipelines.records import Algorithm
from pipelines.settings import Seed, Settings, check_settings, read_yaml

MOST = 1_000_000  # of steps, tiles or photographs: what exceeds it is a slip of the pen
Layer = Annotated[int, Field(ge=0, le=1000)]


class TileSettings(Settings):
    """How the tile plan is chosen; see params.yaml."""

    mode: Literal["auto", "fit", "grid"] = "auto"
    tile: int = Field(default=256, ge=64, le=4096, multiple_of=32)
    overlap: float = Field(default=0.25, ge=0, le=0.75)
    max_side: int = Field(default=1536, ge=256, le=65_536)


class ScoreSettings(Settings):
    """How a map becomes an image score: `border_share` of the shorter side is left out, `top_share` is averaged."""

    border_share: float = Field(default=0.07, ge=0, lt=0.4)
    top_share: float = Field(default=0.005, ge=0, le=1)


class PadimSettings(Settings):
    backbone: str = "lite0"
    layers: tuple[Layer, ...] = Field(default=(1, 2, 3), min_length=1)
    features: int = Field(default=100, ge=1, le=100_000)
    gaussian: Literal["auto", "steady", "per-position", "shared"] = "auto"
    stride: Literal[4, 8, 16, 32] = 8
    prior_images: float = Field(default=15.0, ge=0, le=1e6)
    ridge: float = Field(default=0.3, gt=0, le=1e6)
    max_train_tiles: int = Field(default=2000, ge=1, le=MOST)
    score: ScoreSettings = ScoreSettings()


class SteppedSettings(Settings):
    """What training by gradient steps needs: the select part is looked at every `check_every` steps.

    Training ends after `max_steps`, or where `patience` looks in a row were no better than the best.
    """

    batch: int = Field(ge=1, le=4096)
    learning_rate: float = Field(gt=0, le=10)
    max_steps: int = Field(ge=1, le=MOST)
    check_every: int = Field(default=25, ge=1, le=MOST)
    patience: int = Field(default=4, ge=1, le=MOST)
    max_train_tiles: int = Field(default=2000, ge=1, le=MOST)
    score: ScoreSettings = ScoreSettings()


class FeatureSettings(Settings):
    """A frozen network and which of its layers, or a transformer's blocks, are looked at."""

    backbone: str
    layers: tuple[Layer, ...] = Field(min_length=1)

    def in_words(self) -> str:
        """Say what is looked at.

        >>> FeatureSettings(backbone="dinov2", layers=(5, 8)).in_words()
        'dinov2 (layers 5, 8)'
        """
        return f"{self.backbone} (layers {', '.join(map(str, self.layers))})"


class FastflowSettings(SteppedSettings):
    """`border` cells of the coarsest layer are left out on every side of a tile.

    Layers of a network `beside` the backbone have flows of their own, and count like the others.
    """

    backbone: str = "lite0"
    layers: tuple[Layer, ...] = Field(default=(1, 2, 3), min_length=1)
    beside: FeatureSettings | None = None
    flow_steps: int = Field(default=8, ge=1, le=256)
    hidden_ratio: float = Field(default=1.0, gt=0, le=64)
    conv3x3_only: bool = False
    border: int = Field(default=1, ge=0, le=1024)
    batch: int = Field(default=8, ge=1, le=4096)
    learning_rate: float = Field(default=3e-3, gt=0, le=10)
    max_steps: int = Field(default=200, ge=1, le=MOST)

    def in_words(self) -> str:
        """Say which features are looked at."""
        own = FeatureSettings(backbone=self.backbone, layers=self.layers).in_words()
        return f"{own} and {self.beside.in_words()}" if self.beside else own


# Its kept features take 2 MB a tile, which count as memory, and some hundred steps see no more tiles.
_WITH_DINOV2 = FastflowSettings(beside=FeatureSettings(backbone="dinov2", layers=(5, 8)), max_train_tiles=300)


class EfficientAdSettings(SteppedSettings):
    """`teacher` is `bundled`, `official` (fetched before) or a folder; `penalty` a folder of images of anything.

    The student learns from the `hard_share` highest of its distances.
    """

    teacher: str = "bundled"
    penalty: str | None = None
    hard_share: float = Field(default=0.05, gt=0, le=1)
    batch: int = Field(default=1, ge=1, le=4096)
    learning_rate: float = Field(default=1e-3, gt=0, le=10)
    max_steps: int = Field(default=150, ge=1, le=MOST)
    # Kept teacher outputs take 1 to 3 MB a tile and light, and some hundred steps see no more tiles.
    max_train_tiles: int = Field(default=300, ge=1, le=MOST)


class UnlabelledSettings(Settings):
    """Training on photographs that nobody labelled.

    At most a share `contamination` of the tiles, and of each kind's area, is taken to show defects. Up to `most_kinds`
    kinds of surface are told apart where their silhouette exceeds `separation`. Photographs are shown up to `max_side`.
    The pixel threshold is where about `false_blocks` places of a sound photograph would still be marked.
    """

    contamination: float = Field(default=0.1, gt=0, lt=0.5)
    false_blocks: float = Field(default=1.0, gt=0, le=1e6)
    most_kinds: int = Field(default=5, ge=1, le=1000)
    separation: float = Field(default=0.25, ge=0, lt=1)
    max_side: int = Field(default=3072, ge=256, le=65_536)


class ExportSettings(Settings):
    """`auto` takes a precision about as fast as the fastest of those that agree with torch on the select part."""

    precision: Literal["auto", "f32", "bf16", "int8"] = "auto"


class EvaluationSettings(Settings):
    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    pictures: int = Field(default=8, ge=0, le=100_000)
    planted: int = Field(default=5, ge=0, le=10_000)


class AdaptSettings(Settings):
    """How a surface learns from another; see params.yaml."""

    finetune_rate: float = Field(default=0.1, gt=0, le=1)
    planted: int = Field(default=60, ge=0, le=MOST)
    most_shots: int = Field(default=64, ge=1, le=MOST)
    tested: int = Field(default=200, ge=2, le=MOST)


class RunSettings(Settings):
    """The resolved settings of one training run."""

    seed: Seed = 0
    algorithms: tuple[Algorithm, ...] = tuple(Algorithm)
    colour: float = Field(default=0.07, ge=0, le=100)
    tiles: TileSettings = TileSettings()
    padim: PadimSettings = PadimSettings()
    fastflow: FastflowSettings = FastflowSettings()
    efficientad: EfficientAdSettings = EfficientAdSettings()
    fastflow_dinov2: FastflowSettings = _WITH_DINOV2
    unlabelled: UnlabelledSettings = UnlabelledSettings()
    export: ExportSettings = ExportSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    adapt: AdaptSettings = AdaptSettings()

    def of(self, algorithm: Algorithm) -> PadimSettings | FastflowSettings | EfficientAdSettings:
        """Return one algorithm's own section."""
        own: PadimSettings | FastflowSettings | EfficientAdSettings = getattr(self, algorithm)
        return own

    @model_validator(mode="after")
    def _some_algorithm(self) -> "RunSettings":
        if not self.algorithms or len(set(self.algorithms)) < len(self.algorithms):
            raise ValueError(f"algorithms: name one or more of {', '.join(Algorithm)}, each once")
        return self


_DEEPEST_KEY = 20  # of names in one assignment, much deeper than settings are


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Lay `over` on `base`, mappings key by key."""
    merged = dict(base)
    for key, value in over.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _on_one_line(error: MalformedError) -> str:
    return " ".join(str(error).split())[:300]


def _parse_assignments(assignments: list[str]) -> dict[str, Any]:
    """Read `a.b=value` words, the value as YAML."""
    tree: dict[str, Any] = {}
    for word in assignments:
        key, found, text = word.partition("=")
        if not found or not key:
            raise SettingsError(f"--set {word}: expected KEY=VALUE", cure="write for example --set padim.features=64")
        try:
            value: Any = parse_yaml(text)
        except MalformedError as error:
            raise SettingsError(
                f"--set {word[:200]}: the value is not valid YAML: {_on_one_line(error)}", cure="quote it, or close it"
            ) from error
        names = key.split(".")
        if len(names) > _DEEPEST_KEY:
            raise SettingsError(f"--set {word[:60]}…: no setting lies so deep", cure="see params.yaml for the settings")
        for name in reversed(names):
            value = {name: value}
        tree = _merge(tree, value)
    return tree


def resolve_run(project: Project, surface: SurfaceSettings, profile: str, assignments: list[str]) -> RunSettings:
    """Lay profile, surface and call on params.yaml, in this order.

    Raises:
        SettingsError: for an unknown profile or key, or a value out of range.
    """
    params = read_yaml(project.params)
    profiles = params.pop("profiles", {})
    if profile not in profiles:
        raise SettingsError(f"no profile '{profile}' in {project.params}", cure=f"choose one of {', '.join(profiles)}")
    values = params
    for layer in (profiles[profile] or {}, surface.train, _parse_assignments(assignments)):
        values = _merge(values, layer)
    return check_settings(
        RunSettings, values, f"{project.params}, profile {profile}, with this surface's and call's changes"
    )
