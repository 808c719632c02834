"""`import tuner` as its users have it: the examples of docs/python.md as a script, and a notebook in a real kernel."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.program import new_program

pytestmark = [pytest.mark.integration]
ROOT = Path(__file__).parent.parent.parent
PAGE = (ROOT / "docs" / "python.md").read_text()
EXAMPLES = "\n".join(re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL))


@pytest.mark.timeout(200)
def test_the_examples_of_the_page_run_one_after_the_other_in_one_process():
    with new_program() as program:
        script = program.home / "page.py"
        script.write_text(EXAMPLES)
        result = subprocess.run(
            [sys.executable, script],
            env=program.environment,
            cwd=program.home,
            capture_output=True,
            text=True,
            timeout=190,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        assert result.stderr == ""
        lines = result.stdout.splitlines()
        assert "['from-python', 'digits']" in lines
        assert "from-python complete 4 trials" in lines
        assert any(line.startswith("<study digits: complete, 2 of 2 trials, best ") for line in lines)
        assert lines[-1].startswith("there is no study 'no-such-study'")
        assert (program.home / "from-python-best" / "model.onnx").is_file()
        # The command line and Python see the same studies.
        assert "6 of 6 finished" in program("status", "from-python")


@pytest.mark.timeout(60)
def test_the_examples_of_the_page_are_typed(tmp_path):
    script = tmp_path / "page.py"
    wrong = "\nresult: int = tuner.load().trials[0].params\n"
    script.write_text(EXAMPLES + wrong)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(script)]
    printed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60).stdout.splitlines()
    assert len(printed) == 1, printed
    assert 'has type "dict[str, Any]", variable has type "int"' in printed[0]


OWN_RAY = """
import ray
_ = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="CRITICAL")
"""
INTERRUPTED = """
import os, signal, threading, time
import tuner

def interrupt():
    while not any(trial.values for name in tuner.studies() for trial in tuner.load(name).trials):
        time.sleep(0.2)
    os.kill(os.getpid(), signal.SIGINT)

threading.Thread(target=interrupt).start()
study = tuner.search("digits", gpus=0, trials=500, max_epochs=3, name="cut")
study
"""
AFTER = """
print(ray.is_initialized(), signal.getsignal(signal.SIGINT) is signal.default_int_handler, study.why_stopped)
print(sorted(name for name in os.environ if name.startswith("TUNE_")))
"""
IN_A_THREAD = """
finished = sum(trial.is_finished for trial in study.trials)
thread = threading.Thread(target=study.resume, kwargs={"trials": len(study.trials) + 1, "progress": False})
thread.start()
thread.join()
print(study.state, ray.is_initialized())
"""


@pytest.mark.timeout(200)
def test_a_notebook_shows_one_table_in_place_stops_when_interrupted_and_keeps_its_own_ray(tmp_path, monkeypatch):
    with new_program() as program:
        for name in [name for name in os.environ if name.startswith("TUNE_")]:
            monkeypatch.delenv(name)  # of a driver that ran in this very process
        for name, value in program.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))
        monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
        notebook = nbformat.v4.new_notebook()
        notebook.cells = [nbformat.v4.new_code_cell(cell) for cell in (OWN_RAY, INTERRUPTED, AFTER, IN_A_THREAD)]
        NotebookClient(notebook, timeout=180, resources={"metadata": {"path": str(program.home)}}).execute()

    search, after, resumed = (cell.outputs for cell in notebook.cells[1:])
    assert {(output.output_type, output.get("name")) for output in search} == {
        ("stream", "stdout"),
        ("display_data", None),
        ("execute_result", None),
    }, search
    printed = "".join(output.text for output in search if output.output_type == "stream").splitlines()
    assert [line.split(":")[0] for line in printed] == ["data set digits", "study cut"]
    (table,) = [output.data for output in search if output.output_type == "display_data"]
    assert table["text/html"].count("<table>") == 1
    assert "stopping (interrupted): waiting for what runs" in table["text/html"]
    assert "running" not in table["text/html"]
    assert "500 trials done" in table["text/plain"].splitlines()[-2].replace("/", " ")
    assert search[-1].data["text/plain"].startswith("<study cut: stopped, ")
    assert "".join(output.text for output in after).splitlines() == ["True True interrupted", "[]"]
    assert "".join(output.text for output in resumed).splitlines() == ["complete True"]
