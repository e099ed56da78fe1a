"""`knotwatch sign`: the owner's word for a version that was registered before there was a key, or elsewhere."""

from flows.runtime.champion import find_champion
from pipelines.core.errors import ToolError
from pipelines.core.paths import Project
from pipelines.core.records import Record
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.detector.checksums import TAG, check_folder
from pipelines.detector.signature import TAG as SIGNATURE
from pipelines.detector.signature import make_key, publish_key, sign
from pipelines.tracking.store import Tracking


class SignResult(Record):
    """What was signed; `key` names the public key's file where it was made just now."""

    surface: str
    version: int
    key: str = ""


def sign_version(project: Project, surface: str, version: int | None = None) -> SignResult:
    """Sign a registered version, whose files are checked first; the first call makes the project's key.

    Args:
        project: Whose key is used.
        surface: Name of the registered model.
        version: Number of a registered version; None is the champion.

    Returns:
        What was signed.

    Raises:
        ModelError: If there is no such version, or its files are gone or were changed.
        ToolError: If half of the key is missing, or the version has no checksums to be signed.
    """
    tracking = Tracking(project)
    found = find_champion(project, tracking, surface) if version is None else tracking.version(surface, version)
    listed = found.tags.get(TAG, "")
    if not listed:
        raise ToolError(f"{surface} version {found.version} has no checksums to be signed", hint="retrain")
    check_folder(tracking.folder(surface, found.version, signed=False), listed)
    made = not (project.signing_key.exists() and project.public_key.exists())
    if made:
        # A call that was ended between the two files left the private one alone.
        (publish_key if project.signing_key.exists() else make_key)(project.signing_key, project.public_key)
    tracking.tag_version(surface, found.version, {SIGNATURE: sign(project.signing_key, surface, listed)})
    key = str(project.public_key.relative_to(project.root)) if made else ""
    return SignResult(surface=surface, version=found.version, key=key)


def refuse_unsigned(project: Project, surface: str, settings: SurfaceSettings) -> None:
    """Refuse, before anything is trained, what could not be used afterwards.

    Args:
        project: Whose key would sign.
        surface: That is to be trained.
        settings: Of the surface.

    Raises:
        ToolError: If versions of the surface must be signed and the key is not here.
    """
    if settings.policy.require_signature and not project.signing_key.is_file():
        raise ToolError(
            f"versions of '{surface}' must be signed (policy.require_signature), and {project.signing_key} is not here",
            hint="train on the machine that holds the key, or put it there",
        )
