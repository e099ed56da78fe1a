"""EfficientAD on tiles: anomalib's networks and losses, a teacher that needs no download, and cheaper steps."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad.penalty import EverydayCrops
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.efficientad.teacher import load_teacher
from pipelines.models.efficientad.whitening import as_points, mix, whiten, whitening_of
from pipelines.models.engine.anomalib import EfficientAd, EfficientAdModel, InferenceBatch
from pipelines.models.engine.augment import VARIANTS, Views, as_tensor
from pipelines.models.engine.device import autocast
from pipelines.models.engine.feature_cache import FeatureCache, cache_outputs
from pipelines.models.engine.steps import train_in_steps
from pipelines.models.fitted import Fitted
from pipelines.models.moments import Moments

# A patch description network without padding has this many cells less on every side than its stride would give.
_MARGIN = 4
_VALIDATION_TILES = 24
PENALTY_SIDE = 160
_WEIGHT_DECAY = 1e-5


def fit_efficientad(
    tiles: TileSet,
    validation: TileSet,
    settings: EfficientAdSettings,
    seed: int,
    warm: Callable[["TileEfficientAdModel"], None] | None = None,
) -> Fitted:
    """Fit EfficientAD-S (Batzner et al. 2024) to normal tiles.

    Args:
        tiles: Normal tiles whose sides are multiples of 32 px and at least 256 px; at least one.
        validation: Normal tiles of other images, of which up to 24 say when to stop; if empty, those of `tiles` do.
        settings: Teacher, penalty images, and the budget of steps.
        seed: For weights, light, crops and the order of tiles.
        warm: Gives student and autoencoder the weights to begin with, in place, once the teacher is whitened; None for
            random ones.

    Returns:
        A network whose map is a squared distance between whitened features.

    Raises:
        ModelError: If there is no tile or no teacher, or no check gives a finite value.
        ImageError: If the folder of penalty images holds none that can be read.
    """
    if not len(tiles):
        raise ModelError("no tile to fit EfficientAD to", hint="add normal images to the surface")
    teacher, described = load_teacher(settings.teacher)
    penalty = EverydayCrops(settings.penalty, PENALTY_SIDE, seed)
    # Where nothing is held out, what is trained on has to say it.
    held_out = validation if len(validation) else tiles
    normal = [as_tensor(held_out[i]) for i in spread(len(held_out), _VALIDATION_TILES)]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = TileEfficientAdModel(teacher, settings.hard_share)
        views = Views(tiles, seed)
        with cache_outputs(len(views), lambda row: [model.ask_teacher(views[row])], "teacher") as kept:
            model.fold_statistics(*_whiten_kept(kept, model.teacher_out_channels))
            if warm:
                warm(model)
            module = EfficientAdTraining(settings).attach(model, views, kept, penalty)
            told = [model.ask_teacher(tile)[None] for tile in normal]
            stopped = train_in_steps(
                module, len(views), settings, seed, lambda: model.loss_on(normal, told), warm=warm is not None
            )
    model = model.cpu().eval()
    notes = {"teacher": described, "stopped": stopped.in_words()}
    return Fitted(model, model.state(), notes, curves=stopped.curves)


class TileEfficientAdModel(EfficientAdModel):
    """EfficientAD's three networks around any teacher of anomalib's small size."""

    teacher_mean: torch.Tensor
    teacher_whitening: torch.Tensor

    def __init__(self, teacher: nn.Module, hard_share: float = 0.001) -> None:
        channels = int(teacher.conv4.weight.shape[0])
        super().__init__(teacher_out_channels=channels, padding=False)
        self.teacher = teacher
        self._hard_share = hard_share
        # The one is folded into weights, the other not used: what is left to compute is exported as it stands.
        del self.mean_std, self.quantiles
        self.register_buffer("teacher_mean", torch.zeros(channels))
        self.register_buffer("teacher_whitening", torch.eye(channels))

    def train(self, mode: bool = True) -> "TileEfficientAdModel":
        """Train student and autoencoder; the teacher stays as it is."""
        super().train(mode)
        self.teacher.eval()
        return self

    @torch.no_grad()
    def ask_teacher(self, tile: torch.Tensor) -> torch.Tensor:
        """Return the teacher's features (c, h/4 - 8, w/4 - 8) of one tile (1, 3, h, w)."""
        with autocast():
            found: torch.Tensor = self.teacher(tile)[0]
        return found

    @torch.no_grad()
    def fold_statistics(self, mean: torch.Tensor, whitening: torch.Tensor) -> None:
        """Mix the teacher's last layer, in place, so that its channels say (features - mean) @ whitening.

        The paper scales each channel by itself (section 3.1), so that what many of them say together counts many times,
        and what is never seen on normal tiles hardly at all. Uncorrelated channels of one deviation make the distance
        where a student has learnt nothing a Mahalanobis distance, and no longer the size of the features.

        Args:
            mean: (c,) of the teacher's features as it gave them so far; a second call would mix what is mixed already.
            whitening: (c, c), as `whitening_of` gives it.
        """
        mix(self.teacher.conv4, whitening, -mean @ whitening)
        self.teacher_mean.copy_(mean)
        self.teacher_whitening.copy_(whitening)

    def state(self) -> dict[str, torch.Tensor]:
        """Return what a later fit can go on from: the networks that learnt and what whitened the teacher."""
        return {name: value for name, value in self.state_dict().items() if not name.startswith("teacher.")}

    def losses(self, views: torch.Tensor, wanted: torch.Tensor, penalty: torch.Tensor) -> torch.Tensor:
        """Sum anomalib's losses for views.

        Student and autoencoder see the same view, in its own or in other light, where the paper's algorithm 1 shows the
        student both: one pass of the student less a step. It learns from the highest distances alone, the paper from a
        share of 0.001 in tens of thousands of steps (section 3.2); a budget of some hundred wants more.

        Args:
            views: Normal tiles (n, 3, h, w) in [0, 1].
            wanted: The whitened teacher's features of them, float32 (n, c, h/4 - 8, w/4 - 8).
            penalty: Images of anything else (m, 3, side, side) in [0, 1], on which the student is kept from imitating.

        Returns:
            A scalar with gradients of student and autoencoder.
        """
        student = self.student(views).float()
        to_teacher, to_autoencoder = student.split(self.teacher_out_channels, 1)
        decoded = self.ae(views, views.shape[-2:]).float()
        distance = (wanted - to_teacher).square()
        hardest = distance.flatten().topk(max(1, round(self._hard_share * distance.numel()))).values
        elsewhere = self.student(penalty)[:, : self.teacher_out_channels].float()
        total: torch.Tensor = (
            hardest.mean()
            + elsewhere.square().mean()
            + F.mse_loss(decoded, wanted)
            + F.mse_loss(to_autoencoder, decoded)
        )
        return total

    def forward(self, batch: torch.Tensor) -> Any:
        """Score tiles (n, 3, h, w) in [0, 1] by the mean of the student's map and the autoencoder's.

        The paper brings both to one spread on normal tiles first (section 3.4). Both are squared distances between the
        same whitened channels; after some hundred steps an autoencoder says little, and what it says would be made as
        loud as the student's map.
        """
        on_grid = sum(self._distances(batch)) / 2
        # anomalib pads with 0, below every distance: a defect at a tile's rim would not be seen.
        padded = F.pad(on_grid, (_MARGIN, _MARGIN, _MARGIN, _MARGIN), mode="replicate")
        anomaly_map = F.interpolate(padded, size=batch.shape[-2:], mode="bilinear", align_corners=False)
        return InferenceBatch(pred_score=anomaly_map.amax(dim=(-2, -1)), anomaly_map=anomaly_map)

    def _distances(self, batch: torch.Tensor, teacher: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the distances of student to teacher and to autoencoder, (n, 1, h/4 - 8, w/4 - 8) each.

        `teacher` is what it says of the batch, where that is known.
        """
        student = self.student(batch)
        teacher = self.teacher(batch) if teacher is None else teacher
        decoded = self.ae(batch, batch.shape[-2:])
        to_teacher = (teacher - student[:, : self.teacher_out_channels]).square().mean(1, keepdim=True)
        to_autoencoder = (decoded - student[:, self.teacher_out_channels :]).square().mean(1, keepdim=True)
        return to_teacher, to_autoencoder

    def loss_on(self, tiles: Sequence[torch.Tensor], told: Sequence[torch.Tensor]) -> float:
        """Return the mean distance of the student to teacher and to autoencoder on normal tiles.

        Args:
            tiles: At least one, (1, 3, h, w) in [0, 1] each.
            told: The whitened teacher's features of each, (1, c, h/4 - 8, w/4 - 8).

        Returns:
            The sum of both mean squared distances, averaged over tiles; lower is better.
        """
        device = self.teacher_mean.device
        found = []
        with autocast():
            for tile, teacher in zip(tiles, told, strict=True):
                to_teacher, to_autoencoder = self._distances(tile.to(device), teacher.to(device))
                found.append(float(to_teacher.mean() + to_autoencoder.mean()))
        return float(np.mean(found))


class EfficientAdTraining(EfficientAd):
    """anomalib's training module on views whose teacher outputs are kept."""

    def __init__(self, settings: EfficientAdSettings) -> None:
        super(EfficientAd, self).__init__(pre_processor=False, post_processor=False, evaluator=False, visualizer=False)
        self._settings = settings

    def attach(
        self, model: TileEfficientAdModel, views: Views, kept: FeatureCache, penalty: EverydayCrops
    ) -> "EfficientAdTraining":
        """Take what is trained, and on what; Lightning would copy it if the constructor took it.

        Args:
            model: Trained in place; its teacher is whitened already.
            views: Tiles as they are and in other light; a training step's rows are numbers of these.
            kept: The whitened teacher's features (c, h/4 - 8, w/4 - 8) of each view, by the same numbers; must stay
                open.
            penalty: Gives one crop a step.

        Returns:
            This module.
        """
        self.model = model
        self._views, self._kept, self._penalty = views, kept, penalty
        return self

    def on_train_start(self) -> None:
        """Do nothing: anomalib would download a teacher and Imagenette here."""

    def training_step(self, rows: list[int], *_: Any) -> torch.Tensor:
        """Return the loss of some views, by their rows."""
        views = torch.cat([self._views[row] for row in rows]).to(self.device)
        wanted = self._kept.get(rows)[0].to(self.device)
        return self.model.losses(views, wanted, as_tensor(self._penalty.draw()).to(self.device))

    def configure_optimizers(self) -> Any:
        """anomalib's optimiser and schedule, for the networks that learn."""
        parameters = [p for p in self.model.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=self._settings.learning_rate, weight_decay=_WEIGHT_DECAY)
        late = max(1, int(0.95 * self._settings.max_steps))
        schedule = torch.optim.lr_scheduler.StepLR(optimiser, step_size=late, gamma=0.1)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _whiten_kept(kept: FeatureCache, channels: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Whiten kept features in their place, by those of the tiles as they are; return by what mean and matrix."""
    points = Moments(channels, 1, 1)
    for row in range(0, len(kept), VARIANTS):
        points.update(as_points(kept.get([row])[0][0]))
    mean, whitening = whitening_of(points)
    for row in range(len(kept)):
        kept.put(row, [whiten(kept.get([row])[0], mean, whitening)])
    return mean, whitening


def spread(count: int, most: int) -> list[int]:
    """Choose some of a range's numbers, evenly from first to last.

    Args:
        count: The numbers are 0 to count - 1; 0 for none.
        most: How many are chosen at most.

    Returns:
        Ascending; all if `most` is not below `count`.

    >>> spread(10, most=4)
    [0, 3, 6, 9]
    """
    return [int(i) for i in np.linspace(0, count - 1, min(most, count)).round()]
