"""How a winner was chosen and what its scores are worth, as a model card says it: in paragraphs of Markdown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_TEST = "The test split played no part in the search; it was read once, for this card."


def chosen(metrics: Mapping[str, Any]) -> list[str]:
    """metrics: the content of an export's metrics.json. Says that one run decided where none confirmed it, and that a
    refitted model has no validation score."""
    confirmation, refit = metrics.get("confirmation"), metrics.get("refit")
    return [
        *(_on_one_run() if confirmation is None else _confirmed(confirmation, metrics)),
        *(_refitted(refit, metrics) if refit is not None else []),
        _TEST,
    ]


def winner(metrics: Mapping[str, Any]) -> str:
    """The winner in a few words: `trial 3`, or `trial 3, confirmed by others: these are the weights of trial 8`."""
    confirmation, trial = metrics.get("confirmation"), metrics["validation"]["trial"]
    if confirmation is None:
        return f"trial {trial}"
    return f"trial {confirmation['winner']}, by the mean of fresh runs, of which trial {trial} is the best,"


def _on_one_run() -> list[str]:
    return [
        "The winner was chosen by its validation score, on one training run of each configuration: a second run "
        "would score somewhat differently, and the validation score of the best of many is too high on average."
    ]


def _confirmed(confirmation: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    ranking, validation = confirmation["ranking"], metrics["validation"]
    table = ["| trial | mean | standard deviation | fresh runs | in the search |", "| --- | --- | --- | --- | --- |"]
    for one in ranking:
        scores = ", ".join(f"{score:.4f}" for score in one["scores"]) + _diverged(one)
        cells = (one["trial"], f"{one['mean']:.4f}", _spread(one), scores, f"{one['search_score']:.4f}")
        table.append(f"| {' | '.join(map(str, cells))} |")
    first = ranking[0]
    of_those = " of those none of whose runs diverged" if any(one["diverged"] for one in ranking) else ""
    return [
        f"The winner was confirmed: the best configurations of the search ({len(ranking)}) were trained again as "
        f"complete trials with fresh seeds, and the one with the best mean {validation['metric']}{of_those} won. That "
        f"mean is what to expect of such a training: {first['mean']:.4f}, standard deviation {_spread(first)}.",
        "\n".join(table),
        f"Of the winner's fresh runs the one with the best validation score was taken, trial {validation['trial']} "
        f"after epoch {validation['epoch']}: that score of its own is somewhat too high, the mean is not chosen so.",
    ]


def _refitted(refit: Mapping[str, Any], metrics: Mapping[str, Any]) -> list[str]:
    return [
        f"This model is a refit: the configuration of trial {refit['of_trial']} was trained once more, on the training "
        f"and the validation pictures together ({refit['pictures']}), with the same seed, for as many epochs as that "
        f"run had at its best, {refit['epochs']}, by its schedule for {refit['max_epochs']}. No picture was held out, "
        f"so there is no validation score for this model; that of the run was {metrics['validation']['metric']} "
        f"{refit['score_of_that_run']:.4f}."
    ]


def _spread(one: Mapping[str, Any]) -> str:
    return "unknown of one run" if one["standard_deviation"] is None else f"{one['standard_deviation']:.4f}"


def _diverged(one: Mapping[str, Any]) -> str:
    return f"; {one['diverged']} diverged" if one["diverged"] else ""
