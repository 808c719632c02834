"""The report put together: one HTML file that asks the network for nothing."""

from __future__ import annotations

import base64
import hashlib
import os
from contextlib import suppress
from datetime import UTC, datetime
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

from tuner import __version__
from tuner.errors import UsageError
from tuner.progress import format_seconds
from tuner.report import sections, sections_charts, sections_model, trust
from tuner.report.figures import metric_name
from tuner.report.front import front
from tuner.report.html import Html, join, json_block, paragraph, tag, text
from tuner.report.importance import FEWEST, importances
from tuner.report.layout import Page
from tuner.report.record import StudyDetail
from tuner.report.sizes import parameter_counts

if TYPE_CHECKING:
    from tuner.report.exported import ExportedModel


def render(detail: StudyDetail, model: ExportedModel | None, *, now_s: float) -> str:
    """The report as HTML. model: the export to show. now_s: since 1970, what the page says it was made at."""
    page = Page()
    # Trials that confirm others are none of the search: they have a section of their own and are in the list of all.
    whole, detail = detail, detail.searched()
    sections.winner(page, detail)
    front(page, detail)
    trust.confirmation(page, detail)
    sections.searched(page, detail)
    sections_charts.course(page, detail)
    sections_charts.parameters(page, detail, importances(detail), FEWEST)
    sections_charts.time(page, detail)
    sections_charts.sizes(page, detail, parameter_counts(detail))
    if model is not None:
        sections_model.exported_model(page, detail, model)
    sections.failures(page, whole)
    sections_model.environment(page, detail)
    sections.all_trials(page, whole)
    links = [Html(f'<a href="#{text(key)}">{text(short)}</a>') for key, short, _ in page.sections]
    body = join(
        [
            tag("header", *_head(detail, now_s), *_overview(detail)),
            tag("nav", tag("div", *links)),
            tag("main", *(section for _, _, section in page.sections)),
            tag("footer", paragraph(f"Made by tuner {__version__} at {_utc(now_s)}, from the study's record.")),
            json_block("charts", {key: drawn.as_dict() for key, drawn in page.charts.items()}),
        ]
    )
    plotly, script = _plotly(), _asset("report.js")
    # Nothing but these scripts runs and nothing is fetched, whatever a name in the data may contain. Plotly writes
    # styles, and compiles the shaders of parallel coordinates by Function().
    hashes = " ".join(f"'sha256-{_digest(one)}'" for one in (plotly, script))
    policy = (
        f"default-src 'none'; script-src {hashes} 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(detail.spec.name)}: report of a search</title>\n"
        f"<style>\n{_asset('report.css')}</style>\n</head>\n"
        f'<body>\n{body}\n<script type="text/plain" id="plotly">{plotly}</script>\n<script>{script}</script>\n</body>\n'
        "</html>\n"
    )


def write(path: Path, content: str) -> None:
    """Write the file whole or not at all. Raises UsageError if it cannot be written."""
    partial = path.with_name(f".{path.name}.partial")
    try:
        partial.write_text(content, encoding="utf-8", errors="replace")
        os.replace(partial, path)
    except OSError as error:
        with suppress(OSError):
            partial.unlink()
        raise UsageError(f"cannot write the report to {path}: {error.strerror or error}; give another --out") from None


def _head(detail: StudyDetail, now_s: float) -> list[Html]:
    study = detail.study
    state = {"running": "still running", "complete": "complete", "stopped": "stopped before its end"}[study.state]
    chip = tag("span", text(state), class_=f"state {study.state}")
    when = f", as it was at {_utc(now_s)}" if study.driver is not None else ""
    began = f", began {_utc(detail.start_s)}" if detail.start_s is not None else ""
    words = f"A search for the best classifier of {detail.spec.data.default_name}{began}{when}."
    return [tag("h1", text(detail.spec.name), chip), paragraph(words, "quiet")]


def _overview(detail: StudyDetail) -> list[Html]:
    study, counts = detail.study, detail.study.counts
    best = study.best
    epochs = sum(len(trial.epochs) for trial in detail.trials)
    rows = detail.timed_epochs()
    took = format_seconds(rows[-1][2] - detail.start_s) if rows and detail.start_s is not None else "\N{EM DASH}"
    told = [
        (f"{best.value:.4f}" if best else "\N{EM DASH}", f"best {metric_name(detail.spec.metric)}"),
        (f"{study.finished} of {study.trials_wanted}", "trials finished"),
        (str(counts["complete"]), "trained to the end"),
        (str(counts["pruned"]), "stopped early"),
        (str(counts["failed"]), "failed"),
        (f"{epochs:,}", "epochs trained"),
        (took, "from first to last epoch"),
        (format_seconds(sum(trial.record.seconds for trial in detail.trials)), "of worker time"),
    ]
    if (ledger := study.ledger) is not None:
        told.append((f"{ledger.budget.of(ledger.spent_h)} of {ledger.budget.words}", "of the budget spent"))
    tiles = [
        tag("div", tag("b", text(value)), tag("span", text(name)), class_="tile first" if not index else "tile")
        for index, (value, name) in enumerate(told)
    ]
    parts = [tag("div", *tiles, class_="tiles")]
    if best is not None:
        parts.append(trust.in_short(detail))
    return parts


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    # What ends a script for HTML may stand in a string of it; in JavaScript the backslash changes nothing there.
    return str(get_plotlyjs()).replace("</script", "<\\/script").replace("<!--", "<\\!--")


def _asset(name: str) -> str:
    return (resources.files("tuner.report") / "assets" / name).read_text(encoding="utf-8")


def _digest(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
