"""anomalib's training loop over a tile set, quiet and without files left behind."""

import logging
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from pipelines.imaging.tiling import TileSet
from pipelines.models.engine.anomalib import Engine, ImageBatch, ImageItem, ModelCheckpoint
from pipelines.models.engine.augment import as_tensor
from pipelines.models.openvino.runtime import usable_cores

# True of PaDiM by design, or Lightning's own affair: nothing a user could act on.
_EXPECTED = (
    "You defined a `validation_step` but have no `val_dataloader`",
    "`LightningModule.configure_optimizers` returned `None`",
    "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    "Found \\d+ module\\(s\\) in eval mode",
    "The 'train_dataloader' does not have many workers",
)
_CHATTY = ("lightning.pytorch", "lightning.fabric", "lightning_fabric", "lightning_utilities", "anomalib")


def train_on_tiles(module: nn.Module, tiles: TileSet, batch_size: int) -> None:
    """Train an anomalib module on tiles in their order.

    Args:
        module: A LightningModule of anomalib, trained in place; it sees float images (n, 3, h, w) in [0, 1].
        tiles: What it is trained on, each once an epoch.
        batch_size: Tiles a step; the last step may see fewer.

    Raises:
        KeyboardInterrupt: On Ctrl-C.
    """
    run_engine(module, DataLoader(_Tiles(tiles), batch_size=batch_size, collate_fn=_collate))


def run_engine(module: nn.Module, loader: DataLoader[Any], callbacks: Sequence[Any] = (), **trainer: Any) -> None:
    """Fit an anomalib module with its engine, quietly, and with files only in a folder that is removed afterwards.

    Args:
        module: A LightningModule of anomalib, trained in place on the device that Lightning chooses.
        loader: The training batches; nothing else is evaluated.
        callbacks: Lightning's, besides one that keeps anomalib from saving checkpoints.
        **trainer: Further arguments of Lightning's Trainer, such as `max_steps` or `precision`.

    Raises:
        KeyboardInterrupt: On Ctrl-C, where Lightning would exit the process.
    """
    torch.set_num_threads(usable_cores())
    with tempfile.TemporaryDirectory() as folder, _quiet():
        engine = Engine(
            default_root_dir=folder,
            logger=False,
            accelerator="auto",
            # anomalib adds a checkpoint callback where it finds none; this one saves nothing.
            callbacks=[ModelCheckpoint(dirpath=folder, save_top_k=0), *callbacks],
            enable_progress_bar=sys.stderr.isatty(),
            enable_model_summary=False,
            **trainer,
        )
        try:
            engine.fit(module, train_dataloaders=loader)
        except SystemExit as stop:
            # Lightning answers Ctrl-C with an exit of its own, which would look like a failure to all who wait.
            raise KeyboardInterrupt from stop


class _Tiles(Dataset[Any]):
    def __init__(self, tiles: TileSet) -> None:
        self._tiles = tiles

    def __len__(self) -> int:
        return len(self._tiles)

    def __getitem__(self, index: int) -> Any:
        return ImageItem(image=as_tensor(self._tiles[index])[0])


def _collate(items: Sequence[Any]) -> Any:
    return ImageBatch.collate(list(items))


@contextmanager
def _quiet() -> Iterator[None]:
    """Hush what is expected, and only while training lasts."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        for message in _EXPECTED:
            warnings.filterwarnings("ignore", message)
        for logger in loggers:
            logger.setLevel(logging.WARNING)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)
