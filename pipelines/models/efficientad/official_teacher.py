"""Fetch anomalib's teacher for EfficientAD, only when asked to, and only what its checksum says."""

import hashlib
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path
from urllib.error import URLError
from urllib.parse import urlsplit
from urllib.request import urlopen

import torch

from pipelines.core.errors import ToolError
from pipelines.models.efficientad.teacher import save_teacher
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork

# What anomalib 2.7 itself downloads.
URL = (
    "https://github.com/open-edge-platform/anomalib/releases/download/efficientad_pretrained_weights/"
    "efficientad_pretrained_weights.zip"
)
SHA256 = "c09aeaa2b33f244b3261a5efdaeae8f8284a949470a4c5a526c61275fe62684a"
_MEMBER = "pretrained_teacher_small.pth"
_TIMEOUT = 60  # seconds without an answer


def fetch_teacher(folder: Path, url: str = URL, sha256: str = SHA256) -> None:
    """Download anomalib's weights, compare their checksum, and keep the small teacher as safetensors.

    Args:
        folder: Made if it is missing; a teacher in it is replaced. Nothing is written before all is well.
        url: Of the zip archive; http or https.
        sha256: Of the archive, 64 hexadecimal digits in lower case.

    Raises:
        ToolError: If `url` is no web address, nothing answers within 60 seconds, the checksum differs, or the archive
            holds no such teacher.
    """
    with _download(url) as archive:
        found = hashlib.file_digest(archive, "sha256").hexdigest()
        if found != sha256:
            raise ToolError(
                f"{url} has SHA-256 {found}, expected {sha256}", hint="nothing was kept; use the bundled one"
            )
        teacher = _read_teacher(archive, url)
    save_teacher(folder, teacher, {"description": f"anomalib's, from {url}", "url": url, "sha256": sha256})


@contextmanager
def _download(url: str) -> Iterator[BufferedRandom]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise ToolError(f"{url} is no web address", hint="name one that begins with https://")
    with tempfile.TemporaryFile() as archive:
        try:
            with urlopen(url, timeout=_TIMEOUT) as answer:  # noqa: S310 - the scheme was looked at
                shutil.copyfileobj(answer, archive)
        except (URLError, OSError) as error:
            raise ToolError(
                f"{url} cannot be fetched: {error}", hint="go on with the bundled teacher, or fetch where a network is"
            ) from error
        archive.seek(0)
        yield archive


def _read_teacher(archive: BufferedRandom, url: str) -> torch.nn.Module:
    teacher = SmallPatchDescriptionNetwork(out_channels=384)
    try:
        archive.seek(0)
        with zipfile.ZipFile(archive) as files:
            name = next(n for n in files.namelist() if n.rsplit("/", 1)[-1] == _MEMBER)
            with files.open(name) as member, tempfile.TemporaryFile() as whole:
                shutil.copyfileobj(member, whole)
                whole.seek(0)
                # weights_only: tensors alone are read, no code.
                teacher.load_state_dict(torch.load(whole, map_location="cpu", weights_only=True))
    except Exception as error:  # zip, pickle and torch raise a dozen kinds
        raise ToolError(f"{url} holds no readable {_MEMBER}: {error!r}", hint="use the bundled teacher") from error
    return teacher
