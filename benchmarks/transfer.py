"""How well what one surface taught carries over to another: `python -m benchmarks.transfer SOURCE TARGET`.

Every strategy of every algorithm, over numbers of images and draws of them, on one fixed subset of the test split.
Each result is a line of a JSON file as soon as it is there: a stopped run goes on where it was.
"""

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

import pipelines
from benchmarks.command import run_command
from benchmarks.transfer_report import Outcome, make_table, read_outcomes
from benchmarks.transfer_scores import Bench, Picture, choose_test
from flows.adapting.origins import Origin, find_origins
from pipelines.core.errors import CallError
from pipelines.core.paths import find_project
from pipelines.core.records import Label, Split, Strategy
from pipelines.core.surface_settings import read_surface
from pipelines.data.prepared import PreparedImage, read_index
from pipelines.metrics.curves import image_auroc
from pipelines.models.openvino.export import load_state
from pipelines.models.registry import algorithms, find_algorithm
from pipelines.tracking.store import Tracking
from pipelines.training.cross_fit import MOST_FOLDS, fit_without, make_without
from pipelines.training.fingerprint import code_hash
from pipelines.training.fitting import adapt
from pipelines.training.run_settings import RunSettings, resolve_run
from pipelines.training.transfer.shots import LEAST_HELD_OUT, draw_shots, hold_none_out, relabel
from pipelines.training.transfer.strategy import choose_strategy, find_likelihood_gains

_DRAWS = {"padim": 5, "fastflow": 5, "efficientad": 2, "anomalydino": 5, "fastflow_dinov2": 2}
_ROUNDS = 1000


def transfer(  # noqa: PLR0917 - a command has as many arguments as options
    source: Annotated[str, typer.Argument(help="A surface with trained versions.")],
    target: Annotated[str, typer.Argument(help="A surface with labelled defects, shown whole to the model.")],
    algorithm: Annotated[list[str] | None, typer.Option(help="May be repeated; default: all of SOURCE.")] = None,
    shots: Annotated[list[int] | None, typer.Option(min=1, help="May be repeated; default: 1 4 8 16 64.")] = None,
    draws: Annotated[int | None, typer.Option(min=1, help="Draws of images; default: 5 or 2.")] = None,
    test: Annotated[int, typer.Option(min=10, help="Test images, a fixed subset.")] = 200,
    profile: Annotated[str, typer.Option(help="quick or full.")] = "full",
    out: Annotated[Path | None, typer.Option(help="The JSON lines; default: one of these conditions.")] = None,
    only_report: Annotated[bool, typer.Option("--only-report", help="Compute nothing, print the table.")] = False,
) -> None:
    """Measure strategies over shots and draws, and print the table.

    Example: python -m benchmarks.transfer wood-boards magnetic-tile --algorithm padim --draws 2
    """
    project = find_project()
    prepared, own = project.surface(target).prepared, read_surface(project, target)
    images = read_index(prepared)
    known: list[Outcome] = []
    for origin in find_origins(Tracking(project), source, algorithm or list(algorithms())):
        settings = resolve_run(project, own, profile, list(origin.structure))
        path = out or project.state / "transfer" / f"{source}-{target}-{_mark(origin, settings, images, test)}.jsonl"
        kept = [outcome for outcome in read_outcomes(path) if outcome.algorithm == origin.algorithm]
        bench = Bench(prepared, images, test, origin, settings)
        jobs = [(k, d) for d in range(draws or _DRAWS[origin.algorithm]) for k in shots or (1, 4, 8, 16, 64)]
        for k, draw in [] if only_report else jobs:
            if not any((o.shots, o.draw) == (k, draw) for o in kept):
                kept += _keep(path, _measure(bench, origin, settings, images, k, draw))
        known += kept
    if not known:
        raise CallError("nothing was measured with this source, data and code", hint="leave --only-report out")
    labels = [i.label == Label.ANOMALOUS for i in choose_test(images, test)]
    Console(width=None if sys.stdout.isatty() else 170).print(make_table(known, labels))


def _mark(origin: Origin, settings: RunSettings, images: list[PreparedImage], test: int) -> str:
    """Hash what figures depend on, so that those of other code, settings, sources or images stay apart."""
    code = [code_hash(Path(pipelines.__file__).parent)]
    parts = [*code, origin.name, origin.run_id, settings.model_dump_json(), str(test), *(i.digest for i in images)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _measure(
    bench: Bench, origin: Origin, settings: RunSettings, images: list[PreparedImage], shots: int, draw: int
) -> list[Outcome]:
    """Fit and score all strategies on one draw, and mark the one that its held-out images choose."""
    started = time.monotonic()
    splits, without_itself = draw_shots(images, shots, draw), find_algorithm(origin.algorithm).memorises and shots > 1
    drawn = relabel(images, hold_none_out(splits) if without_itself else splits)
    train, held = ([i for i in drawn if i.split == split] for split in (Split.TRAIN, Split.VALIDATION))
    judged = train if without_itself else held
    resamples = -(-settings.adapt.synthetic // len(judged)) if judged else 0
    synthetic = [Picture(image, number) for image in judged for number in range(resamples + 1)]
    labels = [picture.number > 0 for picture in synthetic]
    state = load_state(Path(origin.folder))
    bench.forget_synthetic()
    found, methods = {}, {}
    for strategy in find_algorithm(origin.algorithm).strategies:
        if strategy == Strategy.FINETUNE and shots < LEAST_HELD_OUT:
            continue
        tiles, validation = (bench.tiles(some, train, strategy) for some in (train, held))
        fitted = adapt(origin.algorithm, strategy, tiles, validation, settings, state)
        methods[strategy] = fitted
        on_test = tuple(bench.score(fitted.model, tiles.plan, bench.test))
        if not without_itself:
            found[strategy] = bench.score(fitted.model, tiles.plan, synthetic), on_test
            continue
        folds = [number % min(MOST_FOLDS, len(train)) for number in range(len(train))]
        fits = fit_without(origin.algorithm, fitted, strategy, tiles, folds, settings, state)
        models = make_without(origin.algorithm, fits, tiles.plan, settings)
        by_image = (synthetic[n : n + resamples + 1] for n in range(0, len(synthetic), resamples + 1))
        scored = [bench.score(models[fold], tiles.plan, some) for fold, some in zip(folds, by_image, strict=True)]
        found[strategy] = [score for some in scored for score in some], on_test
    usable = {s: on_synthetic for s, (on_synthetic, _) in found.items() if s != Strategy.NEAREST}
    known = {"likelihood_gains": find_likelihood_gains(methods), "by_rule": find_algorithm(origin.algorithm).by_rule}
    choice = choose_strategy(usable, labels, _ROUNDS, settings.seed, **known)
    seconds = time.monotonic() - started
    Console(stderr=True).print(f"{origin.algorithm} {shots} draw {draw}: {choice.strategy}, {seconds:.0f} s")
    return [
        Outcome(origin.algorithm, s, shots, draw, s == choice.strategy, image_auroc(on_synthetic, labels), on_test)
        for s, (on_synthetic, on_test) in found.items()
    ]


def _keep(path: Path, outcomes: list[Outcome]) -> list[Outcome]:
    path.parent.mkdir(parents=True, exist_ok=True)
    lines: list[dict[str, Any]] = [o._asdict() for o in outcomes]
    with path.open("a", encoding="utf-8") as file:
        file.write("".join(json.dumps(line) + "\n" for line in lines))
    return outcomes


if __name__ == "__main__":
    run_command(transfer)
