"""The page: what it says of studies of every kind, and that nothing in the data becomes part of it as code."""

from __future__ import annotations

import dataclasses
import html.parser
import json
import re

import pytest

from tests.factories import new_space
from tests.report.studies import BEGAN_S, detail_of, searched, trial_of
from tuner.errors import UsageError
from tuner.report import page as report_page
from tuner.report.exported import ExportedModel, Mistake
from tuner.report.page import render, write

EVIL = "<script>alert('1')</script>\u2028&quot;"
DRIVER = {"host": "here", "pid": 1, "user": "me", "since_s": BEGAN_S}
ERROR = {"kind": "error", "detail": f"RuntimeError: {EVIL}", "traceback": f"Traceback\n  {EVIL}"}


@pytest.fixture(autouse=True)
def no_plotly(monkeypatch):
    """The library is half of each page and not looked at here."""
    monkeypatch.setattr(report_page, "_plotly", lambda: "/* plotly */")


class Reader(html.parser.HTMLParser):
    """What a browser would see: text outside of scripts and styles, elements by name, charts as they are drawn."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.elements, self.words, self.scripts = [], [], []
        self._open = ""
        self.feed(page)
        self.text = re.sub(r"\s+", " ", " ".join(self.words))
        self.charts = next(json.loads(body) for attributes, body in self.scripts if attributes.get("id") == "charts")

    def handle_starttag(self, name, attributes):
        self._open = name
        self.elements.append((name, dict(attributes)))
        if name == "script":
            self.scripts.append((dict(attributes), ""))

    def handle_endtag(self, name):
        self._open = ""

    def handle_data(self, data):
        if self._open == "script":
            self.scripts[-1] = (self.scripts[-1][0], data)
        elif self._open != "style":
            self.words.append(data)

    def ids(self):
        return [attributes["id"] for name, attributes in self.elements if name == "section"]


def read(detail, model=None):
    return Reader(render(detail, model, now_s=BEGAN_S + 99))


def complete(number, *scores, **changes):
    return trial_of(number, scores, state="complete", **changes)


def model_of(classes=("cat", "dog"), **changes):
    metrics = {
        "accuracy": 0.75,
        "f1": 0.7,
        "precision": 0.8,
        "recall": 0.6,
        "test_size": 8,
        "confusion_matrix": [[4, 0], [2, 2]],
        "per_class": {
            name: {"precision": 0.5, "recall": 0.5, "f1": 0.9 - index / 2, "support": 4}
            for index, name in enumerate(classes)
        },
        "validation": {"score": 0.9, "epoch": 2, "trial": 0, "metric": "val_accuracy"},
    }
    return ExportedModel("best", metrics, **changes)


def test_a_whole_search_has_all_sections_and_charts():
    page = read(searched(60))
    assert page.ids() == [
        "best", "searched", "curves", "parameters", "time", "failures", "environment", "trials"
    ]  # fmt: skip
    slices = {key for key in page.charts if key.startswith("slice:")}
    assert len(slices) == 8
    assert set(page.charts) - slices == {"curves", "rungs", "importance", "parallel", "clock", "spent", "timeline"}
    places = [attributes["data-chart"] for _, attributes in page.elements if "data-chart" in attributes]
    assert sorted(places) == sorted(page.charts)
    assert "optimizer is sgd" in page.text


def test_it_says_that_the_winner_was_chosen_on_one_run():
    page = read(detail_of(complete(0, 0.5, 0.9), complete(1, 0.5, 0.7)))
    assert "The winner was chosen on one run" in page.text
    assert "best of 2 is too high on average" in page.text
    assert "Trial 0 reached validation accuracy 0.9000 after epoch 2." in page.text
    assert "chosen on one run" not in read(detail_of(trials=3)).text


def test_the_curves_of_an_outcome_are_one_trace_with_gaps_and_the_rungs_are_lines():
    trials = [complete(0, 0.5, 0.9), complete(1, 0.4, 0.6), trial_of(2, (0.1,), state="pruned")]
    charts = read(detail_of(*trials)).charts["curves"]
    pruned, ended, best = charts["data"]
    assert [one["name"] for one in (pruned, ended, best)] == ["stopped early", "trained to the end", "best: trial 0"]
    assert ended["x"] == [1, 2, None, 1, 2, None]
    assert ended["y"] == [0.5, 0.9, None, 0.4, 0.6, None]
    assert [shape["x0"] for shape in charts["layout"]["shapes"]] == [1, 3]


def test_survivors_are_counted_per_rung():
    asha = {"kind": "asha", "rank": 2, "peers": 1, "cutoff": 0.5, "rung": 1}
    trials = [complete(0, *[0.9] * 9), trial_of(1, (0.1,), state="pruned", reason=asha)]
    went_on, stopped = read(detail_of(*trials)).charts["rungs"]["data"]
    assert went_on["y"] == ["epoch 1", "epoch 3", "end (9)"]
    assert (went_on["x"], stopped["x"]) == ([1, 1, 1], [1, 0, 0])


def test_the_best_score_so_far_never_falls_and_is_drawn_over_both_times():
    charts = read(detail_of(complete(0, 0.5, 0.4), complete(1, 0.3, 0.7, start_s=BEGAN_S + 10))).charts
    line = charts["clock"]["data"][-1]
    assert (line["x"], line["y"]) == ([1.0, 12.0, 12.0], [0.5, 0.7, 0.7])
    assert charts["spent"]["data"][-1]["x"] == [1.0, 4.0, 4.0]


def test_the_timeline_shows_who_trained_what_when():
    (bars,) = read(detail_of(complete(0, 0.5, 0.4), complete(1, 0.3, start_s=BEGAN_S + 10))).charts["timeline"]["data"]
    assert list(zip(bars["base"], bars["x"], bars["y"], strict=True)) == [(0.0, 2.0, 0), (10.0, 1.0, 0)]
    assert "trial 0<br>epochs 1 to 2, 2s" in bars["text"][0]


def test_a_study_that_has_not_begun_says_so():
    page = read(detail_of(trials=8))
    assert page.ids() == ["best", "searched", "curves", "failures", "environment", "trials"]
    assert page.charts == {}
    for words in ("No trial has a score", "No trial has finished an epoch yet", "No trial failed", "There is no trial"):
        assert words in page.text


def test_a_study_that_runs_is_told_as_of_now():
    page = read(detail_of(trial_of(0, (0.3, 0.5)), trial_of(1), driver=DRIVER, trials=8))
    assert "still running" in page.text
    assert "as it was at 2026" in page.text
    assert "0 of 8" in page.text
    assert "Importance is told from 10 finished trials on" in page.text


def test_a_study_whose_trials_all_failed_has_reasons_and_no_charts():
    failed = [trial_of(number, state="failed", reason=ERROR) for number in range(12)]
    page = read(detail_of(*failed))
    assert page.charts == {}
    assert "0, 1, 2, 3, 4, 5, 6, 7 and 4 more" in page.text
    assert "where trial 0 failed" in page.text


def test_one_trial_and_constants_alone_make_a_report():
    space = new_space(dimensions={}, constants={"lr": 0.1})
    page = read(detail_of(complete(0, 0.5, 0.6, params={}), space=space))
    assert "every trial trained the same configuration" in page.text
    assert "parameters" not in page.ids()
    assert "All 1 trial" in page.text


def test_values_that_trials_do_not_have_stand_at_the_foot_of_their_axis():
    (parallel,) = read(searched(60)).charts["parallel"]["data"]
    momentum = next(one for one in parallel["dimensions"] if one["label"] == "momentum")
    foot = momentum["range"][0]
    assert foot < 0.5
    assert momentum["ticktext"][momentum["tickvals"].index(foot)] == "\N{EM DASH}"
    assert 0 < momentum["values"].count(foot) < len(momentum["values"])


def test_lower_scores_are_better_where_they_are_minimised():
    trials = [complete(number, 3.0 / (number + 1)) for number in range(12)]
    detail = detail_of(*trials, metric="val_loss")
    assert "trial 11 trial 10 trial 9" in read(detail).text


def test_the_best_trials_have_their_other_scores_beside_the_one_that_was_searched_for():
    trial = complete(0, 0.5, 0.75)
    best = dataclasses.replace(trial.epochs[1], scores={"val_accuracy": 0.875, "val_balanced_accuracy": 0.75})
    trial = dataclasses.replace(trial, epochs=(trial.epochs[0], best))
    text = read(detail_of(trial, metric="val_balanced_accuracy")).text
    assert "validation balanced accuracy 0.7500 validation accuracy 0.8750 at epoch 2" in text


def test_nothing_in_the_data_becomes_markup():
    space = new_space(dimensions={EVIL: {"type": "choice", "choices": [EVIL, "b"]}}, constants={"c": EVIL}, source=EVIL)
    trials = [complete(number, 0.5, 0.6, params={EVIL: EVIL}) for number in range(11)]
    trials += [trial_of(11, state="failed", reason=ERROR), trial_of(12, state="failed", reason={**ERROR, "kind": EVIL})]
    mistake = Mistake(EVIL, EVIL, 0.9, 0.1, EVIL, "data:image/png;base64,", "data:image/png;base64,")
    model = model_of((EVIL, "dog"), mistakes=(mistake,), wrong=1, note="")
    page = render(detail_of(*trials, space=space), model, now_s=BEGAN_S)
    assert "<script>alert" not in page
    assert page.count("<script") == 3
    reader = Reader(page)
    assert "RuntimeError: <script>alert('1')</script>" in reader.text
    # Plotly reads tags in labels: there they are text as well.
    assert "&lt;script&gt;" in reader.charts["slice:0"]["layout"]["xaxis"]["title"]["text"]
    assert "&lt;script&gt;" in reader.charts["confusion"]["layout"]["yaxis"]["ticktext"][0]
    labels = json.dumps([chart["layout"] for chart in reader.charts.values()])
    assert "<script" not in labels


def test_the_page_fetches_nothing_and_runs_its_own_scripts_alone():
    page = render(searched(30), None, now_s=BEGAN_S)
    policy = re.search(r'Content-Security-Policy" content="([^"]+)"', page)[1]
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-inline" not in policy.partition("script-src")[2].partition(";")[0]
    assert re.findall(r'(?:src|href)="(?!#|data:)[^"]*"', page) == []
    assert "url(" not in page
    assert "@import" not in page


def test_an_exported_model_is_shown_with_its_classes_the_hardest_first():
    mistake = Mistake("dog", "cat", 0.991, 0.005, "dog/7.jpg", "data:image/png;base64,AA", "")
    page = read(detail_of(complete(0, 0.5, 0.9)), model_of(mistakes=(mistake,), wrong=2))
    assert "model" in page.ids()
    assert page.text.index("dog 0.500") < page.text.index("cat 0.500")
    assert "dog 0.500 0.500 0.400 4 cat (2)" in page.text
    assert "cat 99.1%, truly dog 0.5%" in page.text
    assert "1 of the 2 test pictures that the model gets wrong" in page.text
    assert page.charts["confusion"]["data"][0]["text"] == [["4", ""], ["2", "2"]]


def test_exported_files_are_compared_by_accuracy_latency_and_size():
    def entry(size, accuracy, milliseconds):
        latency = {batch: {"median_ms": milliseconds, "p99_ms": 2 * milliseconds} for batch in ("1", "64")}
        return {"precision": "fp32", "bytes": size, "accuracy": accuracy, "latency": latency}

    model, detail = model_of(), detail_of(complete(0, 0.5, 0.9))
    model.metrics["models"] = {"model.onnx": entry(2_000_000, 0.9, 1.5)}
    page = read(detail, model)
    assert "model.onnx fp32 2.00 0.9000 1.5 / 3 1.5 / 3" in page.text
    assert "latency" not in page.charts
    model.metrics["models"]["model-int8.onnx"] = entry(500_000, 0.89, 0.5)
    (points,) = read(detail, model).charts["latency"]["data"]
    assert (points["x"], points["y"]) == ([1.5, 0.5], [0.9, 0.89])


def test_why_pictures_are_missing_is_said_and_that_there_is_a_better_trial():
    page = read(detail_of(complete(0, 0.5, 0.9), complete(1, 0.5, 0.95)), model_of(note="no data set here"))
    assert "The test pictures cannot be shown: no data set here" in page.text
    assert "a better one since: trial 1" in page.text


def test_the_environment_is_told_and_that_an_older_study_has_none():
    text = read(detail_of(complete(0, 0.5))).text
    for words in ("commit aaaaaaaaaaaa, changed since", "torch 2.15.0", "Python 3.11.7", "CPU on here"):
        assert words in text
    assert "/nowhere" not in text  # paths of the machine are nobody else's business
    older = detail_of(complete(0, 0.5))
    object.__setattr__(older.study, "environments", ())
    assert "were not recorded" in read(older).text


def test_a_file_that_cannot_be_written_is_said_in_one_line(tmp_path):
    with pytest.raises(UsageError, match=r"cannot write the report to .*: No such file.*--out"):
        write(tmp_path / "none" / "report.html", "x")
    write(tmp_path / "report.html", "caf\udce9")
    assert (tmp_path / "report.html").read_text() == "caf?"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
