"""Mislabelled images among normal ones: at which rank `knotwatch data suspects` puts them, by two kinds of features.

`python -m benchmarks.suspects FOLDER --layout LAYOUT`. Three defective images are called normal, one in each of several
rounds of the same normal ones; a normal tells by its rank how long a person has to look. DINOv2's tokens are compared
as the command does it, PaDiM's features by one Gaussian of the other folds.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import numpy as np
import torch
import typer
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.command import run_command
from flows.study.steps import prepare_folder
from pipelines.core.errors import CallError
from pipelines.core.records import Label, Layout
from pipelines.core.surface_settings import SourceSettings, SurfaceSettings
from pipelines.data.prepared import PreparedImage
from pipelines.imaging.tile_plan import USUAL_INPUT_SIZE, InputSize, TileSettings, choose_plan
from pipelines.imaging.tiling import TileSet
from pipelines.inspection.suspects import assign_folds, score_map, taken_for_normal
from pipelines.models.engine.augment import as_tensor
from pipelines.models.engine.feature_cache import FeatureCache, cache_outputs
from pipelines.models.held_out import HELD_OUT_SIZE, cache_tokens, compare_folds
from pipelines.models.openvino.compiled import compile_frozen
from pipelines.models.outliers import padim_view
from pipelines.models.padim.settings import PadimSettings

_MISLABELLED, _POOL = 3, 60  # images that are called normal, and defective ones that they are drawn from
_RIDGE = 0.01

Maps = NDArray[np.float32]
Compare = Callable[[FeatureCache, Sequence[int], Sequence[int]], Maps]


def plant(
    folder: Annotated[Path, typer.Argument(help="A data set with normal and defective images.")],
    layout: Annotated[Layout, typer.Option(help="How it lies on disk.")] = Layout.FOLDER,
    rounds: Annotated[int, typer.Option(min=1, help="How often three others are called normal.")] = 10,
) -> None:
    """Plant defective images among the normal ones, and print at which ranks they come."""
    surface = SurfaceSettings(source=SourceSettings(layout=layout))
    with TemporaryDirectory() as scratch:
        prepared = prepare_folder(folder, Path(scratch) / "prepared", surface=surface)
        normal = taken_for_normal(prepared.images)
        defective = [image for image in prepared.images if image.label == Label.ANOMALOUS]
        if len(defective) < _MISLABELLED:
            raise CallError(
                f"{folder} has {len(defective)} defective images", hint=f"name one with {_MISLABELLED} and more"
            )
        random = np.random.default_rng(0)
        pool = [defective[i] for i in sorted(random.permutation(len(defective))[:_POOL])]
        drawn = [len(normal) + random.permutation(len(pool))[:_MISLABELLED] for _ in range(rounds)]
        table = Table("features", "median rank", "among 10", "among 20", "among 30", "seconds", box=None)
        for name, cache, compare in (
            ("PaDiM", _cache_padim, _compare_gaussian),
            ("DINOv2 tokens", _cache_dinov2, _compare_tokens),
        ):
            table.add_row(name, *_try(prepared.folder, normal, pool, drawn, cache, compare))
    Console().print(f"{folder.name}: {_MISLABELLED} mislabelled among {len(normal)} normal images, {rounds} times")
    Console().print(table)


def _try(
    prepared: Path,
    normal: Sequence[PreparedImage],
    pool: Sequence[PreparedImage],
    drawn: Sequence[NDArray[np.int64]],
    embed: Callable[[Path, Sequence[PreparedImage]], FeatureCache],
    compare: Compare,
) -> list[str]:
    """Rank the mislabelled images of every round; return the figures as text, and what one command would take."""
    images = [*normal, *pool]
    started = time.process_time()
    with embed(prepared, images) as cache:
        embedded = (time.process_time() - started) * len(normal) / len(images)
        started = time.process_time()
        ranks = np.concatenate([_rank(cache, images, len(normal), mislabelled, compare) for mislabelled in drawn])
    compared = (time.process_time() - started) / len(drawn)
    shares = [f"{np.mean(ranks <= first):.0%}" for first in (10, 20, 30)]
    return [f"{np.median(ranks):g}", *shares, f"{embedded + compared:.0f} of one core"]


def _rank(
    cache: FeatureCache, images: Sequence[PreparedImage], normal: int, mislabelled: NDArray[np.int64], compare: Compare
) -> NDArray[np.int64]:
    used = [*range(normal), *mislabelled.tolist()]
    maps = compare(cache, used, assign_folds([images[i].group for i in used]))
    scores = np.array([score_map(found) for found in maps])
    return np.array([1 + np.sum(scores > score) for score in scores[normal:]])


def _cache_dinov2(prepared: Path, images: Sequence[PreparedImage]) -> FeatureCache:
    return cache_tokens(_tiles(prepared, images, HELD_OUT_SIZE))


def _compare_tokens(cache: FeatureCache, used: Sequence[int], folds: Sequence[int]) -> Maps:
    return compare_folds(lambda number: cache.get([used[number]])[0][0], folds)


def _cache_padim(prepared: Path, images: Sequence[PreparedImage]) -> FeatureCache:
    tiles = _tiles(prepared, images, USUAL_INPUT_SIZE)
    view = padim_view(PadimSettings(), seed=0)
    compiled = compile_frozen(view, tiles)

    def embed(number: int) -> list[torch.Tensor]:
        pixels = as_tensor(tiles[number])
        return [(compiled(pixels)[0] if compiled else view(pixels))[0]]

    return cache_outputs(len(tiles), embed, "features")


def _compare_gaussian(cache: FeatureCache, used: Sequence[int], folds: Sequence[int]) -> Maps:
    """Return Mahalanobis distances under the Gaussian of all cells of the other folds."""
    cells = torch.stack([cache.get([number])[0][0] for number in used]).flatten(2).transpose(1, 2)
    fold = torch.tensor(folds)
    found = torch.empty(cells.shape[:2])
    for own in sorted(set(folds)):
        others = cells[fold != own].flatten(0, 1).double()
        covariance = torch.cov(others.T) + _RIDGE * torch.eye(others.shape[1])
        whitening = torch.linalg.cholesky(torch.linalg.inv(covariance)).float()
        found[fold == own] = ((cells[fold == own] - others.mean(0).float()) @ whitening).square().sum(-1).sqrt()
    maps: Maps = found.numpy()
    return maps


def _tiles(prepared: Path, images: Sequence[PreparedImage], size: InputSize) -> TileSet:
    sizes = [(image.box.height, image.box.width) for image in images]
    plan = choose_plan(TileSettings(mode="fit"), sizes, size)
    return TileSet([prepared / image.file for image in images], plan)


if __name__ == "__main__":
    run_command(plant)
