"""`promote`, `rollback` and `models`: which version is in use, why, and how to change it."""

from typing import TYPE_CHECKING, Annotated

import typer

from flows.cli.parameters import Json, Surface
from flows.cli.printing import ALL_RESULTS, print_json, print_pages, print_table, say
from pipelines.core.errors import CallError
from pipelines.core.paths import find_project

if TYPE_CHECKING:
    from flows.promotion.lineage import Lineage
    from flows.steps.results import ModelLine
    from pipelines.registry.record import DecisionRecord

_REFUSED = 3
_FIGURES = ("image_auroc", "pixel_auroc", "aupro")


def promote(
    surface: Surface,
    version: Annotated[int | None, typer.Option(help="The version; default: the challenger.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be decided; change nothing.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Promote although the gate refuses; wants --reason.")] = False,
    reason: Annotated[str, typer.Option(help="Why a refusal is overridden; kept with the decision.")] = "",
    as_json: Json = False,
) -> None:
    """Let the gate decide on a version: compare it with the champion, and put it in use if it has earned that.

    The decision is kept with the version, with all figures. Exit code 3: refused.
    """
    from flows.commands.registry import call_promote

    if force != bool(reason.strip()):
        raise CallError(
            "--force and --reason go together", hint=f'knotwatch promote {surface} --force --reason "why it may"'
        )
    record, pages = call_promote(surface, version, dry_run=dry_run, force_reason=reason.strip() or None)
    if as_json:
        print_json({**record.model_dump(mode="json"), "mlflow": pages and pages.model_dump()})
    else:
        _print_record(record, dry_run=dry_run)
        print_pages(pages)
    if not (record.moved or record.accepted):
        raise typer.Exit(_REFUSED)


def rollback(
    surface: Surface,
    to: Annotated[int | None, typer.Option(help="The version; default: the champion before.")] = None,
    reason: Annotated[str, typer.Option(help="Why; kept with the decision.")] = "",
    release: Annotated[bool, typer.Option("--release", help="Allow automatic promotion again; moves nothing.")] = False,
    as_json: Json = False,
) -> None:
    """Return to the champion before, once it was seen to reproduce its reference tiles; repeated, further back.

    Retrains only propose from then on, until --release. Exit code 3: the version does not load or reproduce.
    """
    from flows.commands.registry import call_release, call_rollback

    if release:
        if to is not None or reason:
            raise CallError("--release moves nothing", hint=f"knotwatch rollback {surface} --release")
        held, waiting = call_release(surface)
        if as_json:
            print_json({"surface": surface, "released": held, "waiting": waiting})
            return
        say(f"{surface}: released ({held})" if held else f"{surface}: nothing was held")
        if waiting:
            say(f"version {waiting} waits; the next retrain decides on it, or: knotwatch promote {surface}")
        return
    record = call_rollback(surface, to, reason)
    if as_json:
        print_json(record)
        return
    say(f"{surface}: {record.summary}")
    say(f"Retrains only propose until: knotwatch rollback {surface} --release")


def models(
    surface: Surface,
    lineage: Annotated[bool, typer.Option("--lineage", help="Data, images, code, parameters, decisions.")] = False,
    version: Annotated[int | None, typer.Option(help="With --lineage: the version; default: the champion.")] = None,
    data: Annotated[str | None, typer.Option(metavar="VERSION", help="All models that saw this data version.")] = None,
    as_json: Json = False,
) -> None:
    """List a surface's registered versions, newest first: aliases, figures, and why each is in use or not."""
    from flows.commands.registry import call_data_users, call_lineage, list_models

    if data is not None:
        seen = call_data_users(data)
        if as_json:
            print_json({"data_version": data, "models": [s.model_dump(mode="json") for s in seen]})
            return
        rows = [(s.surface, s.version, s.algorithm, ", ".join(s.aliases), s.data_version, s.adapted_from) for s in seen]
        print_table(["surface", "version", "algorithm", "aliases", "data", "adapted from"], rows)
        return
    if lineage:
        found = call_lineage(surface, version)
        if as_json:
            print_json(found)
        else:
            _print_lineage(found)
        return
    lines, hold, problem = list_models(surface)
    if as_json:
        print_json({"surface": surface, "hold": hold, "models": [m.model_dump(mode="json") for m in lines]})
        return
    _print_versions(surface, lines)
    for line in lines:
        if line.why:
            say(line.why)
    if problem:
        say(problem, "yellow")
    if hold:
        say(f"promotion is {hold}; `knotwatch rollback {surface} --release` ends that", "yellow")
    say(ALL_RESULTS)


def sign(
    surface: Surface,
    version: Annotated[int | None, typer.Option(min=1, help="Default: the champion.")] = None,
    as_json: Json = False,
) -> None:
    """Vouch for a registered version: its files are checked, and its checksums signed with the project's key.

    The first call makes the key. From then on what is registered here is signed by itself. With
    policy.require_signature: true in the surface's YAML, no other version is loaded.
    """
    from flows.promotion.signing import sign_version

    result = sign_version(find_project(), surface, version)
    if as_json:
        print_json(result)
        return
    say(f"{surface} version {result.version} is signed")
    if result.key:
        say(f"made a key: add {result.key} to git; keep a copy of .knotwatch/signing-key.pem in a safe place")


def _print_versions(surface: str, lines: "list[ModelLine]") -> None:
    if not lines:
        say(f"no version yet: knotwatch retrain {surface}")
        return
    print_table(
        ["version", "algorithm", "aliases", "data", *(n.replace("_", " ") for n in _FIGURES)],
        [
            (m.version, m.algorithm, ", ".join(m.aliases), m.data_version,
             *(f"{m.metrics[n]:.3f}" if n in m.metrics else "-" for n in _FIGURES))
            for m in lines
        ],
    )  # fmt: skip


def _print_record(record: "DecisionRecord", *, dry_run: bool) -> None:
    if record.decision:
        rows = [(c.name.replace("_", " "), c.outcome.value, c.found, c.wanted) for c in record.decision.checks]
        print_table(["check", "outcome", "found", "wanted"], rows)
    if dry_run:
        say(f"would be decided: {record.summary}")
        return
    say(f"decision {record.number}: {record.summary}")
    say(f"page: data/reports/{record.surface}/decisions/{record.number:04d}.html")


def _print_lineage(found: "Lineage") -> None:
    counts = ", ".join(f"{count} {part}" for part, count in found.counts.items()) or "not listed"
    back = f"knotwatch data checkout {found.surface} {found.data_version}"
    rows = [
        ("version", f"{found.version} ({found.algorithm}) {', '.join(found.aliases)}"),
        ("data version", f"{found.data_version}; back with: {back}"),
        ("images", f"{counts} (--json lists them)"),
        ("code", found.git_commit or "no git commit"),
        ("adapted from", found.parent or "-"),
        ("MLflow run", f"{found.run_id}, retrain {found.retrain_run_id or '-'}"),
        ("Prefect run", found.prefect_page or "-"),
        *(("parameter", f"{name} = {value}") for name, value in sorted(found.parameters.items())),
        *((f"decision {r.number}", f"{r.time:%Y-%m-%d %H:%M}: {r.summary}") for r in found.decisions),
    ]
    print_table(["what", "found"], rows)
