"""The table of a notebook: what it shows, and where it is chosen. A real kernel: tests/integration/test_python.py."""

import io

import pytest
from rich.console import Console

from tests.factories import new_spec, new_trial
from tuner import progress
from tuner.notebook import NotebookTable, in_notebook
from tuner.progress import PlainLines, SearchView, progress_for


def test_the_table_is_html_with_the_states_in_colour_and_text_for_those_who_show_none():
    failed = {"kind": "error", "detail": "1 < 2 & <b>"}
    trials = [new_trial(0), new_trial(1, state="failed", reason=failed, values=[(1, 0.5)])]
    table = NotebookTable(SearchView(new_spec(), trials, 8, lambda: 0.0))
    table.stopping("interrupted")
    shown = table.render()
    assert shown["text/html"].count("<tr>") == 3
    assert '<td style="color: #e53935">failed</td>' in shown["text/html"]
    assert "1 &lt; 2 &amp; &lt;b&gt;" in shown["text/html"]
    assert "stopping (interrupted)" in shown["text/html"]
    lines = shown["text/plain"].splitlines()
    assert lines[0].split()[:4] == ["trial", "state", "epoch", "score"]
    assert lines[2].split()[:4] == ["1", "failed", "1/9", "0.5000"]
    assert len({line.index(word) for line, word in zip(lines, ("state", "running", "failed"), strict=False)}) == 1


@pytest.mark.parametrize("quiet", [False, True])
def test_a_notebook_gets_its_table_unless_nothing_is_to_be_shown(monkeypatch, quiet):
    monkeypatch.setattr(progress, "in_notebook", lambda: True)
    display = progress_for(Console(file=io.StringIO(), quiet=quiet), new_spec(), [], 8)
    assert isinstance(display, PlainLines if quiet else NotebookTable)


def test_the_tests_run_in_no_notebook():
    assert not in_notebook()
