"""What a good manifest looks like, as a Great Expectations suite. The only file that imports great_expectations."""

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from pipelines.core.errors import ToolError
from pipelines.core.records import Label, Split
from pipelines.core.results import REGROUP, Quarantined, ValidationReport
from pipelines.core.surface_settings import ValidationSettings
from pipelines.core.wording import count_in_words
from pipelines.data.review_ledger import is_reviewed

_NULL = "ExpectColumnValuesToBeNull"
_BETWEEN = "ExpectColumnValuesToBeBetween"
# Images of one surface differ by less than this in area, unless something else was mixed in.
_SIZE_RATIO = 4.0
_NAMED = 3


@dataclass(frozen=True)
class Rule:
    """One expectation on a column, and what it means in plain words where a row fails it.

    `reason` is a format that takes the row's columns; a rule that only warns says it of all its images
    together, after their number.
    """

    expectation: str
    column: str
    reason: str
    bounds: dict[str, Any] = field(default_factory=dict)
    warns: bool = False


def judge(manifest: pd.DataFrame, settings: ValidationSettings, docs: Path | None = None) -> ValidationReport:
    """Judge a manifest.

    Rows that fail are quarantined, each with all its reasons; exact copies are listed apart.

    Args:
        manifest: One row an image, as `build_manifest` returns it; not changed. It may be empty, which is refused.
        settings: Limits: sides in pixels, brightness on 0 to 255, shares 0 to 1.
        docs: Folder that Data Docs (HTML pages) are written to, made where it is absent. None writes none.

    Returns:
        The verdict. It is not accepted where too large a share is quarantined, or nothing is left to train on.

    Raises:
        ToolError: If Great Expectations could not evaluate one of its expectations.
    """
    copies = _copies(manifest)
    rules = _rules(settings)
    view = _view(manifest)
    failed = _run_suite(view, rules, docs)
    rows = {str(row["path"]): {str(k): v for k, v in row.items()} for row in view.to_dict(orient="records")}
    reasons: dict[str, list[str]] = defaultdict(list)
    warnings = []
    for rule, paths in zip(rules, failed, strict=True):
        concerned = [path for path in dict.fromkeys(paths) if path not in copies]
        if rule.warns and concerned:
            warnings.append(f"{count_in_words(len(concerned), 'image')} {rule.reason}: {_name(concerned)}")
        elif not rule.warns:
            for path in concerned:
                reasons[path].append(rule.reason.format_map(rows[path]))
    quarantined = [Quarantined(path=path, reason="; ".join(reasons[path])) for path in sorted(reasons)]
    usable = manifest[~manifest["path"].isin([*reasons, *copies])]
    refusals = _refusals(manifest, usable, len(quarantined), settings)
    return ValidationReport(
        accepted=not refusals,
        images=len(manifest),
        usable=len(usable),
        quarantined=tuple(quarantined),
        duplicates=tuple(Quarantined(path=p, reason=f"the same file as {copies[p]}") for p in sorted(copies)),
        warnings=tuple(warnings),
        reasons=tuple(refusals),
    )


def _refusals(manifest: pd.DataFrame, usable: pd.DataFrame, bad: int, settings: ValidationSettings) -> list[str]:
    if usable.empty:
        return [f"of {len(manifest)} images none can be used"]
    refusals = []
    share = bad / len(manifest)
    if share > settings.max_quarantined_share:
        allowed = f"{settings.max_quarantined_share:.1%} (validation.max_quarantined_share)"
        found = f"{bad} of {len(manifest)} images ({share:.1%}) {'is' if bad == 1 else 'are'} quarantined"
        refusals.append(f"{found}, allowed are {allowed}")
    trained = usable[(usable["split"] == Split.TRAIN) & usable["label"].isin([Label.NORMAL, Label.UNKNOWN])]
    if trained.empty:
        refusals.append(f"no normal image is left to train on: {_why_untrained(manifest, usable)}")
    return refusals


