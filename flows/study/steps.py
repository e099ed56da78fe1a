"""The stages in a row, for a folder that is no surface of a project: no Prefect, no DVC, nothing registered."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from flows.study.folder import Study
from pipelines.core.paths import inside
from pipelines.core.progress import track
from pipelines.core.records import TYPES, Layout
from pipelines.core.results import Trained, ValidationReport
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage, read_index
from pipelines.data.preprocess import preprocess
from pipelines.data.type_examples import take_in_types
from pipelines.data.validate import build_manifest, validate
from pipelines.detector.detector import Detector, Scan
from pipelines.imaging.decoding import decode_image
from pipelines.training.calibrate import calibrate
from pipelines.training.memory import reset_peak
from pipelines.training.run_settings import RunSettings
from pipelines.training.train import train

SURFACE = SurfaceSettings(source=SourceSettings(layout=Layout.UNLABELLED))
SETTINGS = RunSettings()


@dataclass(frozen=True)
class Prepared:
    """Images measured, judged and prepared in `folder`; `manifest` has a row for each, usable or not."""

    raw: Path
    folder: Path
    manifest: pd.DataFrame
    verdict: ValidationReport
    images: tuple[PreparedImage, ...]


@dataclass(frozen=True)
class Model:
    """A network trained without labels, ready to scan; `seconds` with its thresholds."""

    trained: Trained
    detector: Detector
    seconds: float


@dataclass(frozen=True)
class Scanned:
    """One image (H, W, 3) and what a model finds on it."""

    name: str
    image: NDArray[np.uint8]
    scan: Scan
    seconds: float


def prepare(study: Study) -> Prepared:
    """Measure and judge the images of a study, and write what the stages after this one read."""
    return prepare_folder(study.raw, study.scratch / "prepared", study.crops)


def prepare_folder(raw: Path, out: Path, crops: Path | None = None, surface: SurfaceSettings = SURFACE) -> Prepared:
    """Run the stages `validate` and `preprocess` on a folder of images, which by default nobody labelled.

    Args:
        raw: Images, which are only read.
        out: Folder to write; beside it `ledger` gets copies of the crops.
        crops: One subfolder a type; None where there are none.
        surface: Says the layout of `raw`, what makes an image bad, and the region of interest.

    Returns:
        What was measured and prepared.

    Raises:
        GateError: If too many images are bad.
        SourceError: If the crops do not lie in folders of at least three, or the images not as the layout says.
    """
    megapixels = surface.validation.max_megapixels
    manifest = build_manifest(raw, {}, surface, None)
    verdict = validate(manifest, surface, None)
    ledger = out.with_name("ledger")
    if crops is not None:
        take_in_types(crops, ledger / TYPES, megapixels)
    preprocess(manifest, verdict, raw, surface.region, megapixels, out, ledger if crops else None)
    return Prepared(raw, out, manifest, verdict, tuple(read_index(out)))


def train_without_labels(prepared: Prepared, leave_out: str | None = None) -> Model:
    """Train PaDiM on all images, or on all but one, and set its thresholds; no outline is seen.

    Args:
        prepared: The model is written beside its folder, over the last one of the same kind.
        leave_out: Path of the image that is not trained on; None trains on all.

    Returns:
        The model; its folder holds until the next call of the same kind.
    """
    images = [image for image in prepared.images if image.path != leave_out]
    folder = prepared.folder.with_name("model" if leave_out is None else "model-left-out")
    return train_model(prepared, images, folder, "padim", SETTINGS)


def train_model(
    prepared: Prepared, images: Sequence[PreparedImage], folder: Path, algorithm: str, settings: RunSettings
) -> Model:
    """Run the stages `train` and `calibrate` on some of the prepared images.

    Nothing is registered, so that the export is not set against torch, which takes longer than the fit.

    Args:
        prepared: Its folder holds the images' files.
        images: Some of `prepared`, with at least one of the training split.
        folder: Model folder to write; what lies there is removed.
        algorithm: Name of a known algorithm.
        settings: Of this fit; params.yaml is not read.

    Returns:
        The model, with its thresholds.

    Raises:
        ToolError: If the training split is empty.
    """
    reset_peak()
    started = time.monotonic()
    trained = train(algorithm, prepared.folder, images, settings, folder, checked=False)
    calibrate(trained, prepared.folder, images, "slices", SURFACE, settings.of(algorithm).score, "none")
    return Model(trained, Detector(folder), time.monotonic() - started)


def scan(model: Model, prepared: Prepared, names: Sequence[str] | None = None) -> tuple[Scanned, ...]:
    """Scan the images, or those that are named, as `knotwatch inspect` does.

    Args:
        model: Need not have been trained on these images.
        prepared: Images are read from its raw files, whole.
        names: Paths of images; None scans all, and names that there are not are passed over.

    Returns:
        The images with maps, verdicts and defects, in the order of `prepared`.
    """
    chosen = [image.path for image in prepared.images if names is None or image.path in names]
    return tuple(_scan(model, prepared.raw, name) for name in track(chosen, len(chosen), "scan"))


def _scan(model: Model, raw: Path, name: str) -> Scanned:
    image = read_image(inside(raw, name))
    started = time.monotonic()
    found = model.detector.scan(image)
    return Scanned(name, image, found, time.monotonic() - started)


def read_image(file: Path) -> NDArray[np.uint8]:
    """Read an image (H, W, 3) as a person sees it."""
    return decode_image(file, SURFACE.validation.max_megapixels).image
