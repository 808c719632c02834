from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
import redis

from tuner.errors import StoreError, StoreUnavailable
from tuner.store import client


@pytest.fixture
def default_user(redis_client: redis.Redis) -> Iterator[redis.Redis]:
    """The test server, whose settings and users are put back afterwards."""
    yield redis_client
    redis_client.config_set("appendonly", "yes")
    redis_client.config_set("maxmemory-policy", "noeviction")
    redis_client.acl_deluser("manager", "nobody")


def with_user(url: str, user: str) -> str:
    return url.replace("unix://", f"unix://{user}:secret@")


def test_a_safe_redis_is_connected_to_and_answers_in_text(redis_url: str) -> None:
    with client.connect(redis_url) as connected:
        connected.set("key", "value")
        assert connected.get("key") == "value"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://user:secret@host", "it begins with http://"),
        ("user:secret@host:6379", "it has no scheme"),
        ("redis://user:se/cret@host", "its port or one of its options is malformed"),
        ("redis://user:secret@host:99999", "its port or one of its options is malformed"),
        ("redis://user:secret@host/0?db=secret", "its port or one of its options is malformed"),
        ("redis://user:secret@host/0?colour=secret", "its options cannot be used to reach host:6379"),
        ("unix://", "it names no socket"),
    ],
)
def test_a_url_that_is_none_is_refused_without_its_password(url: str, reason: str) -> None:
    with pytest.raises(StoreError) as refusal:
        client.connect(url)
    assert str(refusal.value) == (
        f"the Redis URL cannot be used: {reason}; write redis://user:password@host:port/db, "
        "rediss://... for TLS, or unix:///path/to/socket"
    )


def test_an_unreachable_redis_is_one_line_without_the_password() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
        port = unused.getsockname()[1]
        with pytest.raises(StoreError) as refusal:
            client.connect(f"redis://user:secret@127.0.0.1:{port}")
    text = str(refusal.value)
    assert text.startswith(f"Redis at 127.0.0.1:{port} does not answer: ")
    assert "secret" not in text
    assert "\n" not in text


def test_a_server_that_accepts_and_says_nothing_is_given_up_after_the_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        began_s = time.monotonic()
        with pytest.raises(StoreError, match="does not answer"):
            client.connect(f"redis://:secret@127.0.0.1:{silent.getsockname()[1]}", timeout_s=0.2)
        assert time.monotonic() - began_s < 1.0


def test_a_wrong_password_is_said_and_not_shown(redis_url: str, redis_client: redis.Redis) -> None:
    with pytest.raises(
        StoreError, match="refuses the user name or password; put the right ones into the URL"
    ) as refusal:
        client.connect(with_user(redis_url, "nobody"))
    assert "secret" not in str(refusal.value)


def test_a_redis_that_would_lose_data_is_refused_with_the_lines_that_mend_it(
    redis_url: str, default_user: redis.Redis
) -> None:
    default_user.config_set("appendonly", "no")
    default_user.config_set("maxmemory-policy", "allkeys-lru")
    with pytest.raises(StoreError) as refusal:
        client.connect(redis_url)
    assert str(refusal.value).endswith(
        "may lose studies: appendonly is 'no', not 'yes' and maxmemory-policy is 'allkeys-lru', not 'noeviction'; mend "
        "it with: CONFIG SET appendonly yes; CONFIG SET maxmemory-policy noeviction; CONFIG REWRITE"
    )


def test_where_config_is_forbidden_info_is_believed(redis_url: str, default_user: redis.Redis) -> None:
    default_user.execute_command("ACL", "SETUSER", "manager", "on", ">secret", "~*", "+@all", "-config")
    client.connect(with_user(redis_url, "manager")).close()
    default_user.config_set("maxmemory-policy", "volatile-lru")
    with pytest.raises(StoreError, match="maxmemory-policy is 'volatile-lru', not 'noeviction'; mend it with"):
        client.connect(with_user(redis_url, "manager"))
    default_user.config_set("maxmemory-policy", "noeviction")
    default_user.config_set("appendonly", "no")
    with pytest.raises(StoreError, match="appendonly is 'no', not 'yes'; mend it with"):
        client.connect(with_user(redis_url, "manager"))


