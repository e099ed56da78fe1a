"""A surface's registered versions: their files, tags and aliases."""

import functools
import logging
import shutil
import tempfile
import warnings
from collections.abc import Mapping
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

import mlflow

from pipelines.core.errors import ModelError
from pipelines.core.records import Record
from pipelines.core.surface_settings import read_surface
from pipelines.detector.checksums import TAG, check_list, write_checksums
from pipelines.detector.signature import TAG as SIGNATURE
from pipelines.detector.signature import is_signed, sign
from pipelines.tracking.artifacts import check_loader, find_model
from pipelines.tracking.connection import Connection
from pipelines.tracking.runs import MOST_TAG, Run

LOADER = "pipelines.loader"
REMOVED = "files_removed"  # the day on which `knotwatch gc` removed a version's files
log = logging.getLogger(__name__)
_RUNTIME = ("numpy", "opencv-python-headless", "openvino", "pandas", "pillow", "pydantic", "imagehash")


class ModelVersion(Record):
    """A registered version as the registry knows it."""

    surface: str
    version: int
    run_id: str
    algorithm: str
    tags: dict[str, str]
    aliases: tuple[str, ...]


_ABOVE_CARD = "\n\n<!-- model card -->\n\n"


class Registry(Connection):
    """The registry of a project's MLflow store: one registered model a surface."""

    def register(self, run: Run, surface: str, folder: Path, tags: Mapping[str, str], card: str) -> ModelVersion:
        """Store a model folder as data only, and register it under a surface's name with its files' checksums.

        They are signed where the project's key is here.

        Args:
            run: The open run that made the model; it stays open.
            surface: Name of the registered model, made with its first version.
            folder: The model folder; checksums.json is written into it, and all of it is copied.
            tags: The version's tags, of at most 5,000 characters each; `algorithm` is one of them.
            card: Model card, Markdown: the version's description.

        Returns:
            The new version, with the number that the registry gave it.
        """
        registered = write_checksums(folder)
        key = self._project.signing_key
        signed = {SIGNATURE: sign(key, surface, registered)} if key.is_file() else {}
        self.forget()
        with mlflow.start_run(run_id=run.id, log_system_metrics=False), warnings.catch_warnings():
            # An example input would be an image of the user's, kept a second time; the signature is explicit.
            warnings.filterwarnings("ignore", ".*An input example was not provided", UserWarning)
            warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
            logged = mlflow.pyfunc.log_model(
                name="model",
                loader_module=LOADER,
                data_path=str(folder),
                signature=_signature(),
                pip_requirements=[f"{name}=={installed_version(name)}" for name in ("knotwatch", *_RUNTIME)],
            )
        # Leaving the block above has ended the run, which goes on.
        self._client.update_run(run.id, status="RUNNING")
        if not self._client.search_registered_models(f"name = '{surface}'"):
            self._client.create_registered_model(surface)
        made = self._client.create_model_version(
            surface,
            source=logged.model_uri,
            run_id=run.id,
            tags={**tags, TAG: registered, **signed},
            description=card,
            model_id=logged.model_id,
        )
        return self.version(surface, int(made.version))

    def version(self, surface: str, version: int) -> ModelVersion:
        """Look a version up.

        Args:
            surface: Name of the registered model.
            version: Number from 1, as the registry gave it.

        Returns:
            The version, with its tags and aliases.

        Raises:
            ModelError: If there is no such version.
        """
        from mlflow.exceptions import MlflowException

        if self._remembered is not None:
            known = next((v for v in self.versions(surface) if v.version == version), None)
            if known is not None:
                return known
        try:
            found = self._client.get_model_version(surface, str(version))
        except MlflowException as error:
            raise ModelError(
                f"'{surface}' has no version {version}", hint=f"knotwatch models {surface} lists what there is"
            ) from error
        return _as_version(surface, found)

    def versions(self, surface: str) -> list[ModelVersion]:
        """List a surface's versions, newest first. Aliases are filled in."""
        found = self._ask(("versions", surface), lambda: self._client.search_model_versions(f"name = '{surface}'"))
        aliases = self.aliases(surface) if found else {}
        named = {int(v.version): tuple(sorted(a for a, n in aliases.items() if n == int(v.version))) for v in found}
        return sorted((_as_version(surface, v, named[int(v.version)]) for v in found), key=lambda v: -v.version)

    def aliases(self, surface: str) -> dict[str, int]:
        """Map a registered surface's aliases to the versions that they name."""
        return {a: int(number) for a, number in self._model(surface).aliases.items()}

    def model_tag(self, surface: str, name: str) -> str:
        """Return a tag of a registered surface.

        Args:
            surface: Has at least one registered version.
            name: The tag's name.

        Returns:
            The value; empty where it has no such tag.
        """
        return str(self._model(surface).tags.get(name, ""))

    def tag_model(self, surface: str, name: str, value: str) -> None:
        """Tag a registered surface.

        Args:
            surface: Has at least one registered version.
            name: The tag's name; an earlier value is replaced.
            value: Cut at 4,000 characters. With an empty one the tag is taken away.
        """
        self.forget()
        if value:
            self._client.set_registered_model_tag(surface, name, value[:MOST_TAG])
        else:
            self._client.delete_registered_model_tag(surface, name)

    def _model(self, surface: str) -> Any:
        return self._ask(("model", surface), lambda: self._client.get_registered_model(surface))

    def model_names(self) -> list[str]:
        """Name the surfaces that have registered versions."""
        return sorted(str(model.name) for model in self._client.search_registered_models())

    def champion(self, surface: str) -> ModelVersion | None:
        """Return the version in use, or None."""
        return next((v for v in self.versions(surface) if "champion" in v.aliases), None)

    def set_alias(self, surface: str, alias: str, version: int) -> None:
        """Give a version an alias, which leaves the version that had it.

        Args:
            surface: Name of the registered model.
            alias: Such as `champion` or `challenger`.
            version: Number of an existing version, from 1.
        """
        self.forget()
        self._client.set_registered_model_alias(surface, alias, str(version))

    def drop_alias(self, surface: str, alias: str) -> None:
        """Take an alias away, where it is given.

        Args:
            surface: Name of the registered model; it need not have versions.
            alias: Such as `challenger`.
        """
        # One that names a version which is not there is no version's.
        if self.versions(surface) and alias in self.aliases(surface):
            self.forget()
            self._client.delete_registered_model_alias(surface, alias)

    def tag_version(self, surface: str, version: int, tags: Mapping[str, str]) -> None:
        """Tag a version.

        Args:
            surface: Name of the registered model.
            version: Number of an existing version, from 1.
            tags: Values are cut at 4,000 characters; other tags of the version stay.
        """
        self.forget()
        for name, value in tags.items():
            self._client.set_model_version_tag(surface, str(version), name, value[:MOST_TAG])

    def describe_model(self, surface: str, text: str) -> None:
        """Say in Markdown what a registered surface is, on its page.

        Args:
            surface: Has at least one registered version.
            text: Replaces what was there.
        """
        self._client.update_registered_model(surface, text)

    def describe_version(self, surface: str, version: int, text: str) -> None:
        """Say in Markdown what became of a version, on its page above the model card.

        Args:
            surface: Name of the registered model.
            version: Number of an existing version, from 1.
            text: Replaces what was said before; the card stays.
        """
        known = self._client.get_model_version(surface, str(version)).description or ""
        card = known.partition(_ABOVE_CARD)[2] or known
        self._client.update_model_version(surface, str(version), f"{text}{_ABOVE_CARD}{card}")

    def folder(self, surface: str, version: int, *, signed: bool = True, used_for: str = "") -> Path:
        """Return a version's model folder, fetched into a temporary one where the store is remote.

        Its list of checksums is the one that was registered; that the files are as listed is seen when they are loaded.

        Args:
            surface: Name of the registered model.
            version: Number from 1; one that was registered without checksums is warned of once.
            signed: Refuse a version without a signature where the surface's policy asks for one.
            used_for: Another surface that the version is used for, whose policy counts as well.

        Returns:
            The folder that holds model.json; only to be read.

        Raises:
            ModelError: If the files are gone, the list is not the registry's, or it is not signed where it has to be.
        """
        # Asked once: a registry that answers the next time otherwise would be believed in neither.
        found = self.version(surface, version)
        if day := found.tags.get(REMOVED):
            raise ModelError(
                f"the files of {surface} version {version} were removed on {day}, as superseded (`knotwatch gc`)",
                hint=f"choose a newer version (`knotwatch models {surface}`), restore a backup, or retrain",
            )
        folder = find_model(self._fetch(surface, version), f"{surface} version {version}")
        if not found.tags.get(TAG):
            _warn_unchecked(self.uri, surface, version)
        check_list(folder, found.tags.get(TAG, ""))
        for one in filter(None, (surface, used_for)) if signed else ():
            self._check_signature(found, one)
        return folder

    def _fetch(self, surface: str, version: int) -> Path:
        """Return the folder of what MLflow keeps of a version; raise ModelError where it is gone."""
        from mlflow.exceptions import MlflowException

        home = (self._project.state / "mlflow/artifacts").resolve()
        try:
            uri = self._client.get_model_version_download_uri(surface, str(version))
            if self._local and (found := Path(mlflow.artifacts.download_artifacts(uri))).resolve().is_relative_to(home):
                return found
            # What others can write to is copied first: a file that is changed after it was checked is not the one used.
            return Path(mlflow.artifacts.download_artifacts(uri, dst_path=tempfile.mkdtemp(dir=_make_scratch().name)))
        except (MlflowException, OSError) as error:
            raise ModelError(
                f"the files of {surface} version {version} cannot be read: {error}",
                hint="restore MLflow's artefacts, or retrain",
            ) from error

    def _check_signature(self, found: ModelVersion, surface: str) -> None:
        """Raise ModelError for a version without the signature that a surface's policy asks for."""
        settings, public = self._project.surface(surface).settings, self._project.public_key
        # A surface may have been removed from the project while its models stay.
        if not settings.is_file() or not read_surface(self._project, surface).policy.require_signature:
            return
        if not public.is_file():
            problem = f"{public} is not there to check its signature with"
        elif is_signed(public, found.surface, found.tags.get(TAG, ""), found.tags.get(SIGNATURE, "")):
            return
        else:
            problem = "it is not signed with this project's key"
        name = f"{found.surface} version {found.version}"
        raise ModelError(
            f"{name} is not used: {problem} (policy.require_signature of '{surface}')",
            hint="find out who registered it; to vouch for it: "
            f"knotwatch sign {found.surface} --version {found.version}",
        )

    def load_pyfunc(self, surface: str, version: int) -> Any:
        """Load a registered version the way any MLflow client would, but no module of somebody else's.

        Args:
            surface: Name of the registered model.
            version: Number of an existing version, from 1.

        Returns:
            An `mlflow.pyfunc.PyFuncModel`: encoded images in the column `image` to the columns `score` and `anomalous`.

        Raises:
            ModelError: If its files are gone, or MLflow's own file beside them names another module to load it with.
        """
        local = self._fetch(surface, version)
        check_loader(local, LOADER, f"{surface} version {version}")
        place = local.resolve()
        if set("?%#") & set(str(place)):
            # MLflow takes such a path for an address, and a link for a way out of the folder.
            place = Path(tempfile.mkdtemp(dir=_make_scratch().name)) / "model"
            shutil.copytree(local, place)
        return mlflow.pyfunc.load_model(place.as_uri())


