"""What a training run depends on, as one hash: data, settings, code and the libraries that compute."""

import hashlib
import json
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from pipelines.core.surface_settings import PolicySettings
from pipelines.models.registry import algorithms, package_of
from pipelines.training.ensemble.settings import ENSEMBLE
from pipelines.training.run_settings import RunSettings

# What can change a model or its figures. Reports and wiring cannot.
_SOURCES = ("models", "imaging", "metrics", "detector", "training", "data/prepared.py", "loader.py")
_TRACKED = ("flows", "pipelines", "params.yaml", "dvc.yaml")
# Of the policy: what decides on a version that is there, or combines some, changes none.
_OF_USE = {"gate", "propose", "latency_ms", "max_false_positive_rate", "require_signature", "watch"}
_LIBRARIES = ("anomalib", "nncf", "numpy", "opencv-python-headless", "openvino", "timm", "torch", "torchvision")


def fingerprint(data_version: str, settings: RunSettings, policy: PolicySettings, algorithm: str) -> str:
    """Hash all that one algorithm's result depends on; the same hash means that training again would change nothing.

    Args:
        data_version: Hash of the prepared data.
        settings: Sections of other algorithms do not count, nor which others are trained beside it.
        policy: The surface's; what decides on versions that are there does not count.
        algorithm: Name of a known algorithm.

    Returns:
        16 hex digits. This package's code and the versions of libraries count too.
    """
    others = {"algorithms", "adapt", "ensemble", *(other for other in algorithms() if other != algorithm)}
    parts = {
        "data": data_version,
        "algorithm": algorithm,
        "settings": settings.model_dump(mode="json", exclude=others),
        "policy": policy.model_dump(mode="json", exclude=_OF_USE),
        "code": code_hash(Path(__file__).parents[1]),
        "libraries": {name: version(name) for name in _LIBRARIES},
        "brought by": package_of(algorithm),
    }
    return _digest(parts)


def fingerprints(data_version: str, settings: RunSettings, policy: PolicySettings) -> dict[str, str]:
    """Return the fingerprint of each algorithm that the settings ask for, and of the ensemble where there is one.

    Args:
        data_version: Hash of the prepared data.
        settings: `algorithms` names those that are asked for.
        policy: The surface's; its `gate`, `propose` and `watch` do not count.

    Returns:
        16 hex digits by algorithm, in the settings' order; `ensemble` comes last.
    """
    found = {a: fingerprint(data_version, settings, policy, a) for a in settings.algorithms}
    if settings.ensemble_members:
        parts = {
            "members": {name: found[name] for name in settings.ensemble_members},
            "settings": settings.ensemble.model_dump(mode="json"),
            "latency_ms": policy.latency_ms,
        }
        found[ENSEMBLE] = _digest(parts)
    return found


def _digest(parts: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:16]


def code_hash(package: Path) -> str:
    """Hash the sources that train and evaluate, and what lies beside them and is trained with."""
    found = hashlib.sha256()
    for name in _SOURCES:
        place = package / name
        inside = (f for f in place.rglob("*") if f.is_file() and "__pycache__" not in f.parts)
        for file in sorted(inside) if place.is_dir() else [place]:
            found.update(file.relative_to(package).as_posix().encode())
            found.update(file.read_bytes())
    return found.hexdigest()


def git_commit(root: Path) -> str:
    """Return the commit of a project folder, with `-dirty` where its code differs from it; empty without git.

    A surface's own files are not code: taking in images makes no commit dirty.
    """
    try:
        commit = _git(root, "rev-parse", "HEAD")
        return f"{commit}-dirty" if commit and _git(root, "status", "--porcelain", "--", *_TRACKED) else commit
    except FileNotFoundError:
        return ""


def _git(root: Path, *words: str) -> str:
    command = ["git", "-C", str(root), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - fixed words
    return done.stdout.strip() if done.returncode == 0 else ""
