"""What a training run depends on, as one hash: data, settings, code and the libraries that compute."""

import hashlib
import json
import subprocess
from importlib.metadata import version
from pathlib import Path

from pipelines.config import PolicySettings, RunSettings

# What can change a model or its figures. Reports and wiring cannot.
_SOURCES = ("models", "imaging", "metrics", "train.py", "calibrate.py", "evaluate.py", "loader.py", "prepared.py")
_LIBRARIES = ("anomalib", "numpy", "opencv-python-headless", "openvino", "timm", "torch", "torchvision")


def fingerprint(data_version: str, settings: RunSettings, policy: PolicySettings) -> str:
    """Hash all that a run's result depends on; the same hash means that training again would change nothing."""
    parts = {
        "data": data_version,
        "settings": settings.model_dump(mode="json"),
        "policy": policy.model_dump(mode="json"),
        "code": code_hash(Path(__file__).parent),
        "libraries": {name: version(name) for name in _LIBRARIES},
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def code_hash(package: Path) -> str:
    """Hash the sources that train and evaluate."""
    found = hashlib.sha256()
    for name in _SOURCES:
        place = package / name
        for file in sorted(place.rglob("*.py")) if place.is_dir() else [place]:
            found.update(file.relative_to(package).as_posix().encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def git_commit(root: Path) -> str:
    """Return the commit of a project folder, with `-dirty` where files differ from it; empty without git."""
    command = ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    except FileNotFoundError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
