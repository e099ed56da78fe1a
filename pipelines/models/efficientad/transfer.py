"""EfficientAD from what another surface taught: its networks as they are, normalised anew, or trained further.

All three networks are convolutions, so that they stand on tiles of any size from 256 on.
"""

from collections.abc import Mapping

import torch

from pipelines.core.errors import ModelError
from pipelines.imaging.tiling import TileSet
from pipelines.models.efficientad.model import TileEfficientAdModel, fit_efficientad, spread
from pipelines.models.efficientad.settings import EfficientAdSettings
from pipelines.models.efficientad.teacher import load_teacher
from pipelines.models.efficientad.whitening import as_points, mix, whitening_of
from pipelines.models.engine.augment import as_tensor
from pipelines.models.fitted import Fitted
from pipelines.models.moments import Moments

State = Mapping[str, torch.Tensor]


def reuse(tiles: TileSet, validation: TileSet, settings: EfficientAdSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Make the source's network again from its state; it takes tiles of any size from 256 px on.

    None of `tiles`, `validation` and `seed` has an effect. See `Algorithm.transfer`.
    """
    model, described = _make_model(settings)
    _check(model, state)
    model.fold_statistics(state["teacher_mean"], state["teacher_whitening"])
    model.load_state_dict(dict(state), strict=False)
    model.eval()
    return Fitted(model, model.state(), {"teacher": described})


def statistics(tiles: TileSet, validation: TileSet, settings: EfficientAdSettings, seed: int, state: State) -> Fitted:  # noqa: ARG001
    """Keep the source's networks, and whiten the teacher by the target's tiles.

    What student and autoencoder learnt to say is said in the new units: the teacher's channels, and how much each of
    them counts, are the target's then. At least one tile is needed; neither `validation` nor `seed` has an effect.
    See `Algorithm.transfer`.
    """
    model, described = _make_model(settings)
    moments = Moments(model.teacher_out_channels, 1, 1)
    for index in spread(len(tiles), settings.max_train_tiles):
        moments.update(as_points(model.ask_teacher(as_tensor(tiles[index]))))
    model.fold_statistics(*whitening_of(moments))
    take_networks(model, state)
    model.eval()
    return Fitted(model, model.state(), {"teacher": described})


def finetune(tiles: TileSet, validation: TileSet, settings: EfficientAdSettings, seed: int, state: State) -> Fitted:
    """Train the source's student and autoencoder further, until they get no better on the tiles of `validation`.

    A ModelError is raised as well where there is no tile, or no check gives a finite value. See `Algorithm.transfer`.
    """
    return fit_efficientad(tiles, validation, settings, seed, warm=lambda model: take_networks(model, state))


@torch.no_grad()
def take_networks(model: TileEfficientAdModel, state: State) -> None:
    """Give a model the student and the autoencoder of a state, in the units of its own teacher.

    The state's networks imitate (t - m) @ w of the teacher's features t; with the model's own mean M and whitening W,
    (t - M) @ W is that @ w^-1 @ W, and (m - M) @ W more.

    Args:
        model: Changed in place; its teacher is whitened already.
        state: What `TileEfficientAdModel.state` gave, of a model with the same teacher; not changed.

    Raises:
        ModelError: If the state is not one of EfficientAD with this teacher.
    """
    _check(model, state)
    kept = {name: value for name, value in state.items() if name.startswith(("student.", "ae."))}
    model.load_state_dict(kept, strict=False)
    own = model.teacher_whitening
    matrix = torch.linalg.solve(state["teacher_whitening"].to(own), own)
    offset = (state["teacher_mean"].to(own) - model.teacher_mean) @ own
    # The student's channels imitate the teacher first and the autoencoder after it, which is in the same units.
    mix(model.student.conv4, torch.block_diag(matrix, matrix), offset.repeat(2))
    mix(model.ae.decoder.deconv8, matrix, offset)


def _make_model(settings: EfficientAdSettings) -> tuple[TileEfficientAdModel, str]:
    teacher, described = load_teacher(settings.teacher)
    with torch.random.fork_rng():
        return TileEfficientAdModel(teacher, settings.hard_share), described


def _check(model: TileEfficientAdModel, state: State) -> None:
    wanted = model.state()
    wrong = wanted.keys() ^ state.keys() or {n for n, value in wanted.items() if value.shape != state[n].shape}
    if wrong:
        raise ModelError(
            f"the source's state does not fit to this EfficientAD: {len(wrong)} tensors, e.g. {min(wrong)}",
            hint="retrain the source; leave efficientad.teacher as it was trained with",
        )
