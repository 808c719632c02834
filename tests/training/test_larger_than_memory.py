"""A data set that does not fit into memory is decoded, described, checked and trained on from its file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tuner.training.cache import open_cached
from tuner.training.dataspec import DataSpec

ROOT = Path(__file__).parent.parent.parent

LIMITED = """
import json, re, resource, sys
from pathlib import Path
import numpy as np, torch
from tuner.training.checks import check
from tuner.training.config import Hyperparameters
from tuner.training.data import load_training_data
from tuner.training.dataspec import DataSpec
from tuner.training.loop import TrialTrainer

def status(key):
    return int(re.search(rf"{key}:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024

def work(name):
    spec, cache = DataSpec(str(Path(sys.argv[1], name)), "", image_size=128), Path(sys.argv[1], "cache")
    data = load_training_data(spec, cache, "cpu")
    hp = Hyperparameters(depth=1, width=1, batch_size=16, kernel_size=1, augment=0.0, flip="off")
    report = TrialTrainer(hp, data, max_epochs=1, seed=0, device="cpu").run_epoch()
    return data.images.nbytes, report.images, [finding.kind for finding in check(spec, cache)]

torch.set_num_threads(1)
work("small")  # libraries import and allocate much when they are first used
limit = int(sys.argv[2])
allowed = status("VmData") + limit
resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))
try:
    np.ones(limit * 3 // 2, np.uint8)
    refused = False
except MemoryError:
    refused = True
print(json.dumps([refused, *work("large")]))
"""


@pytest.mark.timeout(180)
def test_a_set_four_times_the_memory_that_a_process_may_have_is_decoded_and_trained_on(tmp_path: Path) -> None:
    limit, count = 48 << 20, 4208
    originals = []
    for label, name in enumerate(("dark", "light")):
        originals.append(tmp_path / f"{name}.jpg")
        Image.new("RGB", (128, 128), (60 + 120 * label,) * 3).save(originals[-1])
    held_out = [(f"{size}/{split}", 8) for size in ("large", "small") for split in ("val", "test")]
    for split, number_of in (("large/train", count), ("small/train", 32), *held_out):
        for number in range(number_of):
            folder = tmp_path / split / ("dark", "light")[number % 2]
            folder.mkdir(parents=True, exist_ok=True)
            os.link(originals[number % 2], folder / f"{number}.jpg")
    command = [sys.executable, "-c", LIMITED, str(tmp_path), str(limit)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=170)
    assert result.returncode == 0, result.stderr
    refused, decoded_bytes, trained, findings = json.loads(result.stdout)
    assert refused, "the limit is one"
    assert decoded_bytes > 4 * limit
    assert trained == count
    assert findings == ["leak", "leak", "leak", "copies"]


def test_a_decoded_set_larger_than_memory_and_swap_together_can_be_opened(make_folder, tmp_path: Path) -> None:
    root = make_folder({"train/cat": 3, "train/dog": 3, "test/cat": 1})
    spec = DataSpec(str(root), "")
    folder = open_cached(spec, tmp_path / "cache").folder
    sizes = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    memory = sum(int(sizes[key].removesuffix("kB")) * 1024 for key in ("MemTotal", "SwapTotal"))
    count = memory // (1024 * 1024 * 3) + 1000
    with (folder / "images.npy").open("wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": (count, 1024, 1024, 3)}
        np.lib.format.write_array_header_1_0(file, header)
        file.truncate(file.tell() + count * 1024 * 1024 * 3)  # a hole: it takes no room on the disk
    np.save(folder / "labels.npy", np.arange(count) % 2)
    np.save(folder / "digests.npy", np.arange(count, dtype=np.uint64))
    cached = open_cached(spec, tmp_path / "cache")
    assert cached.images.nbytes > memory
    assert cached.images[-1].max() == 0