@functools.cache
def _make_scratch() -> "tempfile.TemporaryDirectory[str]":
    """Make a folder for what this process fetches, which goes when it ends: MLflow's own would stay for ever."""
    return tempfile.TemporaryDirectory(prefix="knotwatch-")


@functools.cache
def _warn_unchecked(_uri: str, surface: str, version: int) -> None:
    """Say once that nothing tells whether a version's files are those that were registered."""
    log.warning(
        "%s version %d was registered without checksums: damage to its files goes unnoticed until the next retrain",
        surface,
        version,
    )


def _signature() -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, Schema

    return ModelSignature(
        inputs=Schema([ColSpec(DataType.binary, "image")]),
        outputs=Schema([ColSpec(DataType.double, "score"), ColSpec(DataType.boolean, "anomalous")]),
    )


def _as_version(surface: str, found: Any, aliases: tuple[str, ...] | None = None) -> ModelVersion:
    if found.name != surface:
        # Under another name another surface's policy would count, or none.
        raise ModelError(
            f"the registry answers with a version of {found.name[:80]!r} where '{surface}' was asked for",
            hint="do not use that server; unset MLFLOW_TRACKING_URI, or find out who runs it",
        )
    return ModelVersion(
        surface=found.name,
        version=int(found.version),
        run_id=found.run_id or "",
        algorithm=found.tags.get("algorithm", ""),
        tags=dict(found.tags),
        aliases=tuple(sorted(found.aliases)) if aliases is None else aliases,
    )
