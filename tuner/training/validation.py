"""A network's scores on the validation pictures.

Shapes: V validation pictures, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.training.data import TrainingData
from tuner.training.metrics import validation_scores

_GPU_BATCH = 512  # at least
# Larger ones are slower: glibc asks the kernel anew for each activation of 32 MiB and more.
_CPU_BATCH = 256


def gpu_evaluation_batch(batch_size: int) -> int:
    """Pictures that are validated at once on a GPU."""
    return max(_GPU_BATCH, 4 * batch_size)


def evaluation_batch(device: torch.device, batch_size: int) -> int:
    """Pictures that are validated at once by a trial that trains with `batch_size`."""
    return _CPU_BATCH if device.type == "cpu" else gpu_evaluation_batch(batch_size)


@torch.inference_mode()
def validate(model: nn.Module, data: TrainingData, *, at_once: int, bf16: bool) -> dict[str, float]:
    """All objectives of `model`, by name (`metrics.validation_scores`).

    The loss is the plain cross-entropy, without the label smoothing and the class weights of the training, which may
    differ from trial to trial: scores of trials are compared.
    """
    model.eval()
    device = data.device
    loss = torch.zeros((), device=device)
    predictions: list[Tensor] = []
    for part in torch.split(data.val_indices, at_once):
        images, labels = data.batch(part)
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            logits = model(images)
        loss += functional.cross_entropy(logits.float(), labels, reduction="sum")
        predictions.append(logits.argmax(dim=1))
    # Read once an epoch: to read each batch's would make the GPU wait for Python.
    truth = data.labels[data.val_indices].cpu().numpy()
    mean_loss = loss.item() / len(truth)
    return validation_scores(truth, torch.cat(predictions).cpu().numpy(), len(data.info.classes), mean_loss)
