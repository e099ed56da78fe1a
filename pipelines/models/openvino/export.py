"""From a fitted torch model to the OpenVINO IR that a version carries."""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.models.fitted import Fitted
from pipelines.models.openvino.compiled import convert_network
from pipelines.models.openvino.quantize import write_ir


class _OnBytes(nn.Module):
    """Take tiles as they are cut, uint8 (n, h, w, 3), and return only the map, float32 (n, h, w)."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, tiles: torch.Tensor) -> torch.Tensor:
        scaled = tiles.permute(0, 3, 1, 2).float() / 255
        found: torch.Tensor = self.model(scaled).anomaly_map[:, 0]
        return found


class TorchTiles:
    """A fitted network in torch, float32, that takes and gives what its export does."""

    def __init__(self, model: nn.Module, identity: str | None = None) -> None:
        """Take a network as it is.

        Args:
            model: In eval mode or not.
            identity: The same for networks that give the same maps; None where nobody may take its maps for another's.
        """
        self._on_bytes = _OnBytes(model).eval()
        self.identity = identity

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw anomaly maps (n, h, w) of RGB tiles (n, h, w, 3)."""
        with torch.no_grad():
            return np.asarray(self._on_bytes(torch.from_numpy(np.array(tiles))).numpy(), np.float32)


STATE = "state.safetensors"


def save_state(fitted: Fitted, folder: Path) -> None:
    """Write what a later fit on other images may start from.

    Args:
        fitted: Only its `state` is written, which may be empty.
        folder: Must be there; `state.safetensors` in it is replaced.
    """
    save_file({name: tensor.detach().contiguous() for name, tensor in fitted.state.items()}, folder / STATE)


def load_state(folder: Path) -> dict[str, torch.Tensor]:
    """Read what `save_state` wrote; raise ModelError where a version holds none."""
    try:
        found: dict[str, torch.Tensor] = load_file(folder / STATE)
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"{folder / STATE} cannot be started from: {error}", hint="retrain the surface that it belongs to"
        ) from error
    return found


def export_openvino(model: nn.Module, tile_height: int, tile_width: int, folder: Path) -> None:
    """Write model.xml and model.bin for tiles of one size, any number at once.

    The network takes RGB uint8 (n, tile_height, tile_width, 3) and gives raw anomaly maps, float32 (n, tile_height,
    tile_width). Constants are computed with as float32; only large ones are stored as float16.

    Args:
        model: On the CPU; takes float tiles (n, 3, h, w) in [0, 1] and returns what has an `anomaly_map` (n, 1, h, w).
        tile_height: Pixels, as the tile plan has it.
        tile_width: Pixels, as the tile plan has it.
        folder: Made if it is missing; files of these names in it are replaced.

    Raises:
        ModelError: If the model cannot be converted for such a tile.
    """
    write_ir(convert_network(_OnBytes(model), (tile_height, tile_width, 3), torch.uint8), folder)
