"""Data that DVC's cache or a surface's folders lack, or hold changed; what is restored comes from another copy."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from flows.runtime.locks import data_lock, surface_lock
from flows.upkeep.damage import BACKUP, REPAIR, Damage
from pipelines.core.errors import ToolError
from pipelines.core.files import whole_file
from pipelines.core.paths import Project
from pipelines.core.surface_settings import read_surface
from pipelines.core.wording import count_in_words
from pipelines.data.versioning.cache import Kept, hash_file, heal, list_kept
from pipelines.data.versioning.sharing import has_remote, shared
from pipelines.data.versioning.versions import cache_folder, data_version, kept_outs, kept_versions, read_kept


def find_data_damage(project: Project) -> Iterator[Damage]:
    """Read every file of the surfaces' data, in DVC's cache and in their folders."""
    surfaces = project.surface_names()
    cache = cache_folder(project) if surfaces else project.root
    for surface in surfaces:
        now = list(list_kept(cache, project.root, shared(project, [surface])[1]))
        known = {kept.md5: kept for kept in now}
        for version in kept_versions(project, surface):
            found = read_kept(project, surface, version)
            outs = kept_outs(project, surface, found) if found else []
            known |= {kept.md5: kept for kept in list_kept(cache, project.root, outs) if kept.md5 not in known}
        # The cache first: from there the folders are restored.
        lost = [kept for kept in known.values() if not kept.is_cached]
        if lost:
            yield _explain_lost(project, surface, lost)
        yield from _look_at_folders(project, surface, now)


def _look_at_folders(project: Project, surface: str, now: Sequence[Kept]) -> Iterator[Damage]:
    """Compare a surface's folders with its data version: what is gone is restored, what differs may be wanted."""
    files = [kept for kept in now if not kept.md5.endswith(".dir")]
    gone = [kept for kept in files if not kept.path.exists()]
    changed = [kept for kept in files if kept.path.is_file() and hash_file(kept.path) != kept.md5]
    if gone:
        found = f"the folders of '{surface}' lack {_count(gone)}, e.g. {_name(project, gone[0])}"
        yield Damage(found, REPAIR, lambda: _bring_back(project, surface, gone))
    if changed:
        version = data_version(project, surface)
        yield Damage(
            f"the folders of '{surface}' hold {_count(changed)} unlike its data version, e.g. "
            f"{_name(project, changed[0])}",
            f"knotwatch data checkout {surface} {version} puts them back, "
            f"knotwatch data update {surface} takes them in",
        )


def _explain_lost(project: Project, surface: str, lost: Sequence[Kept]) -> Damage:
    changed = sum(kept.cached.exists() for kept in lost)
    remote = f"knotwatch data pull {surface}, or " if has_remote(project) else ""
    return Damage(
        f"DVC's cache lacks {count_in_words(len(lost) - changed, 'file')} of '{surface}' and holds {changed} changed, "
        f"e.g. {lost[0].cached}, which is {_name(project, lost[0])}",
        f"{REPAIR}; what no copy is left of: {remote}{BACKUP}",
        lambda: _mend_cache(project, surface, lost),
    )


def _mend_cache(project: Project, surface: str, lost: Sequence[Kept]) -> str:
    """Move what was changed out of the way, so that DVC misses it, and put a copy in its place where there is one."""
    aside, moved, healed = project.state / "damaged", 0, 0
    source = read_surface(project, surface).source.path
    raw = project.surface(surface).source
    with surface_lock(project, surface, "doctor"), data_lock(project):
        for kept in lost:
            if kept.cached.is_file() and not kept.is_cached:
                aside.mkdir(exist_ok=True)
                kept.cached.replace(aside / kept.md5)
                moved += 1
            copies = [kept.path]
            if source and kept.path.is_relative_to(raw):
                copies.append(Path(source) / kept.path.relative_to(raw))
            healed += heal(kept, copies) is not None
    left = len(lost) - healed
    if not healed and not moved:
        raise ToolError(f"no copy is left of {count_in_words(left, 'file')}", hint=BACKUP)
    more = f", {count_in_words(moved, 'damaged one')} moved to {aside.relative_to(project.root)}" if moved else ""
    rest = f"; no copy is left of {count_in_words(left, 'file')}" if left else ""
    return f"{surface}: {count_in_words(healed, 'file')} restored in DVC's cache{more}{rest}"


def _bring_back(project: Project, surface: str, gone: Sequence[Kept]) -> str:
    with surface_lock(project, surface, "doctor"), data_lock(project):
        here = [kept for kept in gone if kept.is_cached and not kept.path.exists()]
        for kept in here:
            with whole_file(kept.path) as neighbour:
                neighbour.write_bytes(kept.cached.read_bytes())
    if not here:
        raise ToolError("DVC's cache does not hold them either", hint=BACKUP)
    return f"{surface}: {_count(here)} brought back from DVC's cache"


def _count(files: Sequence[Kept]) -> str:
    return count_in_words(len(files), "file")


def _name(project: Project, kept: Kept) -> str:
    return kept.path.relative_to(project.root).as_posix()
