"""The machines of the cluster that this process has joined, as Ray and its autoscaler know them."""

from __future__ import annotations

import json
import time

from tuner.errors import ClusterError
from tuner.slots import Node

STRICT_WAIT_S = 60.0


def living_nodes() -> list[Node]:
    """What the living machines offer."""
    import ray

    living = [entry.get("Resources", {}) for entry in ray.nodes() if entry["Alive"]]
    return [Node(int(offered.get("CPU", 0)), int(offered.get("GPU", 0))) for offered in living]


def can_grow() -> bool:
    """Whether an autoscaler adds machines for trials that wait.

    Ray has no question for it (2.60). Each head runs an autoscaler that at least looks; one that may only look names
    the kind of each machine after its id, one that adds machines by its configuration.
    """
    import ray
    from ray._private.ray_constants import DEBUG_AUTOSCALING_STATUS
    from ray.autoscaler.v2.sdk import get_cluster_status
    from ray.experimental.internal_kv import _internal_kv_get

    status = json.loads(_internal_kv_get(DEBUG_AUTOSCALING_STATUS) or b"{}")  # version 1 of the autoscaler
    kinds = (status.get("autoscaler_report") or {}).get("node_type_mapping") or {}
    if any(kind != f"node_{node}" for node, kind in kinds.items()):
        return True
    seen = get_cluster_status(ray.get_runtime_context().gcs_address)  # version 2
    nodes = [*seen.active_nodes, *seen.idle_nodes]
    reports = int(seen.stats.autoscaler_version or 0) > 0
    return reports and any(node.ray_node_type_name != f"node_{node.node_id}" for node in nodes)


def wait_for_gpus(gpus: int, where: str, *, ask: bool, timeout_s: float = STRICT_WAIT_S) -> None:
    """Wait until the cluster has that many GPUs; `ask` its autoscaler for them.

    Raises ClusterError after `timeout_s`.
    """
    from ray.autoscaler.sdk import request_resources

    deadline_s = time.monotonic() + timeout_s
    if ask:
        request_resources(bundles=[{"GPU": 1}] * gpus)
    try:
        while (there := sum(node.gpus for node in living_nodes())) < gpus:
            if time.monotonic() >= deadline_s:
                after = f", after {timeout_s:.0f} s" if timeout_s else ""
                raise ClusterError(
                    f"{where} has {there} of the {gpus} GPUs asked for{after}: add machines, or leave "
                    "out --strict-gpus to start with what is there"
                )
            time.sleep(0.5)
    finally:
        if ask:
            request_resources(bundles=[])
