"""SGD with Nesterov momentum, or AdamW, with the same decoupled weight decay."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tuner.training.config import Hyperparameters

_ADAM_BETA2 = 0.999


class Optimizer:
    """Steps the parameters of `model`.

    Weight decay is decoupled (Loshchilov & Hutter 2019, "Decoupled Weight Decay Regularization"): each step multiplies
    the kernels of convolutions and dense layers by 1 - rate x l2, and never touches biases and norms. Classic L2 of
    SGD with momentum m is about 1 / (1 - m) times as strong at the same number.
    """

    def __init__(self, model: nn.Module, hp: Hyperparameters) -> None:
        self._l2 = hp.l2
        self._parameters = list(model.parameters())
        self._kernels = [parameter for parameter in self._parameters if parameter.ndim >= 2]
        self._engine: torch.optim.Optimizer
        if hp.optimizer == "sgd":
            self._engine = torch.optim.SGD(
                self._parameters, lr=hp.lr, momentum=hp.momentum, nesterov=hp.momentum > 0, fused=True
            )
        else:
            betas = (hp.momentum, _ADAM_BETA2)
            self._engine = torch.optim.AdamW(self._parameters, lr=hp.lr, betas=betas, weight_decay=0.0, fused=True)

    def step(self, rate: float) -> None:
        """Decay the kernels, apply the gradients at learning rate `rate`, and clear the gradients."""
        with torch.no_grad():
            for kernel in self._kernels:
                kernel.mul_(1 - rate * self._l2)
        for group in self._engine.param_groups:
            group["lr"] = rate
        self._engine.step()
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
