"""cluster/kubernetes/: against the schemas of Kubernetes and KubeRay, and against each other."""

from __future__ import annotations

import shutil
import subprocess

import jsonschema
import kubernetes_validate
import pytest
import yaml

from tests.deploy.files import KUBERNETES, documents, pod_specs, resource, resources, schema

KUBERNETES_VERSION = "1.37"
CLUSTER = resource("RayCluster")
KUSTOMIZATION = documents(KUBERNETES / "kustomization.yaml")[0]


@pytest.mark.parametrize("found", resources(), ids=lambda found: f"{found['kind']}-{found['metadata'].get('name', '')}")
def test_each_resource_is_what_its_schema_allows(found):
    if found["apiVersion"] == "ray.io/v1":
        jsonschema.validate(found, schema(found["kind"].lower()))
    else:
        kubernetes_validate.validate(found, KUBERNETES_VERSION, strict=True)


@pytest.mark.parametrize("name", pod_specs())
def test_each_pod_is_what_the_schema_allows(name):
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod_specs()[name]}
    kubernetes_validate.validate(pod, KUBERNETES_VERSION, strict=True)


def test_the_schemas_refuse_a_mistyped_key():
    wrong = resource("RayCluster")
    wrong["spec"]["autoscalerOption"] = {}
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema("raycluster"))
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate({**resource("StatefulSet"), "speck": {}}, KUBERNETES_VERSION, strict=True)


def test_the_kustomization_lists_every_file_but_the_search_that_is_an_action():
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml", "search.yaml"}
    assert set(KUSTOMIZATION["resources"]) == files
    assert [path for made in KUSTOMIZATION["configMapGenerator"] for path in made["files"]] == ["redis.conf"]


def test_the_password_comes_from_a_file_that_git_ignores():
    (secret,) = KUSTOMIZATION["secretGenerator"]
    path = secret["files"][0].removeprefix("password=")
    ignored = subprocess.run(["git", "check-ignore", "-q", KUBERNETES / path], cwd=KUBERNETES, check=False)
    assert ignored.returncode == 0


@pytest.mark.skipif(shutil.which("kubectl") is None, reason="no kubectl on this machine")
def test_kustomize_puts_it_together(tmp_path):
    folder = tmp_path / "kubernetes"
    shutil.copytree(KUBERNETES, folder, ignore=shutil.ignore_patterns("secrets"))
    (folder / "secrets").mkdir()
    (folder / "secrets" / "redis-password").write_text("made up here")
    result = subprocess.run(
        ["kubectl", "kustomize", folder], check=True, capture_output=True, text=True, timeout=60
    ).stdout
    made = list(yaml.safe_load_all(result))
    assert {part["metadata"].get("namespace") for part in made if part["kind"] != "Namespace"} == {"tuner"}
    (image,) = KUSTOMIZATION["images"]
    assert result.count(f"image: {image['newName']}:{image['newTag']}\n") == 2
    (cluster,) = [part for part in made if part["kind"] == "RayCluster"]
    assert cluster["spec"]["workerGroupSpecs"] is not None


def test_names_that_resources_refer_to_are_there():
    made = {made["name"] for made in KUSTOMIZATION["configMapGenerator"] + KUSTOMIZATION["secretGenerator"]}
    claims = {r["metadata"]["name"] for r in resources() if r["kind"] == "PersistentVolumeClaim"}
    for name, pod in pod_specs().items():
        for volume in pod["volumes"]:
            if "secret" in volume:
                assert volume["secret"]["secretName"] in made, name
            elif "configMap" in volume:
                assert volume["configMap"]["name"] in made, name
            elif "persistentVolumeClaim" in volume:
                assert volume["persistentVolumeClaim"]["claimName"] in claims, name
        templates = {"data"} if name == "redis" else set()
        for container in pod["containers"]:
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= templates | {volume["name"] for volume in pod["volumes"]}, name
    password = CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisPassword"]["valueFrom"]["secretKeyRef"]
    assert password == {"name": "redis-password", "key": "password"}
    assert resource("RayJob")["spec"]["clusterSelector"] == {"ray.io/cluster": CLUSTER["metadata"]["name"]}


def test_redis_is_where_the_cluster_looks_for_it():
    (port,) = resource("Service")["spec"]["ports"]
    place = f"{resource('Service')['metadata']['name']}:{port['port']}"
    environment = {entry["name"]: entry["value"] for entry in pod_specs()["head"]["containers"][0]["env"]}
    assert environment["TUNER_REDIS"] == f"redis://{place}"
    assert CLUSTER["spec"]["gcsFaultToleranceOptions"]["redisAddress"] == place
    assert resource("Service")["spec"]["selector"] == {"app": "redis"}


def test_the_ports_of_ray_are_those_that_its_containers_declare():
    head = CLUSTER["spec"]["headGroupSpec"]
    declared = {port["name"]: port["containerPort"] for port in head["template"]["spec"]["containers"][0]["ports"]}
    assert declared == {"gcs-server": int(head["rayStartParams"]["port"]), "dashboard": 8265, "metrics": 8080}
    assert declared["gcs-server"] != 6379


def test_it_is_closed_and_survives_its_head():
    assert CLUSTER["spec"]["authOptions"] == {"mode": "token"}
    assert CLUSTER["spec"]["enableInTreeAutoscaling"] is True
    policies = [found for found in resources() if found["kind"] == "NetworkPolicy"]
    everything = [found for found in policies if found["spec"]["podSelector"] == {}]
    assert [found["spec"].get("ingress", []) for found in everything] == [[]]
    redis = resource("NetworkPolicy", "redis")["spec"]
    assert [port["port"] for rule in redis["ingress"] for port in rule["ports"]] == [6379]


def test_every_worker_has_as_many_gpus_as_it_may_use_and_no_pod_is_without_limits():
    for name, pod in pod_specs().items():
        for container in pod["containers"]:
            limits, requests = container["resources"]["limits"], container["resources"]["requests"]
            assert limits["memory"] == requests["memory"], name  # more memory than asked for may be taken away
            assert "cpu" in limits
            assert limits.get("nvidia.com/gpu") == requests.get("nvidia.com/gpu") == ("1" if "worker" in name else None)


def test_no_pod_runs_as_root_or_with_capabilities():
    for name, pod in pod_specs().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        assert pod["securityContext"]["runAsUser"] > 0, name
        for container in pod["containers"]:
            context = container["securityContext"]
            assert context["allowPrivilegeEscalation"] is False, name
            assert context["capabilities"] == {"drop": ["ALL"]}, name


def test_checkpoints_are_on_a_volume_that_all_nodes_write():
    assert resource("PersistentVolumeClaim")["spec"]["accessModes"] == ["ReadWriteMany"]
    for name, pod in pod_specs().items():
        mounts = {mount["mountPath"] for mount in pod["containers"][0]["volumeMounts"]}
        assert ("/shared" in mounts) == (name != "redis")


def test_the_head_trains_nothing():
    assert CLUSTER["spec"]["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
