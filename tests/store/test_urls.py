from __future__ import annotations

import pytest
from redis.connection import parse_url

from tuner.store.urls import add_password, has_password, host_of, strip_password


@pytest.mark.parametrize(
    ("url", "with_it"),
    [
        ("redis://head", "redis://:p%40%2F%3A%20s@head"),
        ("rediss://user@head:6380/2?ssl_ca_certs=/a", "rediss://user:p%40%2F%3A%20s@head:6380/2?ssl_ca_certs=/a"),
        ("redis://user:@[::1]:6380", "redis://user:p%40%2F%3A%20s@[::1]:6380"),
        ("unix:///run/redis", "unix://:p%40%2F%3A%20s@/run/redis"),
    ],
)
def test_a_password_is_added_so_that_redis_reads_it_as_it_was(url: str, with_it: str) -> None:
    assert add_password(url, "p@/: s") == with_it
    assert parse_url(with_it)["password"] == "p@/: s"
    assert has_password(with_it)
    assert not has_password(url)


@pytest.mark.parametrize("url", ["redis://:own@head", "redis://head?password=own", "redis://[::1", "redis://:own@[::1"])
def test_a_url_with_a_password_of_its_own_keeps_it_and_a_malformed_one_is_left_to_who_connects(url: str) -> None:
    assert add_password(url, "other") == url


@pytest.mark.parametrize(
    ("url", "bare"),
    [
        ("redis://:secret@head:6379/1", "redis://head:6379/1"),
        ("redis://user:sec@ret@head", "redis://user@head"),
        ("redis://head?password=secret&db=2", "redis://head?db=2"),
        ("rediss://user@head?ssl_cert_reqs=none", "rediss://user@head?ssl_cert_reqs=none"),
        ("redis://head", "redis://head"),
    ],
)
def test_nothing_but_the_password_is_taken_out(url: str, bare: str) -> None:
    assert strip_password(url) == bare
    assert not has_password(bare)


def test_the_host_is_found_wherever_it_stands() -> None:
    urls = ["redis://u:p@Head:1", "redis://[::1]:6379", "redis://", "http://10.0.0.7:8265"]
    assert [host_of(url) for url in urls] == ["head", "::1", "localhost", "10.0.0.7"]
