"""What the adapters share: listing images, and saying what was found where a layout does not fit."""

from collections.abc import Iterable
from pathlib import Path
from unicodedata import normalize

from pipelines.core.errors import SourceError
from pipelines.core.paths import inside

# What lies beside images and is none. Everything else is listed, so that an image with an odd name, or a
# file that only pretends to be one, is reported by validation and not passed over in silence.
NO_IMAGE = (
    *(".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".toml", ".ini", ".parquet", ".xls", ".xlsx", ".db"),
    *(".txt", ".md", ".rst", ".htm", ".html", ".pdf", ".doc", ".docx", ".log", ".url", ".lock", ".dvc"),
    *(".py", ".ipynb", ".sh", ".ps1", ".pkl", ".pickle", ".zip", ".tar", ".gz", ".7z"),
)


# What cameras, systems and programs put beside images for themselves; hidden files, such as .DS_Store, too.
_SIDECARS = (".xmp", ".aae", ".thm", ".pp3", ".dop", ".on1", ".lnk", ".part", ".tmp", ".crdownload")
_SIDECAR_NAMES = ("thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r")


def is_sidecar(path: Path) -> bool:
    """Tell by name what a camera, system or program keeps beside an image for itself."""
    hidden = path.name.startswith(".")
    return hidden or path.suffix.lower() in _SIDECARS or path.name.lower() in _SIDECAR_NAMES


def is_image_file(path: Path) -> bool:
    """Tell by name: every file but hidden ones and those whose extension says that they are something else."""
    return path.suffix.lower() not in NO_IMAGE and not is_sidecar(path) and path.is_file()


def image_files(folder: Path) -> list[Path]:
    """List the images directly in a folder, sorted; none where it does not exist."""
    return sorted(p for p in folder.iterdir() if is_image_file(p)) if folder.is_dir() else []


def images_below(folder: Path, source: Path) -> list[Path]:
    """List the images in a folder and its visible subfolders.

    A linked subfolder is followed where it leads into the source, to what is not read anyway.

    Args:
        folder: Where to look; none are found where it does not exist.
        source: The data set that the folder belongs to.

    Returns:
        Paths below `folder`, sorted; no file has two of them.
    """
    found: list[Path] = []
    links: list[Path] = []
    seen: set[Path] = set()

    def walk(place: Path) -> None:
        seen.add(place.resolve())
        found.extend(image_files(place))
        for below in folders(place):
            if below.is_symlink():
                links.append(below)
            else:
                walk(below)

    walk(folder)
    while links:
        real = (link := links.pop(0)).resolve()
        if real.is_relative_to(source.resolve()) and not any(place.is_relative_to(real) for place in seen):
            walk(link)
    return sorted(found)


def fold(name: str) -> str:
    """Write a name in the one form that all its spellings share: composed, without capitals.

    >>> fold("A\u0308ste.PNG") == fold("\u00e4ste.png")
    True
    """
    return normalize("NFC", normalize("NFC", name).casefold())


def find_spelling(folder: Path, name: str) -> str:
    """Find how a file that a table names is spelt on disk: Unicode forms and capitals may differ.

    Args:
        folder: The data set.
        name: POSIX path relative to `folder`.

    Returns:
        The name of the one file there that is spelt so; `name` itself where it is there, or none or several are.
    """
    try:
        path = inside(folder, name)
    except SourceError:  # said by whoever checks all names
        return name
    if path.is_file() or not path.parent.is_dir():
        return name
    alike = [file for file in path.parent.iterdir() if fold(file.name) == fold(path.name)]
    return relative(alike[0], folder) if len(alike) == 1 else name


def folders(folder: Path) -> list[Path]:
    """List the visible folders directly in a folder, sorted; none where it does not exist."""
    found = folder.iterdir() if folder.is_dir() else ()
    return sorted(p for p in found if p.is_dir() and not p.name.startswith("."))


def relative(path: Path, folder: Path) -> str:
    """Name a file of the data set.

    Args:
        path: The file, which need not be there.
        folder: The data set; `path` begins with it, spelt alike.

    Returns:
        POSIX path relative to `folder`.

    >>> relative(Path("boards/good/a.png"), Path("boards"))
    'good/a.png'
    """
    return path.relative_to(folder).as_posix()


def require_folder(folder: Path) -> None:
    """Raise SourceError where there is no folder, or nothing in it."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise SourceError(f"{folder} {what}: expected a folder of images", hint="check the path")
    if not any(folder.iterdir()):
        raise SourceError(f"{folder} is empty: expected images", hint="copy the images there, or check the path")


def layout_error(folder: Path, layout: str, expected: str) -> SourceError:
    """Say that a folder does not lie as its layout says, what it holds, and which layout it looks like.

    Args:
        folder: An existing folder; only its first level is looked at.
        layout: Name of the layout that was tried, as --layout takes it.
        expected: What that layout needs, in words that go on after "expects" and "add".

    Returns:
        The error, for the caller to raise.
    """
    names = sorted(p.name + "/" * p.is_dir() for p in folder.iterdir() if not p.name.startswith("."))
    found = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    guess = guess_layout(folder)
    hint = f"it looks like layout {guess}: try --layout {guess}" if guess and guess != layout else f"add {expected}"
    return SourceError(f"{folder}: layout {layout} expects {expected}, found {found or 'nothing'}", hint=hint)


def guess_layout(folder: Path) -> str | None:
    """Guess a folder's layout from its first level; None where nothing fits."""
    names = {p.name for p in folders(folder)}
    signs = {
        "procedural": (folder / "defects.json").is_file() and (folder / "labels.csv").is_file(),
        "vsb": "images" in names and (folder / "labels.csv").is_file(),
        "magnetic-tile": "MT_Free" in names,
        "mvtec": {"train", "test"} <= names,
        "folder": "good" in names,
        "unlabelled": bool(image_files(folder)),
    }
    return next((layout for layout, fits in signs.items() if fits), None)


def check_inside(folder: Path, names: Iterable[str]) -> None:
    """See that every named file is there, inside the folder.

    Args:
        folder: The data set.
        names: POSIX paths relative to `folder`; links on the way are followed.

    Raises:
        SourceError: If a name is missing, or leaves the folder: absolute, with `..`, or by a link.
    """
    root = folder.resolve()
    for name in names:
        if not inside(root, name).is_file():
            raise SourceError(f"{folder}: '{name}' is named but not there", hint="restore the file, or remove its row")
