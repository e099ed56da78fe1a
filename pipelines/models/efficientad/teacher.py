"""EfficientAD's teacher: the bundled one, anomalib's official one where it was fetched, or any folder's."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.core.parsing import parse_json
from pipelines.core.paths import find_project
from pipelines.models.engine.anomalib import SmallPatchDescriptionNetwork

WEIGHTS, RECIPE = "teacher.safetensors", "recipe.json"
_BUNDLED = Path(__file__).parent / "bundled_teacher"


def official_folder() -> Path:
    """Say where `knotwatch data fetch efficientad-teacher` puts anomalib's teacher."""
    return find_project().state / "teachers" / "official"


def save_teacher(folder: Path, teacher: nn.Module, recipe: Mapping[str, Any]) -> None:
    """Write a teacher's weights as float16, which its features do not feel, and the recipe beside them.

    Args:
        folder: Made if it is missing; a teacher in it is replaced.
        teacher: A patch description network of anomalib's small size; not changed.
        recipe: What JSON can hold; its `description` is what the model card says of the teacher.
    """
    folder.mkdir(parents=True, exist_ok=True)
    half = {name: tensor.half().contiguous() for name, tensor in teacher.state_dict().items()}
    save_file(half, folder / WEIGHTS)
    (folder / RECIPE).write_text(json.dumps(recipe, indent=1) + "\n", encoding="utf-8")


def load_teacher(name: str) -> tuple[nn.Module, str]:
    """Load a teacher, frozen, with a description for the model card: `bundled`, `official`, or a folder's.

    Raises:
        ModelError: where a file is missing or holds no network of anomalib's small size.
    """
    folder = {"bundled": _BUNDLED}.get(name) or (official_folder() if name == "official" else Path(name))
    try:
        stored: dict[str, torch.Tensor] = load_file(folder / WEIGHTS)
        teacher = SmallPatchDescriptionNetwork(out_channels=stored["conv4.weight"].shape[0])
        teacher.load_state_dict(stored)
        description = parse_json((folder / RECIPE).read_bytes())["description"]
    except (OSError, SafetensorError, KeyError, RuntimeError, ValueError, TypeError) as error:
        fetch = "run `knotwatch data fetch efficientad-teacher`, or set efficientad.teacher to bundled"
        hint = {"bundled": "reinstall knotwatch", "official": fetch}.get(name, "set efficientad.teacher to bundled")
        raise ModelError(f"no teacher in {folder}: {error}", hint=hint) from error
    return teacher.eval().requires_grad_(False), f"{name}: {description}"
