"""The doctor finds what a test has broken, and says what to do; nothing it looks at is changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tuner import doctor
from tuner.doctor import Finding
from tuner.settings import Settings


@pytest.fixture
def examine(tmp_path, redis_home, redis_url, monkeypatch):
    """Runs all checks but Ray's own, which starts one: findings by name."""
    monkeypatch.setattr(doctor, "_ray", lambda address: ("not started", ""))

    def run(**changes):
        settings = Settings(home=redis_home, cache=tmp_path / "cache")
        arguments = {"redis_url": redis_url, "storage": tmp_path / "storage", "address": None, **changes}
        return {finding.what: finding for finding in doctor.examine(settings, **arguments)}

    return run


def test_a_machine_in_order_has_no_remedies(examine):
    findings = examine()
    assert list(findings) == ["Python", "libraries", "home", "storage", "cache", "Redis", "torch", "Ray token", "Ray"]
    assert {what for what, finding in findings.items() if finding.remedy and what != "Ray token"} == set()
    assert "studies, keeps what it is given" in findings["Redis"].seen


def test_a_folder_that_cannot_be_written_is_named(examine, tmp_path):
    (tmp_path / "file").write_text("in the way")
    storage = tmp_path / "file" / "storage"
    assert examine(storage=storage)["storage"].remedy == f"make {storage} writable, or choose another"


def test_a_redis_that_does_not_answer_is_one_finding_among_the_others(examine):
    findings = examine(redis_url="redis://127.0.0.1:1")
    assert "does not answer" in findings["Redis"].remedy
    assert findings["torch"].remedy == ""


def test_a_disk_without_room_is_named(examine, monkeypatch):
    monkeypatch.setattr(doctor, "MIN_FREE_BYTES", 1 << 60)
    assert "free at least" in examine()["storage"].remedy


def test_a_home_that_others_may_enter_is_named(examine, redis_home):
    private = redis_home / "redis"
    private.chmod(0o755)
    try:
        assert examine()["home"] == Finding("home", f"others may enter {private}", f"chmod 700 {private}")
    finally:
        private.chmod(0o700)


def test_a_token_that_others_may_read_is_named(examine, tmp_path, monkeypatch):
    token = tmp_path / "token"
    token.write_text("secret")
    token.chmod(0o644)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(token))
    assert examine()["Ray token"].remedy == f"chmod 600 {token}"


def test_a_missing_library_is_named(examine, monkeypatch):
    monkeypatch.setattr(doctor, "LIBRARIES", ("redis", "no-such-library"))
    assert "no-such-library" in examine()["libraries"].remedy


def test_a_check_that_breaks_is_a_finding_and_ends_nothing(examine, monkeypatch):
    def broken():
        raise RuntimeError("driver mismatch\nmore")

    monkeypatch.setattr(doctor, "_torch", broken)
    findings = examine()
    assert findings["torch"] == Finding("torch", "not usable", "RuntimeError: driver mismatch")
    assert "Ray" in findings


def test_looking_leaves_nothing_behind(examine, tmp_path):
    examine()
    assert [path for path in Path(tmp_path).rglob("*") if path.is_file()] == []
