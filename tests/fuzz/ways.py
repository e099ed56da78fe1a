"""The ways on which an image's bytes come into the product, and what has to hold on each of them."""

import base64
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Lock
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from flows.runtime.champion import Loaded
from flows.serving.patience import Patience
from flows.serving.protocol import Limits, RequestError, read_request
from flows.serving.scoring import Scorer
from pipelines.core.errors import ImageError
from pipelines.core.records import Label, Layout, SourceRow
from pipelines.core.surface_settings import SurfaceSettings
from pipelines.data.intake import copy_file, take_in
from pipelines.data.manifest import measure_rows
from pipelines.data.validate import build_manifest, read_arrivals, validate
from pipelines.detector.detector import Detector
from pipelines.imaging.decoding import Decoded, decode_image, decode_mask
from pipelines.imaging.measures import measure_image
from pipelines.inspection.inputs import find_images
from pipelines.inspection.inspect import inspect_images
from tests.flows.serving.doubles import hold
from tests.fuzz.mutated import Case
from tests.tiny_version import rewrite, save_version

MEGAPIXELS = 1.0  # most that is decoded, on every way
_FILE = "case.png"
# Of kinds that say: no bound held, or the code itself is wrong.
_OURS = re.compile(r"MemoryError|RecursionError|NameError|UnboundLocalError|AssertionError|ImportError")
_FIGURES = ("brightness_mean", "brightness_std", "sharpness", "saturated_share", "phash")


class Answer(NamedTuple):
    """What one way made of a file: why it was refused, or what is told of it."""

    refused: str = ""
    facts: tuple[Any, ...] = ()


class FaultError(Exception):
    """Something that was promised did not hold."""


class Ways:
    """The four ways, each on one file at a time, with a version that is small and real."""

    def __init__(self, folder: Path) -> None:
        self._source, self._raw, self._looked_at = folder / "source", folder / "raw", folder / "inspected"
        for made in (self._source, self._looked_at, folder / "version"):
            made.mkdir()
        save_version(folder / "version")
        rewrite(folder / "version", lambda info: info.update(max_megapixels=MEGAPIXELS))
        self._detector = Detector(folder / "version")
        values = {"source": {"layout": "unlabelled"}, "validation": {"max_megapixels": MEGAPIXELS}}
        self._settings = SurfaceSettings.model_validate(values)
        holder = hold("oak", Loaded(1, "oak/1 (padim)", self._detector))
        self._added: list[Answer] = []
        self._seen: list[Any] = []
        recorder: Any = SimpleNamespace(add=self._seen.extend)
        self._scorer = Scorer(holder, recorder, Lock())

    def all(self, case: Case) -> dict[str, Callable[[], Answer]]:
        """Name the ways of a case; each is called by itself, so that it can be measured."""
        return {
            "decode": lambda: self._decode(case),
            "mask": lambda: self._mask(case),
            "data add": lambda: self._note(self._add(case)),
            "inspect": lambda: self._inspect(case),
            "serve": lambda: self._serve(case),
        }

    def _note(self, answer: Answer) -> Answer:
        self._added.append(answer)
        return answer

    def _decode(self, case: Case) -> Answer:
        try:
            found = decode_image(case.data, MEGAPIXELS)
        except ImageError as error:
            return Answer(error.problem)
        image = found.image
        if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or not image.size:
            raise FaultError(f"read as {image.dtype} {image.shape}")
        if image.size > 3e6 * MEGAPIXELS:
            raise FaultError(f"{image.shape[1]} x {image.shape[0]} pixels were read, allowed are {MEGAPIXELS}e6")
        _compare_with_drawn(found, case)
        measured = measure_image(image)
        figures = tuple(getattr(measured, name) for name in _FIGURES)
        return Answer(facts=(image.shape, *figures, hashlib.sha256(image.tobytes()).hexdigest()))

    def _mask(self, case: Case) -> Answer:
        """Read the file as the mask of an image of the size that was drawn."""
        width, height = case.size
        image = Decoded(np.zeros((height, width, 3), np.uint8), "RGB", 8, 1, case.size)
        try:
            mask = decode_mask(case.data, image)
        except ImageError as error:
            return Answer(error.problem)
        if mask.dtype != np.uint8 or mask.shape != (height, width):
            raise FaultError(f"the mask is {mask.dtype} {mask.shape}")
        return Answer(facts=(mask.shape,))

    def _add(self, case: Case) -> Answer:
        """Copy and measure one file, as taking in a folder does with each."""
        name = f"{case.number:06d}.png"
        (self._source / name).write_bytes(case.data)
        copy_file(self._source / name, self._raw / "source" / name)
        manifest = measure_rows(
            [SourceRow(path=name, label=Label.UNKNOWN)], self._raw / "source", self._settings.validation
        )
        return _as_answer(manifest.iloc[0])

    def add_all(self) -> Iterator[str]:
        """Take in all files that were tried since the last time as one folder, and yield what differs from before.

        Each has to be in the manifest as it was measured alone, and each that cannot be read in the verdict, by name
        and with its reason.
        """
        arrivals = self._raw / "ledger/arrivals.csv"
        alone = {file.name: answer for file, answer in zip(sorted(self._source.iterdir()), self._added, strict=True)}
        taken = take_in(Layout.UNLABELLED, self._source, self._raw / "source", arrivals)
        if (taken.images, taken.warnings, taken.unused) != (len(alone), (), ()):
            yield f"taken in as {taken}"
        manifest = build_manifest(self._raw / "source", read_arrivals(arrivals), self._settings, None)
        together = {str(row["path"]): _as_answer(row) for _, row in manifest.iterrows()}
        verdict = validate(manifest, self._settings, None)
        reasons = {file.path: file.reason for file in verdict.quarantined}
        for name, answer in alone.items():
            if together.get(name) != answer:
                yield f"{name}: {answer} alone, {together.get(name)} together"
            if answer.refused not in reasons.get(name, ""):
                yield f"{name}: {answer.refused}, in the verdict {reasons.get(name)}"
        self._added.clear()
        for folder in (self._source, self._raw / "source"):
            for file in folder.iterdir():
                file.unlink()

    def _inspect(self, case: Case) -> Answer:
        (self._looked_at / _FILE).write_bytes(case.data)
        images = find_images([self._looked_at])
        (found,) = inspect_images(self._detector, 1, images, None, None)
        told = found.inspected
        if Path(told.path).name != _FILE or found.observation.error != told.error:
            raise FaultError(f"inspected as {told.path}: {told.error}, noted as {found.observation.error}")
        return Answer(told.error or "", ((told.height, told.width, 3), told.score, told.anomalous))

    def _serve(self, case: Case) -> Answer:
        body = json.dumps({"dataframe_records": [{"image": base64.b64encode(case.data).decode()}]}).encode()
        limits = Limits(megapixels=MEGAPIXELS)
        self._seen.clear()
        try:
            (told,) = self._scorer.score(read_request(body, limits), limits, Patience(60))
        except RequestError as error:
            if not error.problem.startswith("row 0: ") or error.status not in {400, 413}:
                raise FaultError(f"refused as {error.status} {error.problem}") from error
            return Answer(error.problem.removeprefix("row 0: "))
        if len(self._seen) != 1:
            raise FaultError(f"{len(self._seen)} lines for the history")
        return Answer(facts=(None, told["score"], told["anomalous"]))