def _why_untrained(manifest: pd.DataFrame, usable: pd.DataFrame) -> str:
    labels = [Label.NORMAL, Label.UNKNOWN]
    normals, left = manifest[manifest["label"].isin(labels)], usable[usable["label"].isin(labels)]
    if normals.empty:
        return "none is labelled normal"
    if left.empty:
        return f"all {len(normals)} that are labelled normal are quarantined or copies"
    if (left["declared_split"] == "test").all():
        return f"the layout or a review keeps all {len(left)} that are usable for the test split"
    return f"groups took all {len(left)} that are usable to other splits; {REGROUP}"


def _name(paths: list[str]) -> str:
    more = len(paths) - _NAMED
    return ", ".join(sorted(paths)[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _contradicted(manifest: pd.DataFrame) -> "pd.Series[str]":
    """Name for each image a copy of it that has another label, or nothing."""
    usable = manifest[manifest["error"] == ""]
    torn = usable.groupby("sha256")["label"].transform("nunique") > 1
    other = {}
    for _, copies in usable[torn].groupby("sha256"):
        for path, label in zip(copies["path"], copies["label"], strict=True):
            other[path] = copies.loc[copies["label"] != label, "path"].min()
    return manifest["path"].map(other)


def _copies(manifest: pd.DataFrame) -> dict[str, str]:
    """Map each surplus copy to the kept one. Copies that contradict each other are quarantined instead."""
    torn = _contradicted(manifest).notna()
    surplus = manifest[(manifest["duplicate_of"] != "") & (manifest["duplicate_of"] != manifest["path"]) & ~torn]
    return dict(zip(surplus["path"], surplus["duplicate_of"], strict=True))


def _view(manifest: pd.DataFrame) -> pd.DataFrame:
    """Add columns that each rule can look at alone: empty where the rule does not concern the row."""
    fine = manifest["error"] == ""
    area = (manifest["width"] * manifest["height"]).where(fine)
    kept = fine & (manifest["duplicate_of"] == "")
    near = manifest["near_duplicate_of"].where(manifest["near_duplicate_of"] != "")
    apart = manifest["group"] == manifest["path"]
    anomalous = manifest["label"] == Label.ANOMALOUS
    return manifest.assign(
        error=manifest["error"].where(~fine),
        mask_error=manifest["mask_error"].where(manifest["mask_error"] != ""),
        label=manifest["label"].where(manifest["label"] != ""),
        shorter_side=manifest[["width", "height"]].min(axis=1).where(fine),
        normal_mask_area=manifest["mask_area"].where(manifest["label"] == Label.NORMAL),
        anomalous_mask_area=manifest["mask_area"].where(anomalous),
        # A person who reviewed a mask saw what it marks.
        found_mask_area=manifest["mask_area"].where(anomalous & ~manifest["mask"].map(is_reviewed).astype(bool)),
        contradicted_by=_contradicted(manifest),
        near_grouped=near.where(~apart),
        near_apart=near.where(apart),
        relative_area=area / (area[kept].median() if kept.any() else 1.0),
    )


def _rules(settings: ValidationSettings) -> list[Rule]:
    return [
        Rule("ExpectColumnValuesToBeUnique", "path", "listed more than once"),
        Rule(_NULL, "error", "{error}"),
        Rule(_NULL, "mask_error", "mask {mask}: {mask_error}"),
        *_limits(settings),
        Rule(
            *("ExpectColumnValuesToNotBeInSet", "bit_depth"),
            "of 9 to 15 bits a sample, stretched by these",
            {"value_set": list(range(9, 16))},
            warns=True,
        ),
        Rule("ExpectColumnValuesToNotBeNull", "label", "has no label"),
        Rule(
            *("ExpectColumnValuesToBeInSet", "label"),
            f"its label '{{label}}' is none of {', '.join(Label)}",
            {"value_set": [label.value for label in Label]},
        ),
        Rule(
            *(_BETWEEN, "normal_mask_area"),
            "labelled normal, but its mask marks {mask_area:.2%} of it",
            {"max_value": 0},
        ),
        Rule(_NULL, "contradicted_by", "the same file as {contradicted_by}, which has another label"),
        Rule(
            *(_BETWEEN, "anomalous_mask_area"),
            "labelled anomalous with a mask that marks nothing",
            {"min_value": 0, "strict_min": True},
            warns=True,
        ),
        Rule(
            *(_BETWEEN, "found_mask_area"),
            "with a mask that marks more than half of the image (inverted? what is not 0 is the defect)",
            {"max_value": 0.5},
            warns=True,
        ),
        Rule(
            *(_BETWEEN, "relative_area"),
            f"more than {_SIZE_RATIO:g} times larger or smaller than the median",
            {"min_value": 1 / _SIZE_RATIO, "max_value": _SIZE_RATIO},
            warns=True,
        ),
        Rule(
            *(_NULL, "near_grouped"),
            "nearly the same as an earlier one, kept in its group (validation.near_duplicate_bits)",
            warns=True,
        ),
        Rule(
            *(_NULL, "near_apart"),
            "nearly the same as an earlier one, yet split by itself: it has another label, the group is full "
            "(split.largest_group) or most images are alike, as of a part in a fixture (split.alike)",
            warns=True,
        ),
    ]


def _limits(settings: ValidationSettings) -> list[Rule]:
    least, dark, white = settings.min_side, settings.min_brightness, settings.max_saturated_share
    return [
        Rule(
            *(_BETWEEN, "shorter_side"),
            f"too small: {{width}} x {{height}} pixels, its shorter side below {least}",
            {"min_value": least},
        ),
        Rule(
            *(_BETWEEN, "brightness_mean"),
            f"too dark: mean brightness {{brightness_mean:g}} of 255, expected at least {dark:g}",
            {"min_value": dark},
        ),
        Rule(
            *(_BETWEEN, "saturated_share"),
            f"overexposed: {{saturated_share:.0%}} of it is saturated, allowed are {white:.0%}",
            {"max_value": white},
        ),
    ]


def _run_suite(view: pd.DataFrame, rules: list[Rule], docs: Path | None) -> list[list[str]]:
    """Run the suite; return for each rule the paths that fail it."""
    import great_expectations as gx

    logging.getLogger("great_expectations").setLevel(logging.WARNING)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    expectations = [
        getattr(gx.expectations, rule.expectation)(column=rule.column, **rule.bounds, meta={"rule": number})
        for number, rule in enumerate(rules)
    ]
    rows = gx.expectations.ExpectTableRowCountToBeBetween(min_value=1)
    suite = context.suites.add(gx.ExpectationSuite(name="manifest", expectations=[rows, *expectations]))
    asset = context.data_sources.add_pandas("manifest").add_dataframe_asset("images")
    batch = asset.add_batch_definition_whole_dataframe("all")
    definition = gx.ValidationDefinition(name="manifest", data=batch, suite=suite)
    checkpoint = context.checkpoints.add(
        gx.Checkpoint(
            name="manifest",
            validation_definitions=[context.validation_definitions.add(definition)],
            result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["path"]},
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": view})
    if docs is not None:
        _write_docs(context, docs)
    results = [result for run in outcome.run_results.values() for result in run.results]
    return _failing_paths(results, len(rules))


def _failing_paths(results: Iterable[Any], rules: int) -> list[list[str]]:
    """Sort the failing paths by rule.

    Raises:
        ToolError: where an expectation could not be evaluated, which must not pass as a success.
    """
    failing: list[list[str]] = [[] for _ in range(rules)]
    for result in results:
        if any(info["raised_exception"] for info in _exceptions(result.exception_info)):
            raise ToolError(
                f"Great Expectations could not evaluate {result.expectation_config.type}: {result.exception_info}",
                hint="check that the installed great-expectations is the version that pyproject.toml names",
            )
        number = (result.expectation_config.meta or {}).get("rule")
        if number is not None and not result.success:
            failing[number] = [str(found["path"]) for found in result.result["unexpected_index_list"]]
    return failing


def _exceptions(info: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """List exception records: there is one, or one for each metric."""
    return [info] if "raised_exception" in info else list(info.values())


def _write_docs(context: Any, docs: Path) -> None:
    docs.mkdir(parents=True, exist_ok=True)
    store = {"class_name": "TupleFilesystemStoreBackend", "base_directory": str(docs.resolve())}
    index = {"class_name": "DefaultSiteIndexBuilder"}
    site = {"class_name": "SiteBuilder", "store_backend": store, "site_index_builder": index}
    context.add_data_docs_site(site_name="validation", site_config=site)
    context.build_data_docs(site_names=["validation"])
