"""What a fit will take, before it starts: memory and size of a PaDiM version from its tile plan and settings."""

from pipelines.core.geometry import TilePlan
from pipelines.models.algorithm import Cost
from pipelines.models.padim.settings import PadimSettings

_MB = 1e6


class PadimCost(Cost):
    """Megabytes: `memory_mb` what the fit adds at most to the process, `version_mb` what is stored of it."""

    positions: int


def estimate_padim(plan: TilePlan, settings: PadimSettings) -> PadimCost:
    """Estimate a PaDiM fit, backbone excepted.

    While fitting, each position of the grid keeps a covariance in float64, and the estimate of the Gaussians holds
    two more tensors of that size for a while (438 MB were measured where 430 are estimated, 1,490 for 1,720). A
    version carries one whitening matrix a position as float16 and what a later fit goes on from, one triangle of each
    covariance as float32; `shared` statistics carry one of each.

    Args:
        plan: Gives a tile's sides in pixels, and with a Gaussian `auto` whether statistics are shared.
        settings: The number of channels, the stride, and the kind of Gaussian.

    Returns:
        MB (10^6 bytes), and the number of positions on a tile's grid.

    >>> plan = TilePlan(mode="fit", tile_height=224, tile_width=512)
    >>> cost = estimate_padim(plan, PadimSettings(features=100, stride=8, gaussian="pooled"))
    >>> cost.positions, round(cost.memory_mb), round(cost.version_mb)
    (1792, 430, 72)
    >>> [estimate_padim(plan, PadimSettings(backbone="dinov2", layers=(n, 8))).positions for n in (4, 5)]
    [448, 448]
    """
    # No grid is finer than the finest layer: layer n of a CNN has stride 2 ** (n + 1), each block of a transformer 16.
    # With a transformer's first blocks, and with layer 4 of a CNN alone, more is estimated than is taken.
    stride = max(settings.stride, min(16, 2 ** (min(settings.layers) + 1)))
    positions = (plan.tile_height // stride) * (plan.tile_width // stride)
    square = settings.features**2
    is_shared = settings.gaussian == "shared" or (settings.gaussian == "auto" and plan.mode == "grid")
    stored = 1 if is_shared else positions
    triangle = settings.features * (settings.features + 1) // 2
    return PadimCost(
        what=f"{positions} positions",
        positions=positions,
        memory_mb=3 * positions * square * 8 / _MB,
        version_mb=stored * (2 * square + 4 * triangle) / _MB,
    )
