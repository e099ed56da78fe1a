"""From torch to OpenVINO: a network as it is exported, and a frozen one that something is fitted to the maps of."""

import time
import warnings
from collections.abc import Sequence

import openvino
import torch
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.core.records import Precision
from pipelines.imaging.tiling import TileSet
from pipelines.models.openvino.runtime import compile_network, machine_precisions

# Compiling takes as long as torch takes for about so many tiles of 256 x 256.
_PAYS_FROM = 80 * 256 * 256  # pixels
_CLEARLY = 0.8  # of float32's time: no gain worth rounding for, and what the machine does meanwhile must not decide
_TYPES = {torch.uint8: openvino.Type.u8, torch.float32: openvino.Type.f32}


def convert_network(network: nn.Module, tile: Sequence[int], dtype: torch.dtype) -> openvino.Model:
    """Convert a network to OpenVINO for inputs of one size, any number at once.

    Args:
        network: Put into eval mode in place, and traced on the CPU.
        tile: Shape of one input without the batch axis, such as (3, height, width).
        dtype: Of the input: torch.uint8 or torch.float32.

    Returns:
        A model of inputs (n, *tile), n of any size, that is not compiled for a device.

    Raises:
        ModelError: If the network cannot be converted.
    """
    example = torch.zeros(1, *tile, dtype=dtype)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            # OpenVINO reads traces; that torch wants others to do without them is not ours to change.
            warnings.filterwarnings("ignore", "`torch.jit.")
            # Sizes are those of the plan, so that what the tracer makes a constant is one.
            warnings.simplefilter("ignore", torch.jit.TracerWarning)
            # A trace is not checked by a second one: that took a quarter of the time. It is not frozen either, which
            # would be faster to read: torch never gives a frozen network's memory back.
            traced = torch.jit.trace(network.eval(), example, strict=False, check_trace=False)
            return openvino.convert_model(traced, input=[([-1, *tile], _TYPES[dtype])])
    except Exception as error:  # the converter raises a dozen kinds
        raise ModelError(
            f"the network cannot be converted for tiles of {' x '.join(map(str, tile))}: {error}",
            hint="choose a bundled backbone, and the tile plan that the model was trained with",
        ) from error
    finally:
        _forget_traces()


def _forget_traces() -> None:
    """Let go of what torch keeps of every trace, weights and all: 23 MB for each version of PaDiM.

    There is no public way; OpenVINO's and Hugging Face's own exports do it by these names, too.
    """
    torch._C._jit_clear_class_registry()
    torch.jit._recursive.concrete_type_store = torch.jit._recursive.ConcreteTypeStore()
    torch.jit._state._clear_class_state()


class CompiledNetwork:
    """Maps of tiles as the network gives them; in float32 four to five times faster than torch on a CPU.

    Batch norms and paddings are part of the convolutions here, which read memory once.
    """

    def __init__(self, network: nn.Module, height: int, width: int, precision: Precision = Precision.F32) -> None:
        """Compile for tiles (n, 3, height, width), n of any size; raise ModelError where that cannot be done."""
        self._compiled = compile_network(convert_network(network, (3, height, width), torch.float32), precision)

    def __call__(self, tiles: torch.Tensor) -> list[torch.Tensor]:
        """Return the maps (n, c, h, w) of tiles (n, 3, height, width), one a layer."""
        found = self._compiled(tiles.contiguous().numpy())
        return [torch.from_numpy(found[number]) for number in range(len(self._compiled.outputs))]


def compile_frozen(
    network: nn.Module, tiles: TileSet, device: str = "cpu", precision: Precision = Precision.F32
) -> CompiledNetwork | None:
    """Compile a frozen network where there are tiles enough for it to pay.

    Args:
        network: Takes float tiles (n, 3, h, w) in [0, 1]; put into eval mode in place.
        tiles: What it will be run on: their number counts, and the size that their plan has.
        device: Where torch would compute: `cpu` or `cuda`, as `training_device` says.
        precision: What to compute with where that is clearly faster than float32 on this processor: some have
            instructions of bf16 that are slower.

    Returns:
        The network compiled for the processor; None where torch is as fast, below about 80 tiles of 256 x 256 px, or
        computes on a GPU.

    Raises:
        ModelError: If the network cannot be converted.
    """
    height, width = tiles.plan.tile_height, tiles.plan.tile_width
    if device != "cpu" or len(tiles) * height * width < _PAYS_FROM:
        return None
    exact = CompiledNetwork(network, height, width)
    if precision == Precision.F32 or precision not in machine_precisions():
        return exact
    rounded = CompiledNetwork(network, height, width, precision)
    return rounded if _time(rounded, height, width) < _CLEARLY * _time(exact, height, width) else exact


def _time(network: CompiledNetwork, height: int, width: int) -> float:
    """Return the seconds of the quickest of three calls: other work on the machine lengthens them and shortens none."""
    tile = torch.full((1, 3, height, width), 0.5)
    network(tile)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        network(tile)
        seconds.append(time.perf_counter() - started)
    return min(seconds)
