"""`knotwatch` and its commands."""

import io
import re
import sys
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from flows.cli import adapting, data, drawing, promotion, serving, suspects, tuning, upkeep, watching
from flows.cli.parameters import Json, Surface
from flows.cli.printing import err, print_error, print_json, print_retrain, say
from flows.local_servers.lost import explain_lost_server
from flows.runtime.disk import explain_by_disk
from pipelines.core.errors import CallError, KnotwatchError, find_closest
from pipelines.core.progress import exit_code_of_stop, interrupts_first, remember_interrupts

app = typer.Typer(
    name="knotwatch",
    epilog="Start with: knotwatch data add boards ~/photos --layout unlabelled, then: knotwatch retrain boards",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
app.add_typer(data.app, name="data")

_STOPPED = 130  # what typer, too, answers to Ctrl-C


def _show_version(requested: bool) -> None:
    if requested:
        say(f"knotwatch {installed_version('knotwatch')}")
        raise typer.Exit


# typer carries its own copy of click; this is the public way to the root of its errors about a wrong call.
_UsageError: Any = typer.BadParameter.__bases__[0]


@app.callback()
def _options(
    _version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Keep anomaly detectors for a surface trained, compared, promoted and in use."""


def run(words: list[str]) -> int:
    """Run one command line and return its exit code."""
    remember_interrupts()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A name of any bytes is shown, and ends nothing.
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        _check_words(words)
        with interrupts_first():
            code = int(app(args=words, standalone_mode=False) or 0)
    except KnotwatchError as error:
        print_error(error, as_json="--json" in words)
        return error.exit_code
    except _UsageError as error:
        error.show()
        _offer_choice(str(error))
        return 2
    except (KeyboardInterrupt, typer.Abort):
        code = _STOPPED
    except Exception as error:
        if (told := explain_lost_server(error) or explain_by_disk(error)) is None:
            raise
        print_error(told, as_json="--json" in words)
        return told.exit_code
    if code == _STOPPED:
        goes_on = words[:1] in (["retrain"], ["adapt"], ["tune"]) and "--trial" not in words
        more = "; the same command goes on with what is finished" if goes_on else ""
        err.print(f"knotwatch: stopped; nothing is left half written{more}")
        return exit_code_of_stop()
    return code


def _offer_choice(said: str) -> None:
    """Offer the closest of an option's words; typer itself offers commands and options alone."""
    refused = re.search(r"'([^']*)' is not one of ('.+')", said)
    closest = refused and find_closest(refused[1], re.findall(r"'([^']*)'", refused[2]))
    if closest:
        err.print(Text(f"  What to do: did you mean '{closest}'?"))


def _check_words(words: list[str]) -> None:
    """Refuse what no file and no setting is called; a shell cannot say it, who calls `run` can."""
    wrong = next((word for word in words if "\0" in word), None)
    if wrong is not None:
        raise CallError(f"{wrong!r} holds a NUL character", hint="leave it out")


@app.command(
    short_help="Train on a surface's data; the gate decides on the best version.",
    epilog="Example: knotwatch retrain wood-boards --profile quick --set padim.features=64 --json",
)
def retrain(
    surface: Surface,
    profile: Annotated[str, typer.Option(help="quick or full: how much effort to spend.")] = "full",
    assign: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Change a setting.")] = None,
    trial: Annotated[str | None, typer.Option(help="Track the run under this name, never register it.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Train although nothing changed.")] = False,
    as_json: Json = False,
) -> None:
    """Validate, prepare, train the algorithms, evaluate, register, propose one, and let the gate decide on it.

    Which algorithms: --set "algorithms=[padim, efficientad]". What is registered and unchanged is not trained again.
    """
    from flows.commands.train import call_retrain
    from flows.steps.results import SomeFailedError

    try:
        result = call_retrain(surface, profile, assign or [], trial, force)
    except SomeFailedError as error:
        if as_json:
            failure = {"error": error.problem, "hint": error.hint, "exit_code": error.exit_code}
            print_json({**error.result.model_dump(mode="json"), **failure})
        else:
            print_retrain(error.result)
        print_error(error, as_json=False)
        raise typer.Exit(error.exit_code) from error
    if as_json:
        print_json(result)
    else:
        print_retrain(result)


@app.command(
    "inspect",
    short_help="Score new images with the champion; outline what is unusual.",
    epilog="Examples: knotwatch inspect wood-boards new/ --out annotated --maps maps --json; "
    "knotwatch inspect wood-boards month/ --no-pictures --table month.parquet",
)
def inspect_command(
    surface: Surface,
    paths: Annotated[list[Path], typer.Argument(help="Images, or folders that hold some.")],
    out: Annotated[
        Path | None, typer.Option(help="Where the pictures go; default: data/reports/SURFACE/inspect.")
    ] = None,
    maps: Annotated[Path | None, typer.Option(help="Also write each anomaly map as a float32 TIFF.")] = None,
    coco: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the defects as COCO.")] = None,
    csv: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write a table of defects.")] = None,
    masks: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also write a mask PNG for each.")] = None,
    crops: Annotated[Path | None, typer.Option(metavar="FOLDER", help="Also cut each defect out, as PNG.")] = None,
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Write one Parquet table; a stopped call goes on when it is repeated."),
    ] = None,
    no_pictures: Annotated[
        bool, typer.Option("--no-pictures", help="Write no annotated pictures and no report.")
    ] = False,
    review: Annotated[
        int, typer.Option(metavar="N", min=0, help="Show N images drawn at random in the report, too.")
    ] = 0,
    everything: Annotated[
        bool, typer.Option("--all", help="List each image; of more than 20, the normal ones are otherwise counted.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Score new images with the champion and outline what is unusual on them; 1 where one could not be read.

    OUT/report.html shows the highest scores, to be looked at and judged: see `knotwatch data review`.
    """
    from flows.cli.printing import print_inspect
    from flows.commands.inspect import call_inspect
    from pipelines.inspection.exports import Exports

    if no_pictures and out is not None:
        raise CallError("--out and --no-pictures contradict each other", hint="leave one of them out")
    if everything and table is not None:
        raise CallError("--all and --table contradict each other: the table lists each image", hint="leave one out")
    exports = Exports(coco=coco, csv=csv, masks=masks, crops=crops)
    result = call_inspect(surface, paths, out, maps, exports, table, review, pictures=not no_pictures)
    if as_json:
        print_json(result)
    else:
        print_inspect(result, everything=everything)
    if result.unreadable:
        raise typer.Exit(1)


data.app.command(
    short_help="Draw images into a folder, as new ones to inspect.",
    epilog="Example: knotwatch data draw new --seed 7; then knotwatch inspect wood-boards new/images",
)(drawing.draw)
data.app.command(
    short_help="List images taken for normal that look least like it.",
    epilog="Example: knotwatch data suspects wood-boards --count 30; then open the page that it names",
)(suspects.suspects)
app.command(
    short_help="Bring what SOURCE taught to TARGET by a few normal images.",
    epilog="Example: knotwatch adapt wood-boards tiles --shots 16 --profile quick --json",
)(adapting.adapt)
app.command(
    short_help="Try an algorithm's settings on the validation split.",
    epilog="Example: knotwatch tune wood-boards --algorithm padim --trials 40 --hours 2; the same command goes on",
)(tuning.tune)
app.command(
    short_help="Let the gate decide on a version, and put it in use.",
    epilog='Example: knotwatch promote wood-boards --version 4 --force --reason "fewer misses on pine"',
)(promotion.promote)
app.command(
    short_help="Return to the champion before.",
    epilog="Example: knotwatch rollback wood-boards; later: knotwatch rollback wood-boards --release",
)(promotion.rollback)
app.command(
    short_help="Vouch for a registered version by the project's key.",
    epilog="Example: knotwatch sign wood-boards --version 4",
)(promotion.sign)
app.command(
    short_help="List a surface's versions, and why each is in use or not.",
    epilog="Examples: knotwatch models wood-boards --lineage; knotwatch models wood-boards --data 35e3",
)(promotion.models)
app.command(
    short_help="Check for new images and drift; retrain as the policy says.",
    epilog="Example: knotwatch watch wood-boards --once --json",
)(watching.watch)
app.command(
    short_help="Retrain and check surfaces by the clock.",
    epilog='Example: knotwatch schedule wood-boards --cron "0 2 * * 1" --watch; knotwatch schedule --all',
)(serving.schedule)
app.command(
    short_help="Answer MLflow's scoring protocol with champions.",
    epilog="Examples: knotwatch serve wood-boards --port 8400; knotwatch serve oak pine --memory 500 --replicas 2",
)(serving.serve)
app.command(
    short_help="Judge what a camera writes, and tell machines.",
    epilog="Example: knotwatch line boards --source folder:/camera --sink mqtt://127.0.0.1/line1/boards",
)(watching.line)
app.command(epilog="Example: knotwatch ui --prefect-port 4201 --mlflow-port 5001")(serving.ui)
app.command(short_help="Check this machine and this project.", epilog="Example: knotwatch doctor")(upkeep.doctor)
app.command(
    short_help="Save the project in one verified file.",
    epilog="Example: knotwatch backup boards-2026-11.zip --images",
)(upkeep.backup)
app.command(
    short_help="Bring a backup into a fresh clone.",
    epilog="Example: knotwatch restore boards-2026-11.zip",
)(upkeep.restore)
app.command(
    short_help="Remove superseded networks and data versions.",
    epilog="Example: knotwatch gc --keep 5 --dry-run",
)(upkeep.gc)
