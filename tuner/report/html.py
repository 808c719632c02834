"""Pieces of HTML. All text that comes from data goes through `text`; what returns `Html` is safe to be put together."""

from __future__ import annotations

import html
import json
from collections.abc import Iterable, Sequence
from typing import Any


class Html(str):
    """HTML whose parts from data were escaped."""

    __slots__ = ()


def text(value: object) -> Html:
    """Text as it is to be seen."""
    return Html(html.escape(str(value), quote=True))


def join(parts: Iterable[Html]) -> Html:
    """One after the other."""
    return Html("".join(parts))


def tag(name: str, *content: Html, **attributes: str) -> Html:
    """An element. `class_` is the attribute `class`, `data_x` is `data-x`."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items() if value
    )
    return Html(f"<{name}{given}>{''.join(content)}</{name}>")


def paragraph(words: str, class_: str = "") -> Html:
    """Plain text as a paragraph."""
    return tag("p", text(words), class_=class_)


def table(headings: Sequence[str], rows: Iterable[Sequence[object]], *, numbers: Iterable[int] = ()) -> Html:
    """A table in a box of its own that scrolls. Cells are text or `Html`. numbers: columns that stand to the right."""
    right = set(numbers)

    def cells(kind: str, row: Sequence[object]) -> Html:
        return join(
            tag(kind, cell if isinstance(cell, Html) else text(cell), class_="n" if column in right else "")
            for column, cell in enumerate(row)
        )

    head = tag("thead", tag("tr", cells("th", headings))) if any(headings) else Html("")
    body = tag("tbody", join(tag("tr", cells("td", row)) for row in rows))
    return tag("div", tag("table", head, body), class_="table", tabindex="0")


def details(summary: str, *content: Html) -> Html:
    """Content that is folded away until it is asked for."""
    return tag("details", tag("summary", text(summary)), *content)


def chart(key: str, *, height: int, min_width: int, label: str) -> Html:
    """The place where the page's script draws the chart `key`."""
    style = f"height:{height}px" + (f";min-width:{min_width}px" if min_width else "")
    place = tag("div", class_="chart", data_chart=key, style=style, role="img", aria_label=label)
    return tag("div", place, class_="wide" if min_width else "frame")


def json_block(key: str, content: Any) -> Html:
    """Data for the page's script: JSON that neither ends its element nor begins another."""
    encoded = json.dumps(content, separators=(",", ":"), allow_nan=False)
    for letter in "<>&":
        encoded = encoded.replace(letter, f"\\u{ord(letter):04x}")
    return Html(f'<script type="application/json" id="{text(key)}">{encoded}</script>')
