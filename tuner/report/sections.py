"""The sections of a report that are mostly tables: the winner, what was searched, what failed, all trials."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.direction import sign_of
from tuner.progress import describe_end, format_seconds, format_value
from tuner.report.figures import OUTCOME_NAMES, metric_name
from tuner.report.html import Html, details, paragraph, table, tag, text
from tuner.report.layout import Page
from tuner.report.record import Epoch, StudyDetail, TrialDetail
from tuner.training.objectives import OBJECTIVES
from tuner.training.remarks import plural

RUNNERS_UP = 5
"""So many of the best trials are shown beside each other."""


def winner(page: Page, detail: StudyDetail) -> None:
    """The best configuration beside those that come next."""
    winning, direction = detail.study.best, detail.spec.direction
    if winning is None:
        page.section(
            "best", "Best configuration", paragraph("No trial has a score whose weights are kept yet."), short="Best"
        )
        return
    sign = sign_of(direction)
    ranked = sorted(
        ((best, trial) for trial in detail.trials if (best := trial.best(direction)) is not None and _counts(trial)),
        # Of equal scores it is not always the lowest number that won.
        key=lambda pair: (-sign * pair[0].score, pair[1].record.number != winning.trial, pair[1].record.number),
    )[:RUNNERS_UP]
    headings = ["", *(f"trial {trial.record.number}" for _, trial in ranked)]
    rows: list[list[object]] = [
        [metric_name(detail.spec.metric), *(tag("b", text(f"{best.score:.4f}")) for best, _ in ranked)],
        *_other_scores([best for best, _ in ranked], detail.spec.metric),
        ["at epoch", *(best.epoch for best, _ in ranked)],
        ["training time", *(format_seconds(trial.record.seconds) for _, trial in ranked)],
    ]
    for name in detail.spec.space.dimensions:
        rows.append([name, *(format_value(trial.record.params.get(name, "\N{EM DASH}")) for _, trial in ranked)])
    neighbours = (
        " Next to it the trials that came closest: values that they share are likely to matter, and where they differ "
        "the score depends little on the value."
    )
    page.section(
        "best",
        "Best configuration",
        paragraph(
            f"Trial {winning.trial} reached {metric_name(detail.spec.metric)} {winning.value:.4f} after epoch "
            f"{winning.epoch}." + (neighbours if len(ranked) > 1 else "")
        ),
        table(headings, rows, numbers=range(1, len(headings))),
        short="Best",
    )


def _other_scores(epochs: Sequence[Epoch], metric: str) -> list[list[object]]:
    """A row for each objective other than `metric` that any of the epochs has."""
    return [
        [metric_name(name), *(f"{epoch.scores[name]:.4f}" if name in epoch.scores else "" for epoch in epochs)]
        for name in OBJECTIVES
        if name != metric and any(name in epoch.scores for epoch in epochs)
    ]


def _counts(trial: TrialDetail) -> bool:
    """Whether its weights are kept, so that it could be the winner."""
    return trial.record.best_checkpoint is not None or trial.record.state == "complete"


def searched(page: Page, detail: StudyDetail) -> None:
    """The space, its constants, and the rules of the search."""
    spec, best = detail.spec, detail.study.best
    rows: list[list[object]] = [
        [tag("code", text(name)), *_dimension(one), format_value(best.params.get(name, "\N{EM DASH}")) if best else ""]
        for name, one in spec.space.dimensions.items()
    ]
    content = [paragraph(_rules(detail))]
    if rows:
        headings = ["dimension", "values", "scale", "only if", "best"]
        if not any(one.get("only_if") for one in spec.space.dimensions.values()):
            headings, rows = [*headings[:3], "best"], [[*row[:3], row[4]] for row in rows]
        content.append(table(headings, rows))
    else:
        content.append(paragraph("The space has no dimensions: every trial trained the same configuration."))
    if spec.space.constants:
        constants = [[tag("code", text(name)), value] for name, value in spec.space.constants.items()]
        content += [tag("h3", text("Kept constant")), table(["hyperparameter", "value"], constants)]
    page.section("searched", "What was searched", *content, short="Space")


def _dimension(one: Mapping[str, Any]) -> list[object]:
    if one["type"] == "choice":
        values, scale = ", ".join(map(str, one["choices"])), "choice"
    else:
        values = f"{one['low']:g} to {one['high']:g}"
        if one.get("step"):
            values += f" in steps of {one['step']:g}"
        scale = ("whole numbers, " if one["type"] == "int" else "") + ("logarithmic" if one.get("log") else "linear")
    conditions = [
        f"{name} is {' or '.join(str(value) for value in allowed)}" for name, allowed in one.get("only_if", {}).items()
    ]
    return [tag("span", text(values), class_="long"), scale, ", ".join(conditions)]


def _rules(detail: StudyDetail) -> str:
    spec = detail.spec
    rungs = spec.rungs(detail.study.max_epochs)
    # A path of the machine that searched is nobody else's business.
    words = [
        f"The space {Path(spec.space.source).name} has {plural(len(spec.space.dimensions), 'dimension')}; "
        f"the search was for {plural(detail.study.trials_wanted, 'trial')} of up to "
        f"{plural(detail.study.max_epochs, 'epoch')}."
    ]
    if spec.model is not None:
        words.append(f"The network is {spec.model.name}.")
    if rungs and spec.costs:
        words.append(
            f"After epochs {', '.join(map(str, rungs))} (the rungs) a trial went on only if it was on the front of "
            f"{', '.join(map(metric_name, spec.objectives))} among those there, or in the layers that make up their "
            f"best 1/{spec.reduction_factor} (ASHA)."
        )
    elif rungs:
        compared_with = "had come there before it" if spec.asha == "stop" else "came there until then or later"
        words.append(
            f"After epochs {', '.join(map(str, rungs))} (the rungs) a trial went on only if its score was in the "
            f"best 1/{spec.reduction_factor} of those that {compared_with} (ASHA)."
        )
    else:
        words.append("No trial was stopped early: the study has no rungs.")
    if spec.warm_start:
        words.append(f"The sampler also knew {len(spec.evidence)} trials of the study {spec.warm_start}.")
    return " ".join(words)


def failures(page: Page, detail: StudyDetail) -> None:
    """Failed trials by their reason; attempts that went back or were lost."""
    groups: dict[tuple[str, str], list[TrialDetail]] = defaultdict(list)
    for trial in detail.trials:
        if trial.record.state == "failed":
            reason = trial.record.reason or {}
            groups[str(reason.get("kind", "unknown")), str(reason.get("detail", ""))].append(trial)
    content: list[Html] = []
    if groups:
        ordered = sorted(groups.items(), key=lambda item: -len(item[1]))
        rows = [
            [kind.replace("_", " "), tag("span", text(what), class_="long"), len(trials), _numbers(trials)]
            for (kind, what), trials in ordered
        ]
        content.append(table(["kind", "reason", "trials", "which"], rows, numbers=(2,)))
        for (_, _what), trials in ordered:
            trace = (trials[0].record.reason or {}).get("traceback")
            if trace:
                content.append(details(f"where trial {trials[0].record.number} failed", tag("pre", text(trace))))
    else:
        content.append(paragraph("No trial failed."))
    troubles = [(trial.record.number, line) for trial in detail.trials for line in trial.restarts]
    troubles += [
        (trial.record.number, f"{plural(trial.losses, 'attempt')} ended because the worker was lost")
        for trial in detail.trials
        if trial.losses
    ]
    if troubles:
        content += [
            tag("h3", text("Went on after trouble")),
            table(
                ["trial", "what happened"],
                [[number, tag("span", text(line), class_="long")] for number, line in troubles],
            ),
        ]
    page.section("failures", "Failures", *content)


def _numbers(trials: list[TrialDetail]) -> str:
    numbers = [str(trial.record.number) for trial in trials]
    return ", ".join(numbers[:8]) + (f" and {len(numbers) - 8} more" if len(numbers) > 8 else "")


def all_trials(page: Page, detail: StudyDetail) -> None:
    """Every trial as a row."""
    names = list(detail.spec.space.dimensions)
    best_of_all = detail.study.best.trial if detail.study.best else None
    rows = []
    for trial in detail.trials:
        record, best = trial.record, trial.best(detail.spec.direction)
        state = tag("span", tag("span", text(OUTCOME_NAMES[record.state])), class_=f"dot {record.state}")
        number: Html = text(record.number)
        if record.confirms is not None:
            number = text(f"{record.number} (confirms {record.confirms})")
        if record.number == best_of_all:
            number = tag("b", text(f"\N{BLACK STAR} {record.number}"))
        score = f"{best.score:.4f}" if best is not None else ""
        values = [format_value(record.params.get(name, "\N{EM DASH}")) for name in names]
        end = (
            tag("span", text(describe_end(record)), class_="long") if record.state == "failed" else describe_end(record)
        )
        rows.append([number, state, len(trial.epochs), score, format_seconds(record.seconds), *values, end])
    headings = ["trial", "outcome", "epochs", "best", "time", *names, "why it ended"]
    right = (0, 2, 3, 4, *range(5, 5 + len(names)))
    content = [table(headings, rows, numbers=right)] if rows else [paragraph("There is no trial yet.")]
    page.section("trials", f"All {plural(len(rows), 'trial')}", *content, short="Trials")
