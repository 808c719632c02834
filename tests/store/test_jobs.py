from __future__ import annotations

import json

import pytest
import redis

from tuner.errors import StoreError
from tuner.store.jobs import JobRecord, read_job, write_job

JOB = JobRecord("http://head:8265", "digits-1a2b3c")


def test_a_job_is_read_as_it_was_written_and_a_driver_that_is_none_forgets_it(redis_client: redis.Redis) -> None:
    assert read_job(redis_client, "digits") is None
    write_job(redis_client, "digits", JOB)
    assert read_job(redis_client, "digits") == JOB
    write_job(redis_client, "digits", None)
    assert read_job(redis_client, "digits") is None
    assert redis_client.keys("*") == []


@pytest.mark.parametrize(
    "content",
    [
        {"address": "file:///etc/passwd", "submission_id": "a"},
        {"address": "http://user@head", "submission_id": "a"},
        {"address": "http://head", "submission_id": "a/../stop"},
        {"address": "http://head", "submission_id": ["a"]},
        {"address": None, "submission_id": "a"},
        {"address": "http://head"},
        {"address": "http://head", "submission_id": "a", "more": 1},
        [],
    ],
)
def test_what_tuner_did_not_write_is_never_asked_for(redis_client: redis.Redis, content: object) -> None:
    redis_client.set("tuner:{digits}:job", json.dumps(content))
    with pytest.raises(StoreError, match="the job of study 'digits' cannot be read"):
        read_job(redis_client, "digits")
