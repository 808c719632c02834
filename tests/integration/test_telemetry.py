"""What Prometheus and the Ray dashboard see of a real search, and that the Grafana dashboard asks for just that."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections import defaultdict
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.factories import new_space, new_spec
from tuner.launch import load_study
from tuner.store import catalog, client
from tuner.training.cache import describe
from tuner.training.dataspec import DataSpec

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]
ROOT = Path(__file__).parent.parent.parent
DASHBOARD = json.loads((ROOT / "cluster" / "monitoring" / "tuner.json").read_text())

# The display fails once, and a machine without a GPU tells of one, so that all metrics there are have a value. Metrics
# go away with the search, but here not before they are looked at. The search is over when the driver speaks; Ray
# ends with its standard input.
DRIVER = """
import json, sys
from pathlib import Path
import ray
from ray.util.state import list_actors
from tests.replay import Watcher
from tuner import telemetry
from tuner.search import driver
from tuner.spec import Resources, StudySpec
from tuner.store import catalog, client
from tuner.submit import ray_cluster
from tuner.telemetry import SearchMetrics, WorkerMetrics

telemetry._REPEAT_S = 0.5  # Ray exports each second here, not each tenth
kept = []


class Kept(SearchMetrics):
    def __init__(self, *arguments):
        super().__init__(*arguments)
        kept.append(self)

    def close(self):
        pass


url, cache = sys.argv[1:]
store = client.connect(url)
spec = StudySpec.from_json(catalog.read_spec(store, "test"))
broken = [0]
with ray_cluster(None, Resources(gpus=0, workers=2)) as (slots, dashboard_url):
    driver.SearchMetrics = Kept
    kept.append(WorkerMetrics("other", 7))
    kept[0].epoch(images=1, seconds=0.5, gpu_memory_bytes=2**30)
    watcher = Watcher(lambda trial: 1 / broken.pop() if broken else None)
    driver.run(spec, store, slots, cache=Path(cache), show=watcher.show)
    (node,) = ray.nodes()
    print(json.dumps({
        "metrics": f"http://{node['NodeManagerAddress']}:{node['MetricsExportPort']}/metrics",
        "actors": [actor.repr_name for actor in list_actors(dashboard_url, detail=True, raise_on_missing_output=False)],
    }), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def search(redis_url, cache, tmp_path_factory):
    """A finished search on the digits: (study, samples by name, what its driver saw of its actors)."""
    data = DataSpec(dataset="digits", data_dir="/nowhere")
    spec = new_spec(
        space=new_space(constants={"depth": 2, "batch_size": 64}),
        data=data,
        data_fingerprint=describe(data, cache).fingerprint,
        trials=8,
        max_epochs=3,
        storage=str(tmp_path_factory.mktemp("storage")),
    )
    with client.connect(redis_url) as store:
        store.flushall()
        catalog.create_study(store, "test", spec.to_json())
        process = subprocess.Popen(
            [sys.executable, "-c", DRIVER, redis_url, str(cache)],
            cwd=ROOT,
            env={**os.environ, "RAY_metrics_report_interval_ms": "1000"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            seen = json.loads(process.stdout.readline())
            study = load_study(store, "test")
            yield study, scrape(seen["metrics"], study), seen["actors"]
        finally:
            process.stdin.close()
            process.wait(timeout=60)


def scrape(url, study):
    """Samples by name, once the newest of them are there."""
    deadline_s = time.monotonic() + 30
    while True:
        samples = defaultdict(list)
        with urllib.request.urlopen(url, timeout=30) as answer:
            for family in text_string_to_metric_families(answer.read().decode()):
                for sample in family.samples:
                    if sample.name.startswith("ray_tuner_"):
                        samples[sample.name].append(sample)
        finished = sum(total(samples, "ray_tuner_trials", state=state) for state in ("complete", "pruned", "failed"))
        if finished == len(study.trials) or time.monotonic() > deadline_s:
            return samples
        time.sleep(0.5)


def total(samples, name, **labels):
    mine = {"study": "test", **labels}
    return sum(sample.value for sample in samples[name] if mine.items() <= sample.labels.items())


def test_what_prometheus_sees_is_what_the_record_says(search):
    study, samples, _ = search
    assert {state: total(samples, "ray_tuner_trials", state=state) for state in study.counts} == study.counts
    stops = {rung["epoch"]: rung["stopped"] for rung in study.status()["rungs"]}
    assert {rung: total(samples, "ray_tuner_asha_stops", rung=str(rung)) for rung in stops} == stops
    assert sum(stops.values()) > 0
    assert total(samples, "ray_tuner_best_score") == study.best.value
    epochs = study.status()["epochs_trained"]
    assert total(samples, "ray_tuner_epochs_total") == epochs
    assert total(samples, "ray_tuner_images_total") == epochs * (1295 // 64 * 64)
    assert total(samples, "ray_tuner_epoch_seconds_count") == epochs
    assert total(samples, "ray_tuner_worker_idle_seconds_total") > 0
    assert total(samples, "ray_tuner_redis_append_seconds_count") > epochs
    assert total(samples, "ray_tuner_hook_errors_total") > 0
    assert total(samples, "ray_tuner_gpu_memory_bytes", study="other", slot="7") == 2**30


def test_the_names_of_workers_tell_study_and_slot(search):
    _, samples, actors = search
    assert sorted(name for name in actors if name) == ["tuner: test slot 0", "tuner: test slot 1"]
    assert {sample.labels["slot"] for sample in samples["ray_tuner_epochs_total"]} == {"0", "1", "7"}


def test_the_grafana_dashboard_asks_for_all_that_is_exported_and_nothing_else(search):
    _, samples, _ = search
    labels = {name: {label for sample in found for label in sample.labels} for name, found in samples.items()}
    asked = set()
    for expression in expressions():
        names = set(re.findall(r"\bray_tuner_\w+", expression))
        assert names, f"{expression} asks for nothing of ours"
        assert names <= labels.keys(), expression
        used = {
            label for matchers in re.findall(r"\{(.*?)\}", expression) for label in re.findall(r"(\w+)\s*=", matchers)
        }
        used |= {label for grouping in re.findall(r"by \((.*?)\)", expression) for label in grouping.split(", ")}
        for name in names:
            assert used <= labels[name], expression
        asked |= names
    exported = {re.sub("_(bucket|count|sum)$", "", name) for name in labels}
    assert {re.sub("_(bucket|count|sum)$", "", name) for name in asked} == exported


def expressions():
    """Every query of the dashboard, with those that fill its variables."""
    queries = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
    for variable in DASHBOARD["templating"]["list"]:
        if found := re.fullmatch(r"label_values\((\w+), (\w+)\)", variable.get("definition", "")):
            queries.append(f"count by ({found[2]}) ({found[1]})")
    return queries


def test_the_grafana_dashboard_loads_by_itself():
    assert [variable["name"] for variable in DASHBOARD["templating"]["list"]] == ["datasource", "study"]
    assert DASHBOARD["uid"] == "tuner"
    # What `export for sharing` of Grafana leaves behind must be filled in by hand.
    assert "__inputs" not in DASHBOARD
    ids = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(ids)) == len(ids)
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {"${datasource}"}
