"""The tutorial way to train: PIL transforms in a `DataLoader`, fp32. Needs torch, torchvision and Pillow.

    python benchmarks/speed/tutorial.py '{"data_dir": ..., "cache": ..., "device": "cpu", "workers": 2, "images": 5000}'

trains in a process of its own and prints one line of JSON. The pictures are held as arrays in memory and become PIL
pictures one by one, as torchvision's own CIFAR-10 does it; read from JPEG files they would take longer.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from ours import hyperparameters, load
from PIL import Image
from sections import PICTURES, milliseconds, named
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from tuner.training import models
from tuner.training.data import TrainingData


class Pictures(Dataset[tuple[torch.Tensor, int]]):
    """uint8 N x H x W x C and labels, with transforms; the same as `torchvision.datasets.CIFAR10` holds."""

    def __init__(self, images: NDArray[np.uint8], labels: list[int], transform: transforms.Compose) -> None:
        self._images = images.squeeze(-1) if images.shape[-1] == 1 else images
        self._labels = labels
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self._transform(Image.fromarray(self._images[index])), self._labels[index]


def pictures(data: TrainingData, indices: torch.Tensor, *, training: bool, more: Sequence[object] = ()) -> Pictures:
    """Those at `indices`, cropped and flipped for training; `more` transforms act on the tensors."""
    side = data.info.height
    moves = [transforms.RandomCrop(side, padding=side // 8), transforms.RandomHorizontalFlip()] if training else []
    mean, std = ((values / 255).tolist() for values in (data.mean, data.std))
    transform = transforms.Compose([*moves, transforms.ToTensor(), transforms.Normalize(mean, std), *more])
    where = indices.cpu()
    return Pictures(data.images.cpu()[where].numpy(), data.labels.cpu()[where].tolist(), transform)


def loader(dataset: Pictures, batch_size: int, workers: int, device: str, *, training: bool) -> DataLoader[object]:
    """As tutorials write it; the processes stay from epoch to epoch."""
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=training,
        drop_last=training,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device == "cuda",
    )


def endless(batches: DataLoader[object]) -> Iterator[object]:
    """Epoch after epoch."""
    while True:
        yield from batches


def train(data: TrainingData, device: str, workers: int, images: int) -> float:
    """Training pictures a second, of so many, after a few batches that do not count; no validation, no checkpoint."""
    training = Tutorial(data, device, workers)
    training.steps(max(4, 2 * workers))
    steps, start_s = max(1, images // training.batch_size), time.perf_counter()
    training.steps(steps)
    return steps * training.batch_size / (time.perf_counter() - start_s)


class Tutorial:
    """The network, its optimizer and its loader."""

    def __init__(self, data: TrainingData, device: str, workers: int) -> None:
        self._device = device
        hp = hyperparameters(device)
        info = data.info
        network = models.build(hp, (info.channels, info.height, info.width), len(info.classes))
        self._network = network.to(device).train()
        self._optimizer = torch.optim.SGD(
            network.parameters(), lr=hp.lr, momentum=hp.momentum, nesterov=True, weight_decay=hp.l2 * (1 - hp.momentum)
        )
        self._loss_of = nn.CrossEntropyLoss(label_smoothing=hp.label_smoothing)
        dataset = pictures(data, data.train_indices, training=True)
        self.batch_size = min(hp.batch_size, len(dataset))
        batches = endless(loader(dataset, self.batch_size, workers, device, training=True))
        self._next_batch = named(PICTURES, lambda: next(batches))

    def steps(self, count: int) -> None:
        """Train so many batches."""
        running_loss = 0.0
        for _ in range(count):
            inputs, labels = self._next_batch()  # type: ignore[misc]
            inputs, labels = inputs.to(self._device, non_blocking=True), labels.to(self._device, non_blocking=True)
            self._optimizer.zero_grad()
            loss = self._loss_of(self._network(inputs), labels)
            loss.backward()
            self._optimizer.step()
            running_loss += loss.item()


def main() -> None:
    """Train what the plan says. The pictures are on the host whatever trains."""
    plan = json.loads(sys.argv[1])
    torch.set_num_threads(plan["threads"])
    data = load(plan["data_dir"], plan["cache"], "cpu")
    if plan.get("sections"):
        training = Tutorial(data, plan["device"], plan["workers"])
        training.steps(4)
        batches = max(1, plan["images"] // training.batch_size)
        print(json.dumps(milliseconds(lambda: training.steps(batches), batches)))
        return
    print(json.dumps({"images_per_s": train(data, plan["device"], plan["workers"], plan["images"])}))


if __name__ == "__main__":
    main()
