"""Grad-CAM (Selvaraju et al. 2017, "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based Localization"):
where in a picture a convolutional network found what speaks for a class.

Shapes: N pictures, C channels, H height and W width in pixels, K classes; A feature maps of h x w.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tuner.errors import UsageError


def grad_cam(model: nn.Module, pictures: Tensor, classes: Tensor) -> Tensor:
    """Heat maps, float32 N x H x W from 0 to 1, of what in each picture speaks for its class.

    model: float N x C x H x W, normalised, to logits N x K; used in evaluation mode, and left as it was. Not to
        probabilities, whose gradient vanishes where the network is sure.
    pictures: what `model` takes. classes: int64 N, the class to explain for each picture.

    A picture in which nothing speaks for the class gets zeros. Raises UsageError if the model has no two-dimensional
    convolution.
    """
    was_training = model.training
    model.eval()
    kept: list[Tensor] = []
    handles = [layer.register_forward_hook(lambda m, _, output: _keep(kept, m, output)) for layer in model.modules()]
    try:
        with torch.enable_grad():
            # The pictures ask for the gradient: the weights may all be frozen.
            logits = model(pictures.detach().clone().requires_grad_())
            if not kept:
                raise UsageError(f"Grad-CAM needs a convolution (nn.Conv2d), and this {type(model).__name__} runs none")
            # Less the mean of all classes: what they share changes no probability, and the first logit of a network
            # with one sigmoid output is 0 whatever the picture.
            chosen = (logits.gather(1, classes.view(-1, 1)) - logits.mean(dim=1, keepdim=True)).sum()
            gradients = torch.autograd.grad(chosen, kept, allow_unused=True)
    finally:
        for handle in handles:
            handle.remove()
        model.train(was_training)
    maps, slope = next(
        (maps, slope) for maps, slope in zip(kept[::-1], gradients[::-1], strict=True) if slope is not None
    )
    with torch.no_grad():
        weights = slope.mean(dim=(2, 3), keepdim=True)  # equation 1: alpha, N x A x 1 x 1
        heat = torch.relu((weights * maps).sum(dim=1, keepdim=True)).float()  # equation 2: N x 1 x h x w
        heat = nn.functional.interpolate(heat, size=pictures.shape[2:], mode="bilinear", align_corners=False)
        highest = heat.amax(dim=(2, 3), keepdim=True)
        return (heat / highest.clamp_min(torch.finfo(heat.dtype).tiny)).squeeze(1)


def _keep(kept: list[Tensor], layer: nn.Module, output: object) -> None:
    """Keep the output of the last convolution that ran, and those of the same h x w after it.

    The last of these is what the paper means by the last feature maps: behind norm, activation and the sum of a
    residual block, and before the pooling that halves them.
    """
    if not isinstance(output, Tensor) or output.dim() != 4:
        return
    if isinstance(layer, nn.Conv2d):
        kept[:] = [output]
    elif kept and output.shape[2:] == kept[0].shape[2:]:
        kept.append(output)
