"""What is it? Types learnt from crops, seen on crops that were held out, and given to the regions that were found."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from flows.study.folder import Study
from flows.study.pictures import lay_out
from flows.study.shown import Picture, Table, Words
from flows.study.steps import Model, Prepared, Scanned
from pipelines.core.wording import count_in_words, interval_in_words
from pipelines.detector.types import find_namer
from pipelines.imaging.overlay import FOUND
from pipelines.metrics.types import count_confusion, type_intervals
from pipelines.models.features.crops import export_embedding
from pipelines.models.openvino.embedder import embed_crops
from pipelines.models.openvino.runtime import TileModel
from pipelines.training.types.examples import Example, read_examples
from pipelines.training.types.fit import hold_out
from pipelines.training.types.train import name_types

ROUNDS = 10_000
_SEED = 0
_NO_CROPS = Words(
    "Defects are not named: this folder has no crops/ with at least two types of three examples. Cut some out, one "
    "folder a type (perfect/ for normal wood), to have them named."
)
_CROP_SIDE = 110
_FRAME = 6


@dataclass(frozen=True)
class NamedCrops:
    """Example crops, and the type that each was given by a head that had not seen it."""

    examples: tuple[Example, ...]
    named: tuple[str, ...]

    @property
    def types(self) -> list[str]:
        return [example.type for example in self.examples]


def hold_out_crops(prepared: Prepared) -> NamedCrops:
    """Name each crop by a head that was fitted without it; empty where a study has too few."""
    examples = read_examples(prepared.folder, prepared.images, _SEED).kept
    return name_held_out(examples, prepared.folder.with_name("embedding"))


def name_held_out(examples: Sequence[Example], network: Path) -> NamedCrops:
    """Name examples by heads that saw none of their group.

    Args:
        examples: Of two types or more, each of three groups or more; or none.
        network: Folder that the network which sees the crops is written to.

    Returns:
        The examples with the types that they were given, in their order; empty without examples, and then nothing is
        written.
    """
    if not examples:
        return NamedCrops((), ())
    export_embedding(network)
    features = embed_crops(TileModel(network), [e.crop for e in examples])
    found = hold_out(features, [e.type for e in examples], [e.group for e in examples], _SEED)
    return NamedCrops(tuple(examples), tuple(found.named))


def show_crops(crops: NamedCrops) -> Picture | Words:
    """Show the crops, each with the type it was given; a frame is around those given a wrong one."""
    if not crops.examples:
        return _NO_CROPS
    panels = []
    for example, named in zip(crops.examples, crops.named, strict=True):
        pixels = example.crop.copy()
        if named != example.type:
            pixels[:_FRAME], pixels[-_FRAME:], pixels[:, :_FRAME], pixels[:, -_FRAME:] = (FOUND,) * 4
        panels.append((named if named == example.type else f"{example.type}: {named}", pixels))
    return lay_out(panels, 10, _CROP_SIDE, f"{count_in_words(len(panels), 'crop')}, wrongly named ones framed")


def tabulate_types(crops: NamedCrops) -> Table | Words:
    """Count the crops by their type and the one they were given, held out."""
    if not crops.examples:
        return _NO_CROPS
    types = sorted(set(crops.types))
    counts = count_confusion(crops.types, crops.named, types).tolist()
    rows = tuple((name, *map(str, row)) for name, row in zip(types, counts, strict=True))
    groups = [example.group for example in crops.examples]
    found = type_intervals(crops.types, crops.named, groups, ROUNDS, _SEED)
    words = f"Accuracy {interval_in_words(found.accuracy)}, macro-F1 {interval_in_words(found.macro_f1)}."
    return Table(("is, named", *types), rows, words)


def name_defects(study: Study, prepared: Prepared, model: Model, scanned: Sequence[Scanned]) -> tuple[Scanned, ...]:
    """Learn types from all crops and name the regions that were found.

    Args:
        study: Without crops nothing is learnt.
        prepared: Holds the crops, prepared.
        model: Its folder gets what names types; what lies there already is taken as it is.
        scanned: By this model.

    Returns:
        The images with named regions, those called normal left out; as they were where no types are known.
    """
    folder = Path(model.trained.folder)
    if study.crops is not None:
        name_types(prepared.folder, prepared.images, folder, 0, _SEED)
    namer = find_namer(folder)
    if namer is None:
        return tuple(scanned)
    named = []
    for one in scanned:
        found = namer.sort(one.image, one.scan.defects)
        named.append(
            replace(one, scan=one.scan._replace(defects=found.defects, normal_regions=len(found.normal_regions)))
        )
    return tuple(named)
