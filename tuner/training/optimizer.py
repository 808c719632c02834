"""SGD with Nesterov momentum and AdamW, with the same decoupled weight decay; and Adam as it was before that."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.adam import adam
from torch.optim.sgd import sgd

from tuner.training.config import Hyperparameters

_ADAM_BETA2, _ADAM_EPSILON = 0.999, 1e-8


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

    The steps are torch's functions. Its classes import its compiler when they are made, seconds in each new process.
    """

    def __init__(self, model: nn.Module, hp: Hyperparameters) -> None:
        self._hp = hp
        self._decay = 0.0 if hp.optimizer == "adam" else hp.l2
        self._parameters = list(model.parameters())
        self._kernels = [parameter for parameter in self._parameters if parameter.ndim >= 2]
        self._others = [parameter for parameter in self._parameters if parameter.ndim < 2]
        self._state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Decay the kernels, apply the gradients at learning rate `rate`, and clear the gradients."""
        kernels, _ = _with_gradient(self._kernels)
        if self._decay:
            for kernel in kernels:
                kernel.mul_(1 - rate * self._decay)
        if self._hp.optimizer == "sgd":
            self._sgd(rate)
        elif self._hp.optimizer == "adam":
            self._adam(self._kernels, rate, weight_decay=self._hp.l2)
            self._adam(self._others, rate)
        else:
            self._adam(self._parameters, rate)
        if self._hp.l1:
            for kernel in kernels:
                kernel.copy_(functional.softshrink(kernel, rate * self._hp.l1))
        for parameter in self._parameters:
            parameter.grad = None

    def _sgd(self, rate: float) -> None:
        parameters, gradients = _with_gradient(self._parameters)
        sgd(
            parameters,
            gradients,
            list(self._state_of(parameters, "momentum_buffer")) if self._hp.momentum else [],
            weight_decay=0.0,
            momentum=self._hp.momentum,
            lr=rate,
            dampening=0.0,
            nesterov=self._hp.momentum > 0,
            maximize=False,
            fused=True,
        )

    def _adam(self, of: Sequence[Tensor], rate: float, *, weight_decay: float = 0.0) -> None:
        parameters, gradients = _with_gradient(of)
        adam(
            parameters,
            gradients,
            self._state_of(parameters, "exp_avg"),
            self._state_of(parameters, "exp_avg_sq"),
            [],
            self._state_of(parameters, "step"),
            amsgrad=False,
            beta1=self._hp.momentum,
            beta2=_ADAM_BETA2,
            lr=rate,
            weight_decay=weight_decay,
            eps=_ADAM_EPSILON,
            maximize=False,
            fused=True,
        )

    def _state_of(self, parameters: list[Tensor], name: str) -> list[Tensor]:
        """For each parameter the tensor `name`, zeros at first: `step` is one number, the others are of its shape."""
        found = []
        for parameter in parameters:
            state = self._state.setdefault(parameter, {})
            if name not in state:
                state[name] = torch.zeros_like(parameter) if name != "step" else _zero(parameter.device)
            found.append(state[name])
        return found

    def tensors(self) -> dict[str, Tensor]:
        """The state, on the CPU, as `<index of the parameter>.<name>`."""
        return {
            f"{index}.{name}": value.detach().to("cpu", copy=True)
            for index, parameter in enumerate(self._parameters)
            for name, value in self._state.get(parameter, {}).items()
        }

    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what `tensors` gave."""
        self._state.clear()
        for key, value in tensors.items():
            index, name = key.split(".")
            parameter = self._parameters[int(index)]
            if value.shape == parameter.shape:
                # In the parameter's memory order: the fused kernels walk both side by side.
                own = torch.empty_like(parameter).copy_(value)
            else:
                own = value.to(parameter.device)
            self._state.setdefault(parameter, {})[name] = own


def _zero(device: torch.device) -> Tensor:
    """A number as the fused kernels read it, whatever the default is."""
    return torch.zeros((), dtype=torch.float32, device=device)


def _with_gradient(parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Those that have one, and their gradients. Raises RuntimeError for a sparse one, which the kernels do not take."""
    pairs = [(parameter, parameter.grad) for parameter in parameters if parameter.grad is not None]
    if any(gradient.is_sparse for _, gradient in pairs):
        raise RuntimeError(
            "a layer has sparse gradients, with which this optimizer cannot step: make it with sparse=False"
        )
    return [parameter for parameter, _ in pairs], [gradient for _, gradient in pairs]
