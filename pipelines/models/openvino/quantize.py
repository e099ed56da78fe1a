"""An exported network in int8: NNCF's quantisation after training, of what bears it."""

import io
import logging
import os
import tempfile
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from pipelines.core.errors import ModelError
from pipelines.core.progress import waiting
from pipelines.models.openvino.runtime import BIN, XML

# Read when nncf is imported: it would report its use to its makers.
os.environ.setdefault("NNCF_CI", "1")

# Convolutions are where the time goes, and what stands between them passes int8 on. Everything else stays float:
# distances, differences that nearly cancel, exponentials, and the scaling of the pixels.
_QUANTISED = {"Convolution", "GroupConvolution", "AvgPool", "MaxPool", "Relu", "Clamp"}

# Bytes of float32 constants above which they are halved: a Gaussian for every position makes tens of megabytes, which
# float16 keeps to 11 bits. Networks are small, and a flow multiplies what rounding leaves of every coupling.
_HALVED_ABOVE = 32 * 2**20


def quantise(source: Path, tiles: Sequence[NDArray[np.uint8]], folder: Path) -> None:
    """Quantise an exported network to int8; it takes the same tiles as before.

    Args:
        source: Folder with the network's model.xml and model.bin in float32; only read.
        tiles: RGB (h, w, 3) of the network's size. They fix the range of every activation: the largest value seen
            counts. They must therefore hold defects, whose activations would else be cut off at what normal wood
            reaches, and their scores with them.
        folder: Where model.xml and model.bin are written; made if it is missing.

    Raises:
        ModelError: If there is no tile, or the network cannot be quantised.
    """
    if not tiles:
        raise ModelError("no tile to quantise with", hint="add normal images, or set export.precision to f32")
    # Importing nncf makes it say that there is no GPU.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf
    from nncf.quantization.range_estimator import RangeEstimatorParametersSet

    # It announces every operation that it leaves alone, and draws bars on standard output.
    nncf.set_log_level(logging.ERROR)
    model = openvino.Core().read_model(source / XML, source / BIN)
    others = sorted({operation.get_type_name() for operation in model.get_ops()} - _QUANTISED)
    try:
        with waiting("quantise to int8"), redirect_stdout(io.StringIO()):
            quantised = nncf.quantize(
                model,
                nncf.Dataset([tile[None] for tile in tiles]),
                preset=nncf.QuantizationPreset.MIXED,
                subset_size=len(tiles),
                ignored_scope=nncf.IgnoredScope(types=others, validate=False),
                advanced_parameters=nncf.AdvancedQuantizationParameters(
                    activations_range_estimator_params=RangeEstimatorParametersSet.MINMAX
                ),
            )
    except Exception as error:  # it raises whatever its back ends raise
        raise ModelError(f"int8: {source / XML} cannot be quantised: {error}", hint="set export.precision") from error
    write_ir(quantised, folder)


def write_ir(model: openvino.Model, folder: Path, *, halve: bool = False) -> None:
    """Write model.xml and model.bin: what is unfinished never stands in their place.

    Args:
        model: Of OpenVINO, not compiled.
        folder: Made if it is missing; files of these names in it are replaced.
        halve: Store float constants as float16 however small they are; else only where they exceed 32 MiB as float32.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as unfinished:
        openvino.save_model(
            model, Path(unfinished) / XML, compress_to_fp16=halve or _float_bytes(model) > _HALVED_ABOVE
        )
        move_ir(Path(unfinished), folder)


def _float_bytes(model: openvino.Model) -> int:
    return sum(
        4 * int(np.prod(operation.get_output_shape(0)))
        for operation in model.get_ops()
        if operation.get_type_name() == "Constant" and operation.get_output_element_type(0) == openvino.Type.f32
    )


def move_ir(source: Path, folder: Path) -> None:
    """Put one folder's model.xml and model.bin in the place of another's.

    Args:
        source: Has both files, and has neither afterwards.
        folder: Must be there, on the same file system; files of these names in it are replaced.
    """
    for name in (BIN, XML):
        (source / name).replace(folder / name)
