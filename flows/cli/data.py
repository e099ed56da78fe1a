"""`knotwatch data`: surfaces and their images."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from flows.cli.parameters import Defective, Json, Look, Material, Normal, Seed, Size, Surface, complete_surface
from flows.cli.printing import print_change, print_json, print_labels, print_table, print_verdict, say
from flows.runtime.environment import log_to_terminal
from pipelines.core.errors import CallError
from pipelines.core.paths import find_project
from pipelines.core.records import Layout
from pipelines.core.wording import count_in_words

app = typer.Typer(help="Add, update, show, share and bring back a surface's images.", no_args_is_help=True)


@app.command(
    short_help="Bring a data set under DVC, validate and prepare it.",
    epilog="Examples: knotwatch data add boards ~/photos --layout unlabelled; "
    "knotwatch data add demo --layout procedural --seed 1 --normal 90 --defective 30",
)
def add(
    surface: Annotated[str, typer.Argument(help="The surface's name.")],
    path: Annotated[str | None, typer.Argument(help="The folder; with --from-git, the path inside it.")] = None,
    layout: Annotated[Layout, typer.Option(help="How the data set lies on disk.")] = Layout.FOLDER,
    from_git: Annotated[
        str | None, typer.Option(metavar="URL", help="Take PATH from this git or DVC repository.")
    ] = None,
    material: Material = "wood",
    look: Look = None,
    seed: Seed = 0,
    normal: Normal = 90,
    defective: Defective = 30,
    size: Size = "384x192",
    max_unused_share: Annotated[
        float | None, typer.Option(min=0, max=1, help="Share of the files that may stay unused; written to the YAML.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring a data set under DVC, write its settings, validate and prepare it. The source is never changed."""
    from flows.dataset.overview import describe
    from flows.dataset.surface import add_surface, check_source
    from pipelines.core.settings import check_settings
    from pipelines.core.surface_settings import SourceSettings, ValidationSettings, read_procedural_options

    log_to_terminal()
    project = find_project()
    if layout == Layout.PROCEDURAL:
        drawn = {"material": material, "look": look, "seed": seed, "normal": normal, "defective": defective}
        options = read_procedural_options(size, "data add --layout procedural", **drawn)
        source = SourceSettings(layout=layout, procedural=options)
    elif path is None:
        raise CallError(
            f"expected the folder of '{surface}', as layout {layout} has it, found none",
            hint=f"knotwatch data add {surface} FOLDER --layout {layout}; to draw images: --layout procedural",
        )
    elif from_git:
        source = check_settings(SourceSettings, {"layout": layout, "path": path, "git_url": from_git}, "data add")
    else:
        source = SourceSettings(layout=layout, path=str(check_source(Path(path))))
    limits = {} if max_unused_share is None else {"max_unused_share": max_unused_share}
    change = add_surface(project, surface, source, check_settings(ValidationSettings, limits, "data add"))
    print_change(change, as_json=as_json)
    if not as_json:
        print_labels(describe(project, surface))
        say(f"settings: data/surfaces/{surface}.yaml; next: knotwatch retrain {surface} --profile quick")


@app.command(short_help="Take in what is new at the remembered source.", epilog="Example: knotwatch data update boards")
def update(
    surface: Surface,
    prune: Annotated[bool, typer.Option("--prune", help="Also drop what vanished at the source.")] = False,
    as_json: Json = False,
) -> None:
    """Take in what is new at the remembered source; only that is measured and prepared."""
    from flows.dataset.surface import update_surface

    log_to_terminal()
    print_change(update_surface(find_project(), surface, prune=prune), as_json=as_json)


@app.command(
    "add-types",
    short_help="Take in example crops of defect types.",
    epilog="Example: knotwatch data add-types boards ~/crops, where crops/ holds crack/, knot/, normal/",
)
def add_types_command(
    surface: Surface,
    folder: Annotated[Path, typer.Argument(help="Folders of example crops, named after their type.")],
    prune: Annotated[bool, typer.Option("--prune", help="Also drop examples that are not in FOLDER.")] = False,
    as_json: Json = False,
) -> None:
    """Take in example crops of defect types, which the next retrain learns; perfect, good or normal hold no defect."""
    from flows.dataset.surface import add_types, check_source

    log_to_terminal()
    change = add_types(find_project(), surface, check_source(folder), prune=prune)
    if as_json:
        print_json(change)
        return
    counts = ", ".join(f"{count} {name}" for name, count in change.types.examples.items())
    say(f"{surface}: examples of types: {counts}; {change.types.new} new, {change.types.removed} removed")
    say(f"data version {change.data_version}; next: knotwatch retrain {surface} --profile quick")


