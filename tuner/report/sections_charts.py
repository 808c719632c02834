"""The sections of a report that are mostly charts: how the trials went, what mattered, time, size."""

from __future__ import annotations

from collections.abc import Mapping

from tuner.progress import format_seconds
from tuner.report import charts_model, charts_space, charts_time, charts_trials
from tuner.report.figures import metric_name
from tuner.report.html import Html, details, paragraph, table, tag, text
from tuner.report.layout import Page, legend, without_legend
from tuner.report.record import StudyDetail
from tuner.training.remarks import plural

_WORKERS_LISTED = 200


def course(page: Page, detail: StudyDetail) -> None:
    """Learning curves and survivors."""
    if not any(trial.epochs for trial in detail.trials):
        page.section("curves", "Learning curves", paragraph("No trial has finished an epoch yet."), short="Curves")
        return
    content = [
        paragraph(
            "Each line is a trial. The dotted lines with a number are the rungs, at which trials are compared and the "
            "weaker ones stopped."
        ),
        legend(detail),
        page.draw("curves", without_legend(charts_trials.learning_curves(detail)), "learning curves"),
    ]
    survivors = page.draw("rungs", charts_trials.survivors(detail), "trials that went on at each rung")
    if survivors:
        content += [
            tag("h3", text("Who survived each rung")),
            paragraph(
                "How many trials came so far, and what became of them. Early trials are compared with few others, so "
                "that more of them go on than later.",
                "quiet",
            ),
            survivors,
        ]
    page.section("curves", "Learning curves", *content, short="Curves")


def parameters(page: Page, detail: StudyDetail, shares: Mapping[str, float], fewest: int) -> None:
    """Importance, slices, parallel coordinates."""
    if not detail.spec.space.dimensions or not any(trial.epochs for trial in detail.trials):
        return
    content: list[Html] = []
    if shares:
        content += [
            tag("h3", text("Which ones mattered")),
            paragraph(
                "How much each dimension sets the best trials apart from the others (PED-ANOVA of Optuna). It tells of "
                "the ranges that were searched, and of few trials it is a hint rather than a measurement.",
                "quiet",
            ),
            page.draw("importance", charts_space.importance(shares), "importance of each dimension"),
        ]
    else:
        content.append(paragraph(f"Importance is told from {fewest} finished trials on.", "quiet"))
    slices = charts_space.slices(detail)
    figures = [
        page.draw(f"slice:{index}", one, f"scores over {name}") for index, (name, one) in enumerate(slices.items())
    ]
    content += [
        tag("h3", text("Scores along each dimension")),
        paragraph(
            f"The best {metric_name(detail.spec.metric)} of each trial over its value. Trials that were stopped early "
            "had fewer epochs to get there.",
            "quiet",
        ),
        legend(detail),
        tag("div", *(tag("div", figure) for figure in figures), class_="grid"),
    ]
    lines = page.draw("parallel", charts_space.parallel(detail), "parallel coordinates")
    if lines:
        content += [
            tag("h3", text("All dimensions at once")),
            paragraph(
                "Each line is a trial, the brightest ones are the best. Drag along an axis to keep only the trials "
                "that pass there, and click it to let go.",
                "quiet",
            ),
            lines,
        ]
    page.section("parameters", "Hyperparameters", *content)


def time(page: Page, detail: StudyDetail) -> None:
    """Scores over time, and what the workers did."""
    by_worker = charts_time.stretches(detail)
    if not by_worker:
        return
    clock = page.draw("clock", without_legend(charts_time.over_wall_clock(detail)), "best score over wall-clock time")
    worker = page.draw("spent", without_legend(charts_time.over_worker_time(detail)), "best score over worker time")
    content = [
        paragraph(
            "When the best score was reached, by the clock and by the time that all workers together had trained."
            + (" The clock ran on while the search was stopped." if len(detail.study.environments) > 1 else "")
        ),
        legend(detail, best="best so far"),
        tag("div", tag("div", clock), tag("div", worker), class_="grid two"),
        tag("h3", text("Workers")),
        paragraph(_about_workers(detail, by_worker), "quiet"),
        page.draw("timeline", without_legend(charts_time.timeline(detail, by_worker)), "what each worker trained when"),
    ]
    rows = []
    for name, mine in list(by_worker.items())[:_WORKERS_LISTED]:
        busy_s, share = charts_time.busy_share(mine)
        place, _, device = name.partition(" (")
        trials = len({one.trial.record.number for one in mine})
        rows.append([place, device.removesuffix(")"), trials, format_seconds(busy_s), f"{share:.0%}"])
    headings = ["worker (host:process)", "device", "trials", "trained", "busy"]
    content.append(details(plural(len(by_worker), "worker"), table(headings, rows, numbers=(2, 3, 4))))
    page.section("time", "Time and workers", *content, short="Time")


def _about_workers(detail: StudyDetail, by_worker: Mapping[str, list[charts_time.Stretch]]) -> str:
    busy_s = sum(charts_time.busy_share(mine)[0] for mine in by_worker.values())
    there_s = sum(mine[-1].end_s - mine[0].start_s for mine in by_worker.values())
    words = ["A row for each worker process, a bar for each trial that it trained; the gaps are idle time."]
    if there_s > 0:
        words.append(
            f"Between their first and last epoch the workers trained {min(1.0, busy_s / there_s):.0%} of the time."
        )
    if len(by_worker) > charts_time.WORKERS:
        words.append(f"The first {charts_time.WORKERS} of {len(by_worker)} are shown.")
    if not detail.exact_times:
        words.append("This study is from before epochs were recorded with their time: what is shown is estimated.")
    return " ".join(words)


def sizes(page: Page, detail: StudyDetail, counts: Mapping[int, int]) -> None:
    """Score over the size of the network."""
    drawn = page.draw("sizes", charts_model.score_by_size(detail, counts), "score over the size of the network")
    if drawn:
        words = (
            "The trials that were trained to the end, over the number of parameters of their network. On the line are "
            "those that no smaller network beats."
        )
        page.section("size", "Accuracy against size", paragraph(words), drawn, short="Size")
