"""Which Ray job runs a study, or ran it last: how other machines find its log."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass

import redis

from tuner.errors import StoreError
from tuner.store.client import get_text
from tuner.store.keys import StudyKeys
from tuner.store.patience import OUTAGE_S, Patience


@dataclass(frozen=True)
class JobRecord:
    """address: of the dashboard that took the job, as its submitter reached it. submission_id: Ray's name for it."""

    address: str
    submission_id: str


def write_job(client: redis.Redis, name: str, job: JobRecord | None) -> None:
    """Record what runs the study from now on; None if it is no job. Only for the driver that holds the lease.

    Waits for a Redis that is away, as drivers do. Raises StoreError if it stays so, or refuses.
    """
    key = StudyKeys(name).job

    def write() -> None:
        if job is None:
            client.delete(key)
        else:
            client.set(key, json.dumps(asdict(job), sort_keys=True))

    Patience(name, OUTAGE_S).call(f"recording the job of study {name!r}", write)


def read_job(client: redis.Redis, name: str) -> JobRecord | None:
    """The job that runs or last ran the study; None if that was no job.

    Raises StoreError if Redis fails or the record cannot be read.
    """
    text = get_text(client, StudyKeys(name).job, f"the job of study {name!r}")
    if text is None:
        return None
    try:
        job = JobRecord(**json.loads(text))
        # Both become part of requests.
        if not re.fullmatch(r"https?://[^\s@]{1,500}", job.address):
            raise ValueError(job.address)
        if not re.fullmatch(r"[A-Za-z0-9_.-]{1,200}", job.submission_id):
            raise ValueError(job.submission_id)
    except (TypeError, ValueError, RecursionError):
        raise StoreError(
            f"the job of study {name!r} cannot be read, {StudyKeys(name).job} holds {text[:100]!r}: tuner did not "
            "write that; `tuner resume` writes it anew"
        ) from None
    return job