@app.command(epilog="Example: knotwatch data review boards ~/Downloads/review-boards-2026-05-01.json")
def review(
    surface: Surface,
    file: Annotated[Path, typer.Argument(help="What the page of an inspection saved.")],
    images: Annotated[
        list[Path] | None,
        # Its former name is still taken.
        typer.Option(
            "--images", "--photographs", metavar="FOLDER", help="Where the images are now, if they were moved."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Turn a review into the next data version.

    An image with a confirmed defect goes to the test split, one that was drawn at random to calibration, any other to
    training; one that the surface knows stays in its split. Reviewed twice, the later verdict counts.
    """
    from flows.dataset.review import review_surface

    log_to_terminal()
    change = review_surface(find_project(), surface, file, images or [])
    if as_json:
        print_json(change)
        return
    splits = ", ".join(f"{split} {count}" for split, count in sorted(change.splits.items()))
    reviewed, confirmed = count_in_words(change.images, "image"), count_in_words(change.confirmed, "defect")
    say(
        f"{surface}: {reviewed} reviewed, {change.new} new ({splits}); {confirmed} confirmed, {change.rejected} rejected"
    )
    print_verdict(change.verdict)
    say(f"data version {change.data_version}; next: knotwatch retrain {surface} --profile quick")
    say("where `knotwatch watch` looks at the surface, it retrains by itself, as policy.watch says")


@app.command("list", epilog="Example: knotwatch data list")
def list_command(as_json: Json = False) -> None:
    """List the surfaces."""
    from flows.dataset.overview import describe_all

    found = describe_all(find_project())
    if as_json:
        print_json({"surfaces": [s.model_dump(mode="json") for s in found]})
        return
    if not found:
        say("no surface yet: knotwatch data add NAME PATH --layout LAYOUT")
        return
    rows = [(s.surface, s.layout, s.images, s.data_version or "not prepared", s.source) for s in found]
    print_table(["surface", "layout", "images", "data version", "source"], rows)


@app.command(epilog="Example: knotwatch data show boards")
def show(surface: Surface, as_json: Json = False) -> None:
    """Show a surface's splits, verdict, data versions and settings."""
    from flows.dataset.overview import describe

    found = describe(find_project(), surface)
    if as_json:
        print_json(found)
        return
    say(f"{found.surface}: layout {found.layout}, from {found.source}")
    others = [version for version in found.versions if version != found.data_version]
    say(f"data version {found.data_version or 'not prepared'}" + (f"; others: {', '.join(others)}" if others else ""))
    rows = [
        (split, *(counts.get(label, 0) for label in ("normal", "anomalous", "unknown")))
        for split, counts in found.splits.items()
    ]
    print_table(["split", "normal", "anomalous", "unknown"], rows)
    print_labels(found)
    if found.verdict:
        print_verdict(found.verdict)
    say(f"settings: data/surfaces/{surface}.yaml; validation page: {found.docs or 'not made yet'}")


@app.command(
    short_help="Remove a surface's files from the project.", epilog="Example: knotwatch data remove boards --yes"
)
def remove(surface: Surface, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Remove a surface's files from the project. The source and registered models stay."""
    from flows.commands.train import drop_schedule
    from flows.dataset.surface import remove_surface

    if not yes:
        typer.confirm(f"Remove the project's copy of '{surface}'?", abort=True)
    project = find_project()
    remove_surface(project, surface)
    drop_schedule(project, surface)
    say(f"{surface}: removed")


@app.command(epilog="Example: knotwatch data push boards")
def push(
    surfaces: Annotated[
        list[str] | None, typer.Argument(help="Surfaces; default: all.", autocompletion=complete_surface)
    ] = None,
) -> None:
    """Copy data to the DVC remote."""
    from flows.dataset.surface import share

    say(share(find_project(), "push", surfaces or []).strip() or "pushed")


@app.command(epilog="Example: knotwatch data pull boards")
def pull(
    surfaces: Annotated[
        list[str] | None, typer.Argument(help="Surfaces; default: all.", autocompletion=complete_surface)
    ] = None,
) -> None:
    """Fetch data from the DVC remote."""
    from flows.dataset.surface import share

    say(share(find_project(), "pull", surfaces or []).strip() or "pulled")


@app.command(
    short_help="Bring an old data version back exactly.", epilog="Example: knotwatch data checkout boards 3f2a"
)
def checkout(
    surface: Surface, version: Annotated[str, typer.Argument(help="A data version, or an unambiguous start of it.")]
) -> None:
    """Bring an old data version back exactly: raw files, settings, manifest and prepared images."""
    from flows.dataset.surface import checkout_version

    say(f"{surface}: data version {checkout_version(find_project(), surface, version)}")


class Download(StrEnum):
    """What can be fetched; nothing is unless it is requested here."""

    EFFICIENTAD_TEACHER = "efficientad-teacher"


@app.command(
    short_help="Download what knotwatch does without.",
    epilog="Example: knotwatch data fetch efficientad-teacher; then set efficientad.teacher: official",
)
def fetch(
    what: Annotated[Download, typer.Argument(help="anomalib's teacher for EfficientAD, instead of the bundled one.")],
    url: Annotated[str | None, typer.Option(help="Another place of the same file.")] = None,
) -> None:
    """Download what knotwatch does without, and keep it only if its checksum is right."""
    from pipelines.models.efficientad.official_teacher import URL, fetch_teacher
    from pipelines.models.efficientad.teacher import official_folder

    folder = official_folder()
    fetch_teacher(folder, url or URL)
    say(f"{what.value}: kept in {folder.relative_to(find_project().root)}; use it with efficientad.teacher: official")
