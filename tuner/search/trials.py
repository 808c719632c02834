"""The trials of one study as Optuna keeps them in the journal: read by number, and written within a transition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import optuna
from optuna.storages import JournalStorage
from optuna.trial import FrozenTrial, TrialState, create_trial

from tuner.search import samplers
from tuner.search.ranked import RankedStudy, RankedTrial
from tuner.search.sampler import StudyWithEvidence, evidence_trials
from tuner.search.shownfront import FrontStudy
from tuner.spec import StudySpec
from tuner.store.journal import Journal, MemoryJournal
from tuner.study import MAX_EPOCHS


@dataclass(frozen=True)
class Question:
    """What the next trial is given: `answer` follows from the spec and the first `entries` of the journal alone.

    It looks at nothing that changes, so that any thread may call it, but one at a time those of one study.
    """

    entries: int
    answer: Callable[[], dict[str, Any]]


class Trials:
    """Opens the study in `journal`, creating it if it is not there. Every write goes to the journal at once, or with
    the transition around it.
    """

    def __init__(self, spec: StudySpec, journal: Journal) -> None:
        self.spec = spec
        self._distributions = spec.space.distributions()
        self._evidence = evidence_trials(spec.evidence, self._distributions)
        self._ranked: dict[int, RankedTrial] = {}
        self._journal = journal
        self._storage = JournalStorage(journal)
        self.study = optuna.create_study(
            storage=self._storage, study_name=spec.name, directions=spec.directions, load_if_exists=True
        )
        self._study_id = self.study._study_id

    @property
    def attributes(self) -> dict[str, Any]:
        """What the journal holds about the study itself."""
        return self.study.user_attrs

    def all(self) -> list[FrozenTrial]:
        """All trials, by number; not to be changed."""
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def __getitem__(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._id(number))

    @property
    def levels(self) -> tuple[int, ...]:
        """The rungs of a new trial, and the epochs of its full training."""
        max_epochs = self.attributes.get(MAX_EPOCHS, self.spec.max_epochs)
        return (*self.spec.rungs(max_epochs), max_epochs)

    def question(self, created: int) -> Question:
        """For the parameters of the next trial, by what is known now.

        created: how many trials there are that continue and confirm no other. The first ones are those that were given.
        """
        # As if there were no trials that confirm others.
        number = sum("confirms" not in trial.user_attrs for trial in self.all())
        given = self.spec.first_configurations[created : created + 1]
        answer = partial(
            samplers.suggest,
            self.spec.sampler,
            self._shown(),
            self.spec.space,
            self._distributions,
            levels=self.levels,
            number=number,
            seed=self.spec.seed,
            given=given[0] if given else {},
        )
        return Question(self._journal.length(), answer)

    def _shown(self) -> StudyWithEvidence:
        """The study as samplers see it."""
        if self.spec.costs:
            return FrontStudy(self.spec.name, self._storage, self._evidence, self.spec.costs)
        return RankedStudy(self.spec.name, self._storage, self._evidence, self._ranked)

    def add(self, params: dict[str, Any], **attributes: Any) -> None:
        """Create a running trial under the next number."""
        distributions = {name: self._distributions[name] for name in params}
        self.study.add_trial(
            create_trial(state=TrialState.RUNNING, params=params, distributions=distributions, user_attrs=attributes)
        )

    def set_score(self, number: int, epoch: int, score: float) -> None:
        """Record the score of an epoch, which must be finite."""
        self._storage.set_trial_intermediate_value(self._id(number), epoch, score)

    def set(self, number: int, key: str, value: Any) -> None:
        """Set an attribute, a value of JSON. Optuna accepts none after `end`."""
        self._storage.set_trial_user_attr(self._id(number), key, value)

    def end(self, number: int, state: TrialState, value: float | None) -> None:
        """Give a trial its final state. value: its score; its costs it has."""
        costs = self[number].user_attrs.get("costs", {})
        values = None if value is None else [value, *(costs[name] for name in self.spec.costs)]
        self._storage.set_trial_state_values(self._id(number), state, values)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def question_at(spec: StudySpec, journal: Journal, created: int) -> Question:
    """As `Trials.question` when the study's journal was this one, which `answer` reads. created: as there."""
    return Question(journal.length(), lambda: Trials(spec, journal).question(created).answer())


def first_params(spec: StudySpec) -> dict[str, Any]:
    """The parameters of the first trial of a study that has none yet."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)  # it would tell of the study in memory
    return Trials(spec, MemoryJournal()).question(0).answer()
