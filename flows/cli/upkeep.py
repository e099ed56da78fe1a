"""`doctor`, `backup`, `restore` and `gc`."""

from pathlib import Path
from typing import Annotated

import typer

from flows.cli.parameters import Json
from flows.cli.printing import print_json, print_table, say
from flows.runtime.environment import log_to_terminal
from pipelines.core.paths import find_project
from pipelines.core.wording import count_in_words


def doctor(
    repair: Annotated[bool, typer.Option("--repair", help="Mend what is safe, and say what was done.")] = False,
    as_json: Json = False,
) -> None:
    """Check this machine, this project and its files; exit with 1 where something must be mended.

    A repair removes and overwrites nothing that could be somebody's data.
    """
    from flows.upkeep import doctor as room

    project = find_project()
    if repair:
        log_to_terminal()
    repaired = room.repair(project) if repair else []
    found = room.examine(project)
    if as_json:
        print_json({"checks": [c.model_dump(mode="json") for c in found], "repaired": repaired})
    else:
        for line in repaired:
            say(line)
        print_table(["check", "state", "found"], [(c.name, "ok" if c.good else "MEND", c.found) for c in found])
        for check in found:
            if check.todo:
                say(f"{check.name}: {check.todo}")
    if not all(c.good for c in found):
        raise typer.Exit(1)


def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, for example boards-2026-11.zip.")],
    images: Annotated[
        bool | None,
        typer.Option("--images/--no-images", help="Take the images; default: where no DVC remote has them."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write registry, runs, decisions, settings, data pointers and history to one file, and read it back.

    Work may go on beside it. Schedules and secrets are not taken.
    """
    from flows.operations.backup import back_up

    result = back_up(find_project(), file, images=images)
    if as_json:
        print_json(result)
        return
    say(f"{result.file}: {count_in_words(result.files, 'file')}, {result.megabytes:,.1f} MB, verified")
    if not result.images:
        say("images are not in it: the DVC remote must have them (`knotwatch data push`), or say --images")
    if result.elsewhere:
        say(f"runs and models at {result.elsewhere} are not in it: save them there")
    say(f"into a fresh clone: knotwatch restore {result.file}")


def restore(
    file: Annotated[Path, typer.Argument(help="A file that `knotwatch backup` wrote.")],
    as_json: Json = False,
) -> None:
    """Bring a backup into a fresh clone, once all of it is verified; a stopped call goes on when it is repeated."""
    from flows.operations.backup import restore as bring

    result = bring(find_project(), file)
    if as_json:
        print_json(result)
        return
    surfaces = ", ".join(result.surfaces) or "no surface"
    say(f"{surfaces}: {count_in_words(result.files, 'file')} of {result.created}, knotwatch {result.written_by}")
    if not result.images:
        say("images are not in it: `knotwatch data pull` brings them from the DVC remote")
    say("schedules are set again with `knotwatch schedule`; check all with `knotwatch doctor`")


def gc(
    keep: Annotated[int, typer.Option(min=1, help="How many of the newest are kept, besides what is in use.")] = 5,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Remove nothing, say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove superseded networks, data versions and cached files.

    Never what is champion or challenger, what rollback returns to, what such a version was made of, or the newest of
    an algorithm. Runs, figures, reports and decisions stay.
    """
    from flows.operations.cleaning import clean

    result = clean(find_project(), keep, dry_run=dry_run)
    if as_json:
        print_json(result)
        return
    for what, names in (("networks", result.models), ("data versions", result.data_versions)):
        if names:
            say(f"{what}: {', '.join(names)}")
    for note in result.skipped:
        say(f"left alone: {note}")
    said = "would be freed" if dry_run else "freed"
    say(f"{count_in_words(result.cached_files, 'cached file')}; {result.megabytes:,.1f} MB {said}")
