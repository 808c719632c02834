"""How much each dimension of the space had to do with which trials did well: Optuna's PED-ANOVA."""

from __future__ import annotations

import warnings

import optuna
from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances
from optuna.trial import TrialState, create_trial

from tuner.direction import sign_of
from tuner.report.record import StudyDetail, TrialDetail

FEWEST = 10
"""Trials below which nothing can be said."""

_BEST_TRIALS = 5  # what Optuna advises to look at, at the least
_BEST_SHARE = 0.1  # Optuna's default


def importances(detail: StudyDetail) -> dict[str, float]:
    """Share of each dimension, in sum 1, the largest first; empty if there are too few trials to tell.

    PED-ANOVA (Watanabe et al. 2023, "PED-ANOVA: Efficiently Quantifying Hyperparameter Importance in Arbitrary
    Subspaces") asks in which dimensions the best trials differ from all. It looks at ranks alone, so that trials that
    were stopped early count too: below all that went further, and among themselves by the score at which they were
    stopped. Dimensions that exist in some trials only are taken as Optuna does (condPED-ANOVA).
    """
    ranked = _ranked(detail)
    distributions = detail.spec.space.distributions()
    if len(ranked) < FEWEST:
        return {}
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of each study that is made
    study = optuna.create_study(direction="maximize")
    study.add_trials(
        [
            create_trial(
                state=TrialState.COMPLETE,
                params=trial.record.params,
                distributions={name: distributions[name] for name in trial.record.params},
                value=float(rank),
            )
            for rank, trial in enumerate(ranked)
        ]
    )
    # Of a dimension without spread only the estimator's own prior would be measured.
    varied = [name for name in distributions if len({repr(trial.record.params.get(name)) for trial in ranked}) > 1]
    if not varied:
        return {}
    share = min(0.5, max(_BEST_SHARE, _BEST_TRIALS / len(ranked)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that equal scores make all trials the best ones
        found = get_param_importances(
            study, params=varied, evaluator=PedAnovaImportanceEvaluator(target_quantile=share)
        )
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _ranked(detail: StudyDetail) -> list[TrialDetail]:
    """Trials that were judged, the worst first. What failed is left out: its score says nothing of where it stood."""
    sign = sign_of(detail.spec.direction)

    def key(trial: TrialDetail) -> tuple[int, float]:
        best = trial.best(detail.spec.direction)
        assert best is not None
        if trial.record.state == "complete":
            return (detail.study.max_epochs + 1, sign * best.score)
        return (trial.epochs[-1].epoch, sign * trial.epochs[-1].score)

    judged = [trial for trial in detail.trials if trial.record.state in ("complete", "pruned") and trial.epochs]
    return sorted(judged, key=key)
