"""Which images belong together: exact copies, and near duplicates in groups of bounded size."""

from collections import Counter
from collections.abc import Mapping

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pipelines.core.records import Label
from pipelines.core.surface_settings import SplitSettings

# Rows compared at a time with all earlier ones: 64 x 100,000 distances need about 60 MB.
_BLOCK = 64


# A burst of as many stays together in the smallest set.
_ALWAYS_TOGETHER = 5
# Of fewer images nobody can tell a fixture from a burst.
_LEAST_ALIKE = 4


def assign_groups(frame: pd.DataFrame, near_duplicate_bits: int, settings: SplitSettings | None = None) -> pd.DataFrame:
    """Fill `duplicate_of`, `near_duplicate_of` and `group`.

    Images are taken in the order of (arrival, path), and each looks only at those before it: a later arrival changes
    nothing of an earlier one, and groups that exist never merge. Of exact copies (SHA-256) the first is kept; within
    one arrival a copy that the layout calls test goes first. A near duplicate joins the group of the nearest image
    before it, unless its layout names a group, but

    - only one of the same side: anomalous, or called test by the layout, or neither. So a defective image takes no
      normal ones with it, and what the layout calls test stays there, and the rest stays out;
    - only while the group has fewer than `settings.largest_group` images, and fewer than a tenth of those of its side
      that came until then (but five always may be together);
    - not while a chain of near duplicates holds a larger share than `settings.alike` of all that came until then: such
      images show one part in a fixture, and each is a group of its own.

    Args:
        frame: A manifest as `measure_rows` returns it, with `arrival` and an index without repeats; not changed.
        near_duplicate_bits: Largest Hamming distance of perceptual hashes (256 bits) of near duplicates.
        settings: None, or a `largest_group` of 0: the nearest decides alone, as it did before there were these bounds.

    Returns:
        A copy in the order of `frame`. The first two columns name paths, and are empty where there is no duplicate;
        `group` is never empty.
    """
    order = frame.sort_values(["arrival", "path"]).index
    kept = _kept_copies(frame)
    looked_at = frame.loc[[i for i in order if i not in kept and not frame.at[i, "error"]]]
    nearest = _nearest_before(looked_at, near_duplicate_bits)
    bounded = settings is not None and settings.largest_group > 0
    joined = _bounded(looked_at, near_duplicate_bits, settings) if settings and bounded else nearest
    group: dict[int, str] = {}
    for i in order:
        near = joined.get(i)
        group[i] = str(frame.at[i, "group"] or (group[near] if near is not None else frame.at[i, "path"]))
    named = frame["path"].to_dict()
    return frame.assign(
        duplicate_of=pd.Series([named[kept[i]] if i in kept else "" for i in frame.index], frame.index, "str"),
        near_duplicate_of=pd.Series(
            [named[nearest[i]] if i in nearest else "" for i in frame.index], frame.index, "str"
        ),
        group=pd.Series([group[kept.get(i, i)] for i in frame.index], frame.index, "str"),
    )


def _bounded(frame: pd.DataFrame, bits: int, settings: SplitSettings) -> dict[int, int]:
    """Map each row to the row before it whose group it joins; rows are in the order in which they came."""
    found: dict[int, int] = {}
    test = frame["declared_split"] == "test"
    sides = (frame["label"] == Label.ANOMALOUS).astype(int) * 2 + test.astype(int)
    for _, side in frame.groupby(sides, sort=False):
        found |= _join(side, _nearest_before(side, bits), settings)
    return found


def _join(side: pd.DataFrame, nearest: Mapping[int, int], settings: SplitSettings) -> dict[int, int]:
    found: dict[int, int] = {}
    chain: dict[int, int] = {}
    leader: dict[int, int] = {}
    chained, grouped = Counter[int](), Counter[int]()
    for _, arrival in side.groupby("arrival", sort=True):
        for i in arrival.index:
            chain[i] = chain[nearest[i]] if i in nearest else i
            chained[chain[i]] += 1
        longest = max(chained.values())
        alike = longest >= _LEAST_ALIKE and longest > settings.alike * len(chain)
        largest = min(settings.largest_group, max(_ALWAYS_TOGETHER, len(chain) // 10))
        for i in arrival.index:
            leader[i] = i
            near = nearest.get(i)
            if near is not None and not alike and grouped[leader[near]] < largest:
                found[i], leader[i] = near, leader[near]
            grouped[leader[i]] += 1
    return found


def _kept_copies(frame: pd.DataFrame) -> dict[int, int]:
    """Map each surplus copy to the copy that is kept. Unreadable files are no copies: each is reported by itself."""
    usable = frame[frame["error"] == ""].assign(later=lambda f: f["declared_split"] != "test")
    ordered = usable.sort_values(["arrival", "later", "path"])
    first = dict(reversed(list(zip(ordered["sha256"], ordered.index, strict=True))))
    return {i: first[sha] for i, sha in zip(ordered.index, ordered["sha256"], strict=True) if first[sha] != i}


def _nearest_before(frame: pd.DataFrame, bits: int) -> dict[int, int]:
    """Map each row to the nearest row before it whose hash differs in at most `bits` bits; ties go to the earliest."""
    hashes = _unpack(frame["phash"].tolist())
    found = {}
    for start in range(0, len(hashes), _BLOCK):
        block = hashes[start : start + _BLOCK]
        distances = np.zeros((len(block), start + len(block)), np.uint16)
        for word in range(hashes.shape[1]):
            distances += np.bitwise_count(block[:, word, None] ^ hashes[None, : start + len(block), word])
        for offset, row in enumerate(distances):
            before = row[: start + offset]
            if before.size and before.min() <= bits:
                found[frame.index[start + offset]] = frame.index[int(before.argmin())]
    return found


def _unpack(hashes: list[str]) -> NDArray[np.uint64]:
    """Read hexadecimal hashes into 64-bit words, (images, words)."""
    if not hashes:
        return np.zeros((0, 1), np.uint64)
    raw = np.frombuffer(b"".join(bytes.fromhex(text) for text in hashes), np.uint8)
    return raw.reshape(len(hashes), -1).view(np.uint64)
