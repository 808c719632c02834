"""cluster/monitoring/: Prometheus finds Ray, Grafana finds Prometheus and the dashboard."""

from __future__ import annotations

from tests.deploy.files import ROOT, compose, documents

MONITORING = ROOT / "cluster" / "monitoring"
SERVICES = compose()["services"]


def test_prometheus_asks_the_head_of_the_compose_file_with_the_token_that_it_is_given():
    (job,) = documents(MONITORING / "prometheus.yml")[0]["scrape_configs"]
    (discovery,) = job["http_sd_configs"]
    assert discovery["url"] == "http://ray-head:8265/api/prometheus/sd"
    assert "--dashboard-port=8265" in SERVICES["ray-head"]["command"]
    (secret,) = SERVICES["prometheus"]["secrets"]
    assert discovery["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret}"}


def test_grafana_finds_prometheus():
    (source,) = documents(MONITORING / "grafana" / "datasources" / "prometheus.yaml")[0]["datasources"]
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in SERVICES


def test_grafana_loads_the_folder_of_the_dashboard():
    (provider,) = documents(MONITORING / "grafana" / "dashboards" / "tuner.yaml")[0]["providers"]
    mounted = dict(volume.split(":")[:2][::-1] for volume in SERVICES["grafana"]["volumes"])
    folder = (ROOT / "docker" / mounted[provider["options"]["path"]]).resolve()
    assert [path.name for path in folder.glob("*.json")] == ["tuner.json"]
    assert (ROOT / "docker" / mounted["/etc/grafana/provisioning"]).resolve() == MONITORING / "grafana"