def _as_answer(row: "pd.Series[Any]") -> Answer:
    told: dict[str, Any] = {str(name): value for name, value in row.items()}
    if told["error"]:
        return Answer(told["error"])
    return Answer(facts=((told["height"], told["width"], 3), *(told[name] for name in _FIGURES)))


def _compare_with_drawn(found: Decoded, case: Case) -> None:
    whole = case.whole
    if whole is None:
        return
    if whole.seen is None:
        raise FaultError(f"{whole.kind} was read")
    if found.image.shape != whole.seen.shape:
        raise FaultError(f"{whole.kind} was read as {found.image.shape}, drawn was {whole.seen.shape}")
    off = np.abs(found.image.astype(int) - whole.seen)
    if off.max() > 0 and not (whole.lossy and off.mean() < 12):
        raise FaultError(f"{whole.kind} was read {off.max()} grey levels off")


def compare(case: Case, answers: dict[str, Answer]) -> list[str]:
    """Say what contradicts itself in the answers, or names no good reason."""
    ours = answers["decode"]
    faults = [f"{way}: {answer.refused}" for way, answer in answers.items() if _OURS.search(answer.refused)]
    if case.whole is not None and ours.refused:
        wanted = case.whole.refused
        if not wanted or not re.search(wanted, ours.refused):
            faults.append(f"{case.whole.kind} was refused: {ours.refused}")
    # A server says in its own words that an image is too large.
    large = "megapixels" in ours.refused
    for way in ("data add", "inspect", "serve"):
        other = answers[way].refused
        if (ours.refused != other) and not (way == "serve" and large and "megapixels" in other):
            faults.append(f"{way}: '{other}', decoded: '{ours.refused}'")
    if not faults and not ours.refused:
        if answers["data add"].facts != ours.facts[: 1 + len(_FIGURES)]:
            faults.append(f"data add measured {answers['data add'].facts}, decoded was {ours.facts}")
        if answers["inspect"].facts[0] != ours.facts[0] or answers["inspect"].facts[1:] != answers["serve"].facts[1:]:
            faults.append(f"inspect said {answers['inspect'].facts}, serve {answers['serve'].facts}")
    return faults
