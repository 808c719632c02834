"""What all sections of a report are made with: the page that they fill, and the legend that its charts share."""

from __future__ import annotations

from dataclasses import dataclass, field

from tuner.report.figures import OUTCOME_NAMES, OUTCOMES, Chart
from tuner.report.html import Html, chart, tag, text
from tuner.report.record import StudyDetail


@dataclass
class Page:
    """What the sections fill: their HTML under the titles of the navigation, and the charts by their keys."""

    sections: list[tuple[str, str, Html]] = field(default_factory=list)
    charts: dict[str, Chart] = field(default_factory=dict)

    def section(self, key: str, title: str, *content: Html, short: str = "") -> None:
        """Add a section; `short` is its title in the navigation."""
        self.sections.append((key, short or title, tag("section", tag("h2", text(title)), *content, id=key)))

    def draw(self, key: str, drawn: Chart | None, label: str) -> Html:
        """The place of a chart; nothing if there is none."""
        if drawn is None:
            return Html("")
        self.charts[key] = drawn
        return chart(key, height=drawn.height, min_width=drawn.min_width, label=label)


def legend(detail: StudyDetail, best: str = "") -> Html:
    """What the colours mean, of the outcomes that there are. best: what is drawn in the colour of the best trial."""
    shown = [(outcome, OUTCOME_NAMES[outcome]) for outcome in reversed(OUTCOMES) if detail.study.counts[outcome]]
    if detail.study.best is not None:
        shown.insert(0, ("best", best or f"best (trial {detail.study.best.trial})"))
    return tag("div", *(tag("span", tag("i"), text(name), class_=key) for key, name in shown), class_="legend")


def without_legend(drawn: Chart | None) -> Chart | None:
    """The page has a legend of its own, which does not push the chart together on a phone."""
    if drawn is None:
        return None
    layout = {**drawn.layout, "showlegend": False, "margin": {"t": 22, **drawn.layout.get("margin", {})}}
    return Chart(drawn.traces, layout, drawn.height, drawn.min_width)
