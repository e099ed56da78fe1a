"""Which mask belongs to which image, by the names that labelling tools write."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from pipelines.data.layouts.listing import fold

# What tools put behind an image's stem; also behind its whole name, as in a.jpg_mask.png.
_BEHIND = re.compile(r"(.+?)[_\-. ](masks?|gt|ground[_\- ]?truth|labels?|seg|segmentation)", re.IGNORECASE | re.DOTALL)
_ENDING = re.compile(r"(.+)\.(jpe?g|png|tiff?|bmp|webp|gif|jp2|avif)", re.IGNORECASE | re.DOTALL)


def bare_stem(path: Path) -> str | None:
    """Return the stem of the image that a mask is named after; None where the name has nothing behind a stem.

    >>> [bare_stem(Path(name)) for name in ("a_mask.png", "b.jpg.png", "c-GT.bmp", "d.png")]
    ['a', 'b', 'c', None]
    """
    behind = _BEHIND.fullmatch(path.stem)
    ending = _ENDING.fullmatch(behind.group(1) if behind else path.stem)
    return ending.group(1) if ending else behind.group(1) if behind else None


class _Candidate(NamedTuple):
    file: Path
    stem: str


class Masks:
    """Masks by the folder that they lie in and the stem that they are named after.

    A name counts in any case and any Unicode form, with any ending: of an image `a.jpg`, `a.png`, `A.TIF`,
    `a_mask.png`, `a_GT.bmp` and `a.jpg.png` are masks.
    """

    def __init__(self, files: Iterable[Path], folder: Path) -> None:
        self._found: dict[tuple[str, str], list[_Candidate]] = defaultdict(list)
        for file in files:
            place = fold(file.parent.relative_to(folder).as_posix())
            for stem in filter(None, (file.stem, bare_stem(file))):
                self._found[place, fold(stem)].append(_Candidate(file, stem))

    def find(self, image: Path, places: Iterable[str]) -> Path | None:
        """Find an image's mask.

        Args:
            image: Only its name counts.
            places: Folders to look in, relative to the masks' folder (`.` is that itself); the first that has one wins.

        Returns:
            The mask, the plainest name first: its own stem, spelt alike, as PNG. None where there is none.
        """
        for place in places:
            found = self._found.get((fold(place), fold(image.stem)), [])
            if found:
                return min(found, key=lambda one: _rank(one, image)).file
        return None


def _rank(one: _Candidate, image: Path) -> tuple[bool, bool, bool, str]:
    return one.file.stem != one.stem, one.stem != image.stem, one.file.suffix != ".png", one.file.name
