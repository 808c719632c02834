from __future__ import annotations

import json

from tuner.training.checkpoint_ref import CheckpointRef


def test_a_reference_survives_json() -> None:
    ref = CheckpointRef("/c/epoch-0003.safetensors", "ab" * 32, 3, 0.5)
    assert CheckpointRef.from_dict(json.loads(json.dumps(ref.as_dict()))) == ref
