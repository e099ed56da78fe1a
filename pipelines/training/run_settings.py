"""Settings of one run: params.yaml, and over it a profile, what the surface's YAML says, and what one call changes."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, create_model, model_validator

from pipelines.core.errors import SettingsError, UnknownNameError, offer_closest
from pipelines.core.parsing import MalformedError, parse_yaml
from pipelines.core.paths import Project
from pipelines.core.renamed import modernise
from pipelines.core.settings import Seed, Settings, check_settings, read_yaml
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.imaging.tile_plan import TileSettings
from pipelines.models.registry import BUILT_IN, algorithms, find_algorithm
from pipelines.models.settings import MOST, AlgorithmSettings, ScoreSettings, UnlabelledSettings
from pipelines.training.choosing.propose import AUTO
from pipelines.training.ensemble.settings import ENSEMBLE, EnsembleSettings


class ExportSettings(Settings):
    """`auto` takes a precision about as fast as the fastest of those that agree with torch on the validation split;
    `float` does so without int8, whose trial takes half as long as fitting.
    """

    precision: Literal["auto", "float", "f32", "bf16", "int8"] = "auto"
    regions: int = Field(default=100, ge=24, le=100)

    @property
    def forced(self) -> bool:
        """Tell whether a precision is wanted whatever another would take, and refused where it disagrees."""
        return self.precision not in {"auto", "float"}


class EvaluationSettings(Settings):
    former: ClassVar[Mapping[str, str]] = {"planted": "synthetic"}

    bootstrap: int = Field(default=1000, ge=0, le=100_000)
    pictures: int = Field(default=8, ge=0, le=100_000)
    synthetic: int = Field(default=5, ge=0, le=10_000)


class AdaptSettings(Settings):
    """How a surface learns from another; see params.yaml."""

    former: ClassVar[Mapping[str, str]] = {"planted": "synthetic"}

    finetune_rate: float = Field(default=0.1, gt=0, le=1)
    synthetic: int = Field(default=60, ge=0, le=MOST)
    most_shots: int = Field(default=64, ge=1, le=MOST)
    tested: int = Field(default=200, ge=2, le=MOST)


class CommonSettings(Settings):
    """The settings of a run that belong to no algorithm."""

    seed: Seed = 0
    algorithms: tuple[str, ...] = tuple(algorithm.name for algorithm in BUILT_IN)
    colour: float = Field(default=0.07, ge=0, le=100)
    tiles: TileSettings = TileSettings()
    unlabelled: UnlabelledSettings = UnlabelledSettings()
    export: ExportSettings = ExportSettings()
    evaluation: EvaluationSettings = EvaluationSettings()
    adapt: AdaptSettings = AdaptSettings()
    ensemble: EnsembleSettings = EnsembleSettings()

    @property
    def ensemble_members(self) -> tuple[str, ...]:
        """Name the algorithms that an ensemble may be made of, in its order; fewer than two make none."""
        found = tuple(name for name, weight in self.ensemble.members.items() if weight and name in self.algorithms)
        return found if len(found) > 1 else ()

    def score_of(self, name: str) -> ScoreSettings:
        """Return how maps become image scores, of an algorithm or of the ensemble."""
        return self.ensemble.score if name == ENSEMBLE else self.of(name).score

    def of(self, algorithm: str) -> AlgorithmSettings:
        """Return one algorithm's own section."""
        own: AlgorithmSettings = getattr(self, algorithm)
        return own

    @model_validator(mode="after")
    def _some_algorithm(self) -> "CommonSettings":
        known = algorithms()
        if not self.algorithms or len(set(self.algorithms)) < len(self.algorithms) or set(self.algorithms) - set(known):
            problem = f"algorithms: name one or more of {', '.join(known)}, each once"
            unknown = next((name for name in self.algorithms if name not in known), "")
            raise UnknownNameError(problem, unknown, known)
        strangers = [name for name in self.ensemble.members if name not in known]
        if strangers:
            problem = f"ensemble.members: name algorithms among {', '.join(known)}, or none"
            raise UnknownNameError(problem, strangers[0], known)
        return self


if TYPE_CHECKING:

    class RunSettings(CommonSettings):
        """The resolved settings of one training run: the common ones, and a section for each algorithm."""

        def __init__(self, **values: Any) -> None: ...

else:
    RunSettings = create_model(
        "RunSettings",
        __base__=CommonSettings,
        __doc__="The resolved settings of one training run: the common ones, and a section for each algorithm.",
        **{algorithm.name: (type(algorithm.settings), algorithm.settings) for algorithm in algorithms().values()},
    )


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
            raise SettingsError(f"--set {word}: expected KEY=VALUE", hint="write for example --set padim.features=64")
        try:
            value: Any = parse_yaml(text)
        except MalformedError as error:
            raise SettingsError(
                f"--set {word[:200]}: the value is not valid YAML: {_on_one_line(error)}", hint="quote it, or close it"
            ) from error
        names = key.split(".")
        if len(names) > _DEEPEST_KEY:
            raise SettingsError(f"--set {word[:60]}…: no setting lies so deep", hint="see params.yaml for the settings")
        for name in reversed(names):
            value = {name: value}
        tree = _merge(tree, value)
    return tree


def resolve_run(project: Project, surface: SurfaceSettings, profile: str, assignments: list[str]) -> RunSettings:
    """Lay profile, surface and call on params.yaml, in this order.

    Args:
        project: Its params.yaml is read.
        surface: The surface's settings; `train` holds what it changes.
        profile: Name of a profile in params.yaml, such as `full`.
        assignments: What one call changes: words `a.b=value`, the value as YAML; a later one wins.

    Returns:
        The settings, with every value in its range.

    Raises:
        SettingsError: If a profile or key is unknown, a value is out of range, or a word is no assignment.
    """
    return lay_settings(read_yaml(project.params), project.params, surface, profile, assignments)


def lay_settings(
    params: Mapping[str, Any], path: Path, surface: SurfaceSettings, profile: str, assignments: list[str]
) -> RunSettings:
    """Lay profile, surface and call on what params.yaml holds, as `resolve_run` does.

    Args:
        params: What params.yaml holds, profiles included; not changed. Former names of keys are understood.
        path: Where it was read from, for messages; nothing is read here.
        surface: The surface's settings; `train` holds what it changes.
        profile: Name of a profile among `params`.
        assignments: What one call changes: words `a.b=value`, the value as YAML; a later one wins.

    Returns:
        The settings, with every value in its range.

    Raises:
        SettingsError: If a profile or key is unknown, a value is out of range, a word is no assignment, or the policy
            proposes an algorithm that there is not.
    """
    if surface.policy.propose not in (AUTO, ENSEMBLE):
        find_algorithm(surface.policy.propose)
    profiles = params.get("profiles", {})
    if profile not in profiles:
        hint = offer_closest(f"choose one of {', '.join(profiles)}", profile, profiles)
        raise SettingsError(f"no profile '{profile}' in {path}", hint=hint)
    layers = {
        path.name: {name: value for name, value in params.items() if name != "profiles"},
        f"{path.name}, profile {profile}": profiles[profile] or {},
        "the surface's train": surface.train,
        "--set": _parse_assignments(assignments),
    }
    values: dict[str, Any] = {}
    for where, layer in layers.items():
        # Before they are merged: a former name must win over a present one below it.
        values = _merge(values, modernise(RunSettings, layer, where))
    return check_settings(RunSettings, values, f"{path}, profile {profile}, with this surface's and call's changes")
