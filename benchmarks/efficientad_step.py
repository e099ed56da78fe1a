"""Time of one training step of EfficientAD against anomalib's, with the bundled teacher and at anomalib's own size."""

from pathlib import Path
from typing import Any

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.figures import Figure, ratio_figure
from benchmarks.plain_anomalib import to_float

SUBJECT = "efficientad-step"
_OFFICIAL_CHANNELS = 384
_SETTLING, _CALLS = 1, 3


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Step on one tile: ours with kept teacher outputs and bf16 where there is bf16, anomalib's as it is."""
    from pipelines.models.efficientad.teacher import load_teacher

    teacher, _ = load_teacher("bundled")
    channels = int(teacher.conv4.weight.shape[0])
    tile = to_float(repeat_tiles(draw_tiles(folder / "tiles", 1), 1)[0])[None]
    references = {
        f"anomalib, the same teacher ({channels} channels)": _theirs(tile, channels),
        f"anomalib, its own size ({_OFFICIAL_CHANNELS} channels)": _theirs(tile, _OFFICIAL_CHANNELS),
    }
    seconds = time_sides(
        {"ours": _ours(tile, teacher), **references}, effort.resamples, calls=_CALLS, settling=_SETTLING
    )
    note = f"one tile of {SIDE} x {SIDE}, optimiser included"
    return [
        ratio_figure(SUBJECT, name, "s", ours=seconds["ours"], reference=seconds[name], note=note)
        for name in references
    ]


def _ours(tile: Any, teacher: Any) -> Side:
    import torch

    from pipelines.models.efficientad.model import PENALTY_SIDE, TileEfficientAdModel
    from pipelines.models.engine.device import autocast

    model = TileEfficientAdModel(teacher).train()
    optimiser = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=1e-4)
    wanted = model.ask_teacher(tile)[None].float()
    penalty = torch.rand(1, 3, PENALTY_SIDE, PENALTY_SIDE)

    def step() -> None:
        with autocast():
            loss = model.losses(tile, wanted, penalty)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()

    return step


def _theirs(tile: Any, channels: int) -> Side:
    import torch
    from anomalib.models.image.efficient_ad.torch_model import EfficientAdModel

    model = EfficientAdModel(teacher_out_channels=channels).train()
    model.teacher.requires_grad_(requires_grad=False)
    optimiser = torch.optim.Adam([*model.student.parameters(), *model.ae.parameters()], lr=1e-4)
    everyday = torch.rand_like(tile)

    def step() -> None:
        losses = model(tile, everyday)
        optimiser.zero_grad()
        sum(losses).backward()
        optimiser.step()

    return step
