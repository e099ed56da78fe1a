"""What a registered model names to be loaded by: inspection, serving and evaluation all go through this file.

This module's name and the schema of model.json never break: registered models name both.
"""

import logging
from pathlib import Path
from typing import Any

from pipelines.detector.checksums import FILE as CHECKSUMS
from pipelines.detector.detector import Detector
from pipelines.imaging.decoding import decode_image

log = logging.getLogger(__name__)


class _PyFunc:
    """The face that MLflow calls: a table with a column `image` of encoded files in, one row each out."""

    def __init__(self, detector: Detector) -> None:
        self.detector = detector

    def predict(self, model_input: Any, params: dict[str, Any] | None = None) -> Any:  # noqa: ARG002 - MLflow's signature
        import pandas as pd

        rows = []
        for data in model_input["image"]:
            image = decode_image(bytes(data), self.detector.info.max_megapixels)
            scan = self.detector.scan(image.image)
            rows.append({"score": scan.score, "anomalous": scan.anomalous})
        return pd.DataFrame(rows, columns=["score", "anomalous"])


def _load_pyfunc(data_path: str) -> _PyFunc:
    """Load a model folder; MLflow's name for a loader module's entry."""
    folder = Path(data_path)
    if not (folder / CHECKSUMS).is_file():
        log.warning("%s has no checksums: damage to its files goes unnoticed until the next retrain", folder)
    return _PyFunc(Detector(folder))