def test_where_config_and_info_are_forbidden_the_user_is_told(redis_url: str, default_user: redis.Redis) -> None:
    default_user.execute_command("ACL", "SETUSER", "manager", "on", ">secret", "~*", "+@all", "-config", "-info")
    with pytest.raises(StoreError, match="allow it CONFIG GET or INFO"):
        client.connect(with_user(redis_url, "manager"))


def test_an_error_inside_the_block_becomes_one_line_that_says_what_was_done() -> None:
    with pytest.raises(StoreError, match=r"^Redis failed while counting: a b$"), client.redis_errors("counting"):
        raise redis.ResponseError("a\n b")


def test_the_clock_of_redis_has_microseconds(redis_client: redis.Redis) -> None:
    assert abs(client.server_time_s(redis_client) - time.time()) < 5.0


@pytest.mark.parametrize(
    "url", ["redis://198.51.100.7:6380", "rediss://198.51.100.7:6380", "redis://[2001:db8::1]:6380"]
)
def test_a_redis_in_the_network_without_a_password_is_refused_before_it_is_asked(url: str) -> None:
    began_s = time.monotonic()
    with pytest.raises(StoreError) as refusal:
        client.connect(url)
    assert time.monotonic() - began_s < 1.0
    host = "2001:db8::1" if "2001" in url else "198.51.100.7"
    assert str(refusal.value) == (
        f"Redis at {host}:6380 is beyond this machine and the URL has no password: whoever reaches that port could "
        "read and change every study; give it one (`requirepass`, and here in TUNER_REDIS_PASSWORD), or "
        "allow it by --insecure"
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis://",
        "redis://localhost",
        "redis://127.0.0.2:6380/1",
        "redis://[::1]:6380",
        "redis://:secret@198.51.100.7",
        "redis://198.51.100.7?password=secret",
        "rediss://198.51.100.7?ssl_certfile=/nowhere",
        "unix:///run/redis.sock",
    ],
)
def test_a_redis_of_this_machine_or_with_a_secret_is_not_taken_for_open(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def ping(self: redis.Redis) -> None:
        asked.append(url)
        raise redis.ConnectionError("nobody is asked in this test")

    monkeypatch.setattr(redis.Redis, "ping", ping)
    with pytest.raises(StoreError, match="does not answer"):
        client.connect(url)
    with pytest.raises(StoreError, match="does not answer"):
        client.connect("redis://198.51.100.7", insecure=True)
    assert asked == [url, url]


def test_bytes_that_are_not_text_are_one_line_and_leave_the_connection_usable(
    redis_url: str, redis_client: redis.Redis
) -> None:
    with redis.Redis.from_url(redis_url) as raw:
        raw.rpush("list", b"one", b"\x80\x04pickle", b"three")
    with pytest.raises(StoreError, match=r"^Redis failed while looking: it holds bytes that are not text \(b'\\x80"):  # noqa: SIM117
        with client.redis_errors("looking"):
            redis_client.lrange("list", 0, -1)
    assert redis_client.lindex("list", 2) == "three"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (redis.ConnectionError("refused"), StoreUnavailable),
        (redis.TimeoutError("late"), StoreUnavailable),
        (redis.BusyLoadingError("loading"), StoreUnavailable),
        (redis.OutOfMemoryError("full"), StoreUnavailable),
        (redis.AuthenticationError("no"), StoreError),
        (redis.ResponseError("NOAUTH Authentication required."), StoreError),
        (redis.ResponseError("WRONGTYPE"), StoreError),
    ],
)
def test_what_may_pass_is_told_from_what_will_not(error: redis.RedisError, kind: type[StoreError]) -> None:
    with pytest.raises(StoreError) as raised, client.redis_errors("counting"):
        raise error
    assert type(raised.value) is kind


def test_a_text_above_one_mebibyte_is_not_taken(redis_client: redis.Redis) -> None:
    redis_client.set("key", "x" * (client.LARGEST_VALUE + 1))
    with pytest.raises(StoreError, match="the spec of study 's' cannot be read: key holds 1048577 characters"):
        client.get_text(redis_client, "key", "the spec of study 's'")
    assert client.get_text(redis_client, "nothing", "it") is None
