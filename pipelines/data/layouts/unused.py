"""Files below a source that no row uses: counted by reason and named, so that none is lost without a word."""

import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from pipelines.core.errors import SourceError
from pipelines.core.files import show_name
from pipelines.core.records import Layout
from pipelines.core.results import Unused
from pipelines.core.wording import share_in_words
from pipelines.data.layouts.listing import NO_IMAGE, is_sidecar

_KEPT = 20  # names of a reason that are kept
_NAMED = 3  # names that a sentence has

_NO_ROW = tuple((rf"{part}/.+", f"in {part}/ that labels.csv does not name") for part in ("images", "masks"))
_SUBFOLDERS = "in subfolders of {0}/"
# What the layouts' own folders hold that no row uses; what lies elsewhere is counted by its folder.
_REASONS: dict[Layout, tuple[tuple[str, str], ...]] = {
    Layout.VSB: _NO_ROW,
    Layout.PROCEDURAL: _NO_ROW,
    Layout.MAGNETIC_TILE: ((r"MT_[^/]+/Imgs/[^/]+", "in MT_*/Imgs/ that are neither JPEG nor the mask of one"),),
    Layout.MVTEC: (
        (r"ground_truth/.+", "masks without an image"),
        (r"(train/good|test/[^/]+)/.+/.+", _SUBFOLDERS),
    ),
    Layout.FOLDER: ((r"masks/.+", "masks without an image"),),
    Layout.UNLABELLED: ((r".+/.+", "in subfolders"),),
}


class _Found(NamedTuple):
    name: str
    reason: str = ""
    expected: bool = False


def find_unused(layout: Layout, folder: Path, used: Iterable[str]) -> tuple[Unused, ...]:
    """Count the files below a source that are not part of the data set.

    Args:
        layout: Tells what each place is for.
        folder: The source; it is only read. Links to folders are not followed.
        used: What `source_files` returned for it.

    Returns:
        By reason, the most frequent first, those that are expected last. A hidden folder counts as one file.
    """
    named = set(used)
    names: dict[tuple[bool, str], list[str]] = defaultdict(list)
    real: set[str] = set()
    for found in _walk(folder, "", named):
        if not real:
            real = {os.path.realpath(folder / name) for name in named}
        # One that a row names by another way, through a link.
        if os.path.realpath(folder / found.name) not in real:
            reason, expected = (found.reason, found.expected) if found.reason else _explain(layout, found.name)
            names[expected, reason].append(found.name)
    ordered = sorted(names.items(), key=lambda item: (item[0][0], -len(item[1]), item[0][1]))
    return tuple(
        Unused(reason=reason, count=len(all_), names=tuple(map(show_name, sorted(all_)[:_KEPT])), expected=expected)
        for (expected, reason), all_ in ordered
    )


def _walk(folder: Path, below: str, used: set[str]) -> Iterator[_Found]:
    """Yield what lies below a folder and is not among `used`."""
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = f"{below}{entry.name}"
            if name in used:
                continue
            if entry.is_symlink() and entry.is_dir():
                if not any(other.startswith(f"{name}/") for other in used):
                    yield _Found(f"{name}/", "linked folders, which are not followed")
            elif entry.is_dir():
                if entry.name.startswith("."):
                    yield _Found(f"{name}/", "hidden folders", expected=True)
                else:
                    yield from _walk(folder, f"{name}/", used)
            else:
                yield _Found(name)


def _explain(layout: Layout, name: str) -> tuple[str, bool]:
    path = Path(name)
    if is_sidecar(path):
        return "sidecars, hidden and temporary files", True
    if path.suffix.lower() in NO_IMAGE:
        return "tables, text and others that are no images", True
    for pattern, reason in _REASONS[layout]:
        if fits := re.fullmatch(pattern, name, re.DOTALL):
            return reason.format(*(show_name(group) for group in fits.groups())), False
    return (f"in {show_name(name.split('/', maxsplit=1)[0])}/" if "/" in name else "directly in the folder"), False


def describe_unused(unused: Sequence[Unused], *, expected: bool = False) -> str:
    """Say how many files are not used, and why.

    Args:
        unused: As `find_unused` returns them.
        expected: Say it of those that are no images, instead of those that might be.

    Returns:
        One sentence without a full stop; empty where there are none.

    >>> describe_unused([Unused(reason="masks without an image", count=1, names=("masks/a.png",))])
    '1 file not used: 1 masks without an image (masks/a.png)'
    """
    told = [one for one in unused if one.expected == expected]
    if not told:
        return ""
    count = sum(one.count for one in told)
    parts = "; ".join(f"{one.count:,} {one.reason} ({_some(one)})" for one in told)
    return f"{count:,} file{'' if count == 1 else 's'} {'passed over' if expected else 'not used'}: {parts}"


def _some(unused: Unused) -> str:
    more = unused.count - len(unused.names[:_NAMED])
    return ", ".join(unused.names[:_NAMED]) + (f" and {more:,} more" if more else "")


def check_unused(layout: Layout, folder: Path, unused: Sequence[Unused], used: int, allowed: float) -> None:
    """Refuse a source of which too much would be left behind.

    Args:
        layout: Named in the advice.
        folder: The source.
        unused: As `find_unused` returns them; those that are expected do not count.
        used: How many of its files are part of the data set.
        allowed: Largest share of files that are not used, 0 to 1.

    Raises:
        SourceError: If the share is larger.
    """
    lost = sum(one.count for one in unused if not one.expected)
    if lost and lost / (lost + used) > allowed:
        raise SourceError(
            f"{folder}: {share_in_words(lost / (lost + used))} of the files are not used, allowed are "
            f"{share_in_words(allowed)} (validation.max_unused_share). {describe_unused(unused)}",
            hint=f"put them where layout {layout} looks, or move them away; where they are to be left out, say so: "
            "`--max-unused-share 1` with `data add`, `max_unused_share: 1` under `validation` in the YAML of a "
            "surface that exists",
        )
