"""What a study keeps of the programs that it ran with."""

import json
import subprocess

from tuner import environment as module
from tuner.environment import environment


def test_it_has_versions_and_is_json():
    found = environment()
    assert json.loads(json.dumps(found)) == found
    assert {"torch", "ray", "optuna"} <= set(found["packages"])
    assert found["started_s"] > 1_700_000_000


def test_the_commit_is_the_checkouts_with_a_plus_if_something_changed(tmp_path):
    package = tmp_path / "tuner"
    package.mkdir()
    (package / "a.py").write_text("1")
    assert module._commit(package) == ""
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for command in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "first"]):
        subprocess.run([*git, *command], check=True, capture_output=True)
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    assert module._commit(package) == head
    (package / "a.py").write_text("2")
    assert module._commit(package) == head + "+"
