"""The live table of a search in a notebook: one output, whose HTML is replaced once a second.

rich's own `Live` needs ipywidgets there, and leaves a picture of the last but one moment behind.
"""

from __future__ import annotations

import html
import sys
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.progress import SearchView
    from tuner.study import TrialRecord

_REFRESH_S = 1.0
# Read on white and on black.
_COLOURS = {
    "running": "#1e88e5",
    "complete": "#43a047",
    "pruned": "#c77700",
    "failed": "#e53935",
    "queued": "#888888",
    "paused": "#8e7cc3",
}


def in_notebook() -> bool:
    """Whether this process is the kernel of a notebook, which shows HTML. IPython in a terminal is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell is not None and getattr(shell, "kernel", None) is not None


class NotebookTable:
    """The table that is replaced in place; its last state stays in the notebook."""

    def __init__(self, view: SearchView) -> None:
        self._view = view
        self._stopping = ""
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._refresh, name="tuner-notebook", daemon=True)
        self._handle: Any = None

    def __enter__(self) -> NotebookTable:
        from IPython.display import display

        self._handle = display(self.render(), raw=True, display_id=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._handle.update(self.render(), raw=True)

    def trial_changed(self, trial: TrialRecord) -> None:
        """Take in the change; the next drawing shows it."""
        self._view.change(trial)

    def stopping(self, why: str) -> None:
        """Say that the search is being stopped."""
        self._stopping = f"stopping ({why}): waiting for what runs; interrupt again to leave at once"

    def render(self) -> dict[str, str]:
        """The table as it is now, by MIME type."""
        headings, rows = self._view.table()
        below = [self._view.summary(), *([self._stopping] if self._stopping else [])]
        return {"text/html": _as_html(headings, rows, below), "text/plain": _as_text([headings, *rows], below)}

    def _refresh(self) -> None:
        while not self._end.wait(_REFRESH_S):
            self._handle.update(self.render(), raw=True)


def _as_html(headings: Sequence[str], rows: Sequence[Sequence[str]], below: Sequence[str]) -> str:
    head = "".join(f"<th>{html.escape(heading)}</th>" for heading in headings)
    body = "".join(f"<tr>{''.join(map(_cell, headings, row))}</tr>" for row in rows)
    lines = "".join(f"<div>{html.escape(line)}</div>" for line in below)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{lines}"


def _cell(heading: str, text: str) -> str:
    style = f' style="color: {_COLOURS[text]}"' if heading == "state" else ""
    return f"<td{style}>{html.escape(text)}</td>"


def _as_text(rows: Sequence[Sequence[str]], below: Sequence[str]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    return "\n".join([*table, *below])
