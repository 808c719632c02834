"""Makes the schemas beside it: python compact.py compose-spec.json ray.io_rayclusters.yaml ray.io_rayjobs.yaml

Descriptions go, and so do pod templates and the cluster inside a RayJob: tests check the former by Kubernetes' own
schema, and the latter is not used. Kubernetes drops fields that it does not know without a word; here they are errors.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
LEFT_OUT = ("template", "submitterPodTemplate", "rayClusterSpec", "status", "metadata")


def without_descriptions(schema: Any) -> Any:
    """The same schema without the texts that describe it; a property may be called `description` too."""
    if isinstance(schema, list):
        return [without_descriptions(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: without_descriptions(value)
        for key, value in schema.items()
        if not (key in ("description", "deprecated") and not isinstance(value, dict))
    }


def strict(schema: dict[str, Any]) -> dict[str, Any]:
    """A resource's schema that refuses unknown fields and has `{}` where another schema checks better."""
    properties = schema.get("properties")
    found = {key: value for key, value in schema.items() if not key.startswith("x-kubernetes")}
    if properties is not None:
        found["properties"] = {key: {} if key in LEFT_OUT else strict(value) for key, value in properties.items()}
        found["additionalProperties"] = False
    if isinstance(schema.get("items"), dict):
        found["items"] = strict(schema["items"])
    return found


def main(compose: str, *resources: str) -> None:
    """Write each schema in one line."""
    write("compose-spec.json", without_descriptions(json.loads(Path(compose).read_text())))
    for path in resources:
        definition = yaml.safe_load(Path(path).read_text())["spec"]
        (version,) = [version for version in definition["versions"] if version["name"] == "v1"]
        schema = without_descriptions(version["schema"]["openAPIV3Schema"])
        write(f"{definition['names']['kind'].lower()}.json", strict(schema))


def write(name: str, schema: dict[str, Any]) -> None:
    """`schema` as a file beside this one."""
    (HERE / name).write_text(json.dumps(schema, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
