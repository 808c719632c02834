"""What a report says of how much the winner's score is worth: whether other seeds confirmed it."""

from __future__ import annotations

from tuner.confirmed import Confirmed, ranking
from tuner.report.figures import metric_name
from tuner.report.html import Html, paragraph, table, tag, text
from tuner.report.layout import Page
from tuner.report.record import StudyDetail
from tuner.training.remarks import plural


def in_short(detail: StudyDetail) -> Html:
    """One paragraph under the head of the page."""
    ranked = ranking(detail.study)
    return paragraph(_on_one_run(detail), "warn") if not ranked else _confirmed(detail, ranked)


def confirmation(page: Page, detail: StudyDetail) -> None:
    """A table of the configurations that were trained again; nothing if none was."""
    ranked = ranking(detail.study)
    if not ranked:
        return
    metric = metric_name(detail.spec.metric)
    rows: list[list[object]] = [
        [
            one.origin.number,
            tag("b", text(f"{one.mean:.4f}")),
            "\N{EM DASH}" if one.spread is None else f"{one.spread:.4f}",
            f"{one.search_score:.4f}",
            len(one.runs),
            ", ".join(f"{score:.4f}" for score in one.scores) + (f"; {one.diverged} diverged" if one.diverged else ""),
            ", ".join(str(run.number) for run in one.runs),
        ]
        for one in ranked
    ]
    headings = ["trial", "mean", "standard deviation", "in the search", "runs", "their scores", "as trials"]
    page.section(
        "confirmation",
        "Confirmation",
        paragraph(
            f"The best configurations, trained again as complete trials with fresh seeds. The mean {metric} is what to "
            "expect of such a training; the score of the search was chosen for being high, so it is not part of it."
        ),
        table(headings, rows, numbers=range(5)),
        short="Confirmed",
    )


def _on_one_run(detail: StudyDetail) -> str:
    counts = detail.study.counts
    judged = counts["complete"] + counts["pruned"]
    words = "The winner was chosen on one run: each configuration was trained once, and not confirmed by other seeds."
    if judged > 1:
        words += (
            f" A second run would score somewhat differently, and the validation score of the best of {judged} is too "
            "high on average."
        )
    return words


def _confirmed(detail: StudyDetail, ranked: list[Confirmed]) -> Html:
    first, best = ranked[0], detail.study.best
    spread = "" if first.spread is None else f", standard deviation {first.spread:.4f}"
    words = (
        f"Confirmed by fresh seeds: of {plural(len(ranked), 'configuration')} that were trained again trial "
        f"{first.origin.number} has the best mean {metric_name(detail.spec.metric)}, {first.mean:.4f}{spread}, over "
        f"{plural(len(first.runs), 'run')}; in the search it had {first.search_score:.4f}."
    )
    known = [one.origin.params for one in ranked]
    if best is not None and best.params not in known:
        words += f" Trial {best.trial}, the best of the search by now, was not confirmed."
        return paragraph(words, "warn")
    return paragraph(words)
