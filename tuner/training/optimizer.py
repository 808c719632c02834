"""SGD with Nesterov momentum and AdamW, with the same decoupled weight decay; and Adam as it was before that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from tuner.training.config import Hyperparameters

_ADAM_BETA2 = 0.999


class Optimizer:
    """Steps the parameters of `model`.

    Weight decay is decoupled (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"): each step multiplies
    the kernels of convolutions and dense layers by 1 - rate x l2, and never touches biases and norms. Classic L2 of
    SGD with momentum m is about 1 / (1 - m) times as strong at the same number. Adam (Kingma & Ba 2015) has
    l2 x kernel in the gradient instead, as Keras has it for a regulariser of l2 / 2.

    L1 is a proximal step after the gradient's (Duchi & Singer 2009, "Efficient Online and Batch Learning Using Forward
    Backward Splitting", 5.1): the same kernels' values move towards 0 by rate x l1 and stop there, so that they do
    become 0.

    What has no gradient in a step is left alone: layers that are frozen, or that the network did not use.
    """

    def __init__(self, model: nn.Module, hp: Hyperparameters) -> None:
        self._decay = 0.0 if hp.optimizer == "adam" else hp.l2
        self._l1 = hp.l1
        self._parameters = list(model.parameters())
        self._kernels = [parameter for parameter in self._parameters if parameter.ndim >= 2]
        self._engine: torch.optim.Optimizer
        if hp.optimizer == "sgd":
            self._engine = torch.optim.SGD(
                self._parameters, lr=hp.lr, momentum=hp.momentum, nesterov=hp.momentum > 0, fused=True
            )
            if hp.momentum:
                # The fused step cannot bear that some parameters have a momentum and others, frozen so far, have none.
                for parameter in self._parameters:
                    self._engine.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
            return
        betas = (hp.momentum, _ADAM_BETA2)
        if hp.optimizer == "adam":
            others = [parameter for parameter in self._parameters if parameter.ndim < 2]
            groups: list[dict[str, Any]] = [{"params": self._kernels, "weight_decay": hp.l2}, {"params": others}]
            self._engine = torch.optim.Adam(groups, lr=hp.lr, betas=betas, fused=True)
        else:
            self._engine = torch.optim.AdamW(self._parameters, lr=hp.lr, betas=betas, weight_decay=0.0, fused=True)

    def step(self, rate: float) -> None:
        """Decay the kernels, apply the gradients at learning rate `rate`, and clear the gradients."""
        kernels = [kernel for kernel in self._kernels if kernel.grad is not None]
        if self._decay:
            with torch.no_grad():
                for kernel in kernels:
                    kernel.mul_(1 - rate * self._decay)
        for group in self._engine.param_groups:
            group["lr"] = rate
        self._engine.step()
        if self._l1:
            with torch.no_grad():
                for kernel in kernels:
                    kernel.copy_(functional.softshrink(kernel, rate * self._l1))
        self._engine.zero_grad(set_to_none=True)

    def tensors(self) -> dict[str, Tensor]:
        """The state, on the CPU, as `<index of the parameter>.<name>`."""
        return {
            f"{index}.{name}": value.detach().to("cpu", copy=True)
            for index, parameter in enumerate(self._parameters)
            for name, value in self._engine.state[parameter].items()
            if isinstance(value, Tensor)
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self._engine.state.clear()
        for key, value in tensors.items():
            index, name = key.split(".")
            parameter = self._parameters[int(index)]
            if value.shape == parameter.shape:
                # In the parameter's memory order: the fused kernels walk both side by side.
                own = torch.empty_like(parameter).copy_(value)
            else:
                own = value.to(parameter.device)
            self._engine.state[parameter][name] = own
