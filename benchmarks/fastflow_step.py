"""Time of one training step against anomalib's."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.alternation import Side, time_sides
from benchmarks.drawn_images import SIDE, draw_tiles, repeat_tiles
from benchmarks.effort import Effort
from benchmarks.fastflow_plain import BACKBONE, make_ours, make_plain
from benchmarks.figures import Figure, ratio_figure
from pipelines.models.fastflow.settings import FastflowSettings

SUBJECT = "fastflow-step"
_SETTLING = 1


def measure(effort: Effort, folder: Path) -> list[Figure]:
    """Take the same batch through a step of both, each as its training does it."""
    import torch

    from benchmarks.plain_anomalib import to_float

    batch = FastflowSettings().batch
    tiles = repeat_tiles(draw_tiles(folder / "tiles", batch), batch)
    floats = torch.stack([to_float(tiles[i]) for i in range(batch)])
    seconds = time_sides({"ours": _ours(floats), "anomalib": _plain(floats)}, effort.resamples, settling=_SETTLING)
    figure = ratio_figure(
        SUBJECT,
        "anomalib's training step, float32",
        "s",
        ours=seconds["ours"],
        reference=seconds["anomalib"],
        note=f"{batch} tiles of {SIDE} x {SIDE}, {BACKBONE} on both sides; ours has computed the features before "
        "(once a fit, not timed here), and uses bf16 where the processor has it",
    )
    return [figure]


def _ours(tiles: Any) -> Side:
    from pipelines.models.engine.device import has_bf16
    from pipelines.models.engine.feature_cache import cache_outputs
    from pipelines.models.fastflow.training import FastflowTraining

    model = make_ours().train()
    model.use_bf16(has_bf16())
    with_features = cache_outputs(len(tiles), lambda row: [f[0] for f in model.features(tiles[row : row + 1])], "tiles")
    module = FastflowTraining(model, with_features, FastflowSettings().learning_rate)
    return _step(module, lambda: module.take_gradients(range(len(tiles))))


def _plain(tiles: Any) -> Side:
    from anomalib.data import ImageBatch

    module = make_plain().train()
    # It logs into a trainer, and there is none.
    module.log = lambda *_, **__: None
    batch = ImageBatch(image=tiles)

    def take_gradients() -> None:
        module.training_step(batch)["loss"].backward()

    return _step(module, take_gradients)


def _step(module: Any, take_gradients: Callable[[], object]) -> Side:
    optimiser = module.configure_optimizers()

    def step() -> None:
        optimiser.zero_grad()
        take_gradients()
        optimiser.step()

    return step
