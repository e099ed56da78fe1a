"""Inference on tiles with OpenVINO. No torch here: an inspection must start at once."""

import functools
import hashlib
import os
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from pipelines.core.errors import ModelError
from pipelines.core.records import Precision

XML, BIN = "model.xml", "model.bin"
PROCESSOR = "CPU"
DEVICE = "KNOTWATCH_DEVICE"
# A quantised network says by itself what is int8; the rest of it stays float32, so that scores move least.
_HINTS = {Precision.F32: "f32", Precision.BF16: "bf16", Precision.INT8: "f32"}


class TileModel:
    """An exported model, compiled for this machine's processor or another device of OpenVINO's.

    `precision` is what it is run with: the one asked for, or f32 where the device cannot compute that.
    """

    def __init__(self, folder: Path, precision: Precision = Precision.F32, device: str = PROCESSOR) -> None:
        for name in (XML, BIN):
            if not (folder / name).is_file():
                raise ModelError(f"no {name} in {folder}", hint="retrain, or restore the model's folder")
        try:
            self.precision = runnable(precision, device)
            self._compiled = compile_network(_core().read_model(folder / XML, folder / BIN), self.precision, device)
            self._tile = _tile_of(self._compiled)
        except RuntimeError as error:
            hint = "retrain, or restore the model's folder"
            if device != PROCESSOR:
                hint = f"unset {DEVICE}; where it does not load either, {hint}"
            raise ModelError(f"{folder / XML} cannot be loaded for {device}: {error}", hint=hint) from error
        self._folder = folder

    @functools.cached_property
    def identity(self) -> str:
        """The same for networks that give the same maps: a hash of their files, and what they are run with."""
        found = hashlib.sha256(self.precision.value.encode())
        for name in (XML, BIN):
            found.update((self._folder / name).read_bytes())
        return found.hexdigest()[:32]

    def infer(self, tiles: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the raw anomaly maps (n, h, w) of RGB tiles (n, h, w, 3).

        Raises:
            ModelError: for tiles of another size or type than the model's.
        """
        if tiles.ndim != 4 or tiles.shape[1:] != self._tile or tiles.dtype != np.uint8:
            raise ModelError(
                f"tiles are {tiles.dtype} {tiles.shape}, expected uint8 (n, {', '.join(map(str, self._tile))})",
                hint="cut the tiles by the tile plan of the version",
            )
        # OpenVINO's Python gives a copy of what the next call writes over, unless it is asked to share.
        return np.asarray(self._compiled(tiles)[0], np.float32)


def _tile_of(network: openvino.CompiledModel) -> tuple[int, int, int]:
    """Return height, width and channels of what a network takes; raise RuntimeError where it takes anything but RGB."""
    if len(network.inputs) != 1 or len(network.outputs) != 1 or network.input(0).get_element_type() != openvino.Type.u8:
        raise RuntimeError("it does not turn one batch of bytes into one of numbers")
    shape = network.input(0).get_partial_shape()
    if shape.rank.get_length() != 4 or shape[3].get_length() != 3:
        raise RuntimeError(f"it takes {shape}, expected (n, height, width, 3)")
    return int(shape[1].get_length()), int(shape[2].get_length()), 3


def compile_network(model: openvino.Model, precision: Precision, device: str = PROCESSOR) -> openvino.CompiledModel:
    """Compile a network for a device; a processor takes the cores that this process may use.

    Args:
        model: Read or converted, as OpenVINO holds it; an int8 one stays that whatever the precision.
        precision: What floats are computed with; f32 where the device cannot compute that.
        device: OpenVINO's name, such as `CPU` or `GPU.1`.

    Returns:
        The network, ready to be called from one thread at a time, tuned for the latency of a single call.

    Raises:
        RuntimeError: If there is no such device, or it cannot compute the network.
    """
    return _core().compile_model(model, device, _properties(device, runnable(precision, device)))


def named_device() -> str:
    """Return OpenVINO's name of what versions in use run on: the processor, or what KNOTWATCH_DEVICE names.

    Where a machine has several of a kind, `GPU` is the first of them.

    Raises:
        ModelError: where there is no such device.
    """
    wanted = os.environ.get(DEVICE) or PROCESSOR
    if wanted == PROCESSOR:
        return PROCESSOR
    found = _core().available_devices
    for name in found:
        if wanted == name or name.startswith(f"{wanted}.") or wanted == f"{name}.0":
            return str(name)
    raise ModelError(
        f"{DEVICE} is '{wanted}', OpenVINO finds {', '.join(found)}",
        hint=f"unset {DEVICE}, or install the driver of that device",
    )


def runnable(precision: Precision, device: str = PROCESSOR) -> Precision:
    """Say what a device computes with where a precision is wanted.

    Args:
        precision: What is wanted.
        device: OpenVINO's name, such as `CPU` or `GPU.1`.

    Returns:
        The precision itself, or f32 where the device has no instructions of its own for it.

    Raises:
        RuntimeError: If there is no such device.
    """
    return precision if precision in machine_precisions(device) else Precision.F32


@functools.cache
def _core() -> openvino.Core:
    """Return the process's one core, which is never let go.

    Its CPU plugin gives the thread that loads it an alternate stack for signals, and takes that memory away with the
    last model. Where another thread lets that go, the next Ctrl-C has no stack: the process dies of SIGSEGV.
    """
    return openvino.Core()


def machine_precisions(device: str = PROCESSOR) -> tuple[Precision, ...]:
    """Return what a device computes with instructions of its own; f32 always."""
    found = _core().get_property(device, "OPTIMIZATION_CAPABILITIES")
    return tuple(p for p in Precision if p == Precision.F32 or p.value.upper() in found)


def usable_cores() -> int:
    """Count the cores that this process may use, which containers and `taskset` make fewer than the machine's."""
    return len(os.sched_getaffinity(0))


def _properties(device: str, precision: Precision) -> dict[str, str | int]:
    threads = {"INFERENCE_NUM_THREADS": usable_cores()} if device == PROCESSOR else {}
    return {
        # Its own default is bf16, or a GPU's f16, where there is one: scores would depend on the machine.
        "INFERENCE_PRECISION_HINT": _HINTS[precision],
        "PERFORMANCE_HINT": "LATENCY",
        **threads,
    }
