"""The folder that is studied: images nobody labelled, and beside them what a person outlined and cut out."""

import atexit
import os
import shutil
import tempfile
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from flows.study.drawn import DrawnSize, write_drawn_study
from flows.study.outlines import Outlines, read_outlines
from flows.study.shown import Bundle, Words
from pipelines.core.errors import CallError, SourceError
from pipelines.core.wording import count_in_words
from pipelines.data.layouts.listing import folders, image_files

FOLDER, PROFILE = "KNOTWATCH_STUDY_DATA", "KNOTWATCH_STUDY_PROFILE"
_DRAWN_PANEL, _PANEL = 480, 900  # longer side of an image that is shown, pixels


class Profile(StrEnum):
    """How much is tried: `quick` trains once."""

    QUICK = "quick"
    FULL = "full"


_DRAWN = {Profile.FULL: DrawnSize(), Profile.QUICK: DrawnSize(slices=4, height=680, width=896, crops=4)}


@dataclass(frozen=True)
class Study:
    """An opened folder. `scratch` takes what is made of it; `panel` is how large an image is shown, pixels."""

    folder: Path
    scratch: Path
    profile: Profile
    outlines: Outlines
    drawn: bool = False

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    @property
    def crops(self) -> Path | None:
        """Folders of crops, one a type; None where there are none."""
        found = self.folder / "crops"
        return found if folders(found) else None

    @property
    def panel(self) -> int:
        return _DRAWN_PANEL if self.drawn else _PANEL

    def describe(self) -> str:
        """Say in words what the folder holds."""
        parts = [count_in_words(len(image_files(self.raw)), "image")]
        count = sum(map(len, self.outlines.values()))
        parts.append(f"{count_in_words(count, 'outline')} on {len(self.outlines)} of them" if count else "no outlines")
        types = {place.name: len(image_files(place)) for place in folders(self.folder / "crops")}
        crops = ", ".join(f"{number} {name}" for name, number in types.items())
        parts.append(f"crops of {len(types)} types ({crops})" if types else "no crops")
        return f"{'Drawn slices' if self.drawn else self.folder.name}: {'; '.join(parts)}."

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> Bundle:
        return Words(self.describe())._repr_mimebundle_(include, exclude)


def open_study(folder: Path, scratch: Path, profile: Profile = Profile.FULL, *, drawn: bool = False) -> Study:
    """Open a folder with images in raw/, and annotations.json and crops/ where they are.

    Args:
        folder: Only read.
        scratch: Folder for what is made on the way; the caller removes it.
        profile: `quick` trains once.
        drawn: Whether the images are drawn, and so shown smaller.

    Returns:
        The study; its images are not decoded yet.

    Raises:
        SourceError: If there is no such folder, no image in raw/, or the outlines are damaged.
    """
    if not image_files(folder / "raw"):
        what = "holds no images in raw/" if folder.is_dir() else "is not a folder"
        raise SourceError(
            f"{folder} {what}: expected raw/ with images, and annotations.json and crops/ if there are some",
            hint="check the path, or put the images into its subfolder raw/",
        )
    return Study(folder, scratch, profile, read_outlines(folder / "annotations.json", folder / "raw"), drawn)


def from_environment() -> Study:
    """Open the folder that KNOTWATCH_STUDY_DATA names; without it, slices are drawn.

    KNOTWATCH_STUDY_PROFILE is `quick` or `full`. What is made on the way lies in a temporary folder that goes when the
    process ends.
    """
    word = os.environ.get(PROFILE, Profile.FULL)
    if word not in list(Profile):
        raise CallError(f"{PROFILE} is '{word}'", hint=f"set it to {' or '.join(Profile)}")
    scratch = Path(tempfile.mkdtemp(prefix="knotwatch-study-"))
    atexit.register(shutil.rmtree, scratch, ignore_errors=True)
    if named := os.environ.get(FOLDER):
        return open_study(Path(named), scratch, Profile(word))
    write_drawn_study(scratch / "drawn", _DRAWN[Profile(word)])
    return open_study(scratch / "drawn", scratch, Profile(word), drawn=True)
