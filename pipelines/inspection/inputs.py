"""Which images an inspection looks at. Cheap for a hundred thousand: names alone, nothing is opened."""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import NamedTuple

from pipelines.core.errors import CallError
from pipelines.core.files import as_utf8, shorten_name
from pipelines.data.layouts.listing import is_image_file


class InputImage(NamedTuple):
    """A file to inspect, its name relative to what was given, and the relative name that its results get.

    Name and stem are UTF-8, whatever bytes the file's own name has, and results may put `_ROOM` bytes to a stem.
    """

    file: str
    name: str
    stem: str

    @classmethod
    def of(cls, file: Path, name: PurePath) -> "InputImage":
        """Name a file and its results, which do without its ending.

        Args:
            file: Path that is opened later.
            name: Relative to what was given, with the ending.

        Returns:
            The image; its `name` and `stem` have forward slashes.

        >>> InputImage.of(Path("in/a/x.png"), PurePath("a/x.png"))
        InputImage(file='in/a/x.png', name='a/x.png', stem='a/x')
        """
        return cls(file=str(file), name=as_utf8(name.as_posix()), stem=_shorten(name.with_suffix("")))

    @property
    def shown(self) -> str:
        """The file's path as results and histories name it."""
        return as_utf8(self.file)


_ROOM = 20  # bytes: of `-1234567.png`, and of the ending that another call may add


def _shorten(name: PurePath) -> str:
    return "/".join(shorten_name(as_utf8(part), _ROOM) for part in name.parts)


def find_images(paths: Sequence[Path], results: Sequence[Path] = ()) -> list[InputImage]:
    """List files, and the images below folders.

    Args:
        paths: Files, taken whatever their endings, and folders, searched to the bottom by their files' names.
        results: Folders of results: what lies below one was made by an inspection and is passed over, unless `paths`
            names that folder itself.

    Returns:
        At least one image; names are relative to the folder that was given, and no two have the same stem.

    Raises:
        CallError: If a path is not there, there is no image at all, or two files have one name.
    """
    found: list[InputImage] = []
    for path in paths:
        if path.is_file():
            found.append(InputImage.of(path, PurePath(path.name)))
        elif path.is_dir():
            files = sorted(_files_below(path, results), key=lambda file: file.parts)
            found += [InputImage.of(file, file.relative_to(path)) for file in files]
        else:
            raise CallError(f"{path} is not there", hint="name images, or folders that hold some")
    if not found:
        raise CallError(f"no image in {', '.join(map(str, paths))}", hint="name a folder with JPEG, PNG or TIFF files")
    stems = Counter(p.stem for p in found)
    # Two files that differ in their endings alone keep them in the names of their results.
    found = [p if stems[p.stem] == 1 else p._replace(stem=_shorten(PurePath(p.name))) for p in found]
    twice = [stem for stem, count in Counter(p.stem for p in found).items() if count > 1]
    if twice:
        raise CallError(f"two files would have the results '{twice[0]}'", hint="inspect their folders one by one")
    return found


def _files_below(folder: Path, results: Sequence[Path]) -> Iterator[Path]:
    made = {os.path.realpath(result) for result in results} - {os.path.realpath(folder)}
    for root, folders, files in os.walk(folder):
        real = os.path.realpath(root)
        if any(PurePath(real).is_relative_to(result) for result in made):
            folders.clear()
            continue
        yield from (path for name in files if is_image_file(path := Path(root, name)))
