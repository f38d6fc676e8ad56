"""K networks trained at once as one batched network.

A sweep over K settings or seeds is one computation, not a loop: the weights of a layer are stacked to (K, out, in), and a batched matrix
product moves all K networks by one step. No operation mixes networks, so one that diverges fills its own slice with NaN and nothing else.

    network = StackedMLP((64, 32, 10), starts=[0, 0, 1, 1], generator=generator)     # K = 4: two initial weights, each twice
    optimizer = SGD(network, rates=[0.1, 1.0, 0.1, 1.0])
    losses, gradients = network.gradients(x, y)                                      # x (B, 64) or (K, B, 64); losses (K,)
    optimizer.step(gradients)

Shapes: K networks, B samples, F features. Inside, activations are (K, F, B): with the samples last, softmax and batch statistics run along
memory, several times faster than with the classes last. The backward pass is written by hand (a test holds it against autograd): networks
this small would spend most of their time on autograd's bookkeeping.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from demos.core.lazy import torch

if TYPE_CHECKING:
    from torch import Tensor, nn

# Activation → (function, its derivative in terms of its *output*).
ACTIVATIONS: dict[str, tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]] = {
    "relu": (lambda z: z.relu(), lambda out: out.sign()),
    "tanh": (lambda z: z.tanh(), lambda out: 1 - out * out),
    "sigmoid": (lambda z: z.sigmoid(), lambda out: out * (1 - out)),
    "linear": (lambda z: z, lambda out: out * 0 + 1),
}
EPSILON = 1e-5  # in batch normalisation, as in torch.nn.BatchNorm1d


class Stack(Protocol):
    """What an optimiser moves: K problems side by side, their tensors with K first."""

    count: int
    device: torch.device

    def parameters(self) -> list[Tensor]: ...


@dataclass
class Tape:
    """What a forward pass leaves for the backward pass, one item for each hidden layer (for `inputs`, each layer)."""

    inputs: list[Tensor] = field(default_factory=list)  # into each linear layer (K, F, B)
    normalised: list[Tensor] = field(default_factory=list)  # batch norm's x̂ (K, F, B)
    inverse_std: list[Tensor] = field(default_factory=list)  # batch norm's 1/σ (K, F, 1)
    outputs: list[Tensor] = field(default_factory=list)  # of each activation, before dropout (K, F, B)
    masks: Sequence[Tensor] | None = None


class StackedMLP:
    """K fully connected networks: linear → [batch norm] → activation → [dropout] for each hidden layer, then linear.

    sizes: features from input to output, such as (64, 32, 10).
    starts: K numbers from 0; networks with the same number begin with the same weights. Weights are normal with standard deviation
        `gain`/√fan_in (√2 for relu, which is He's; 1 otherwise), biases 0, drawn on the CPU from `generator`.
        Under batch norm the biases stay 0: its shifts do their work.
    dropout: the probability of dropping a unit, one number or a tensor that broadcasts to (K, hidden layers). Masks are drawn by
        `draw_masks` and passed in; without masks nothing is dropped, which is `eval()` (masks are scaled by 1/(1−p), "inverted dropout").
    momentum: weight of the newest batch in the running statistics of batch norm, as in torch.nn.BatchNorm1d.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        starts: Sequence[int],
        generator: torch.Generator,
        *,
        activation: str = "relu",
        batch_norm: bool = False,
        dropout: float | Tensor = 0.0,
        momentum: float = 0.1,
        gain: float | None = None,
        device: torch.device | str = "cpu",
    ) -> None:
        self.sizes, self.activation, self.batch_norm, self.momentum = tuple(sizes), activation, batch_norm, momentum
        self.device, self.count, self.hidden = torch.device(device), len(starts), len(sizes) - 2
        self._act, self._derivative = ACTIVATIONS[activation]
        gain = gain if gain is not None else 2**0.5 if activation == "relu" else 1.0
        self.dropout = torch.as_tensor(dropout, dtype=torch.float32).cpu().expand(self.count, max(self.hidden, 1))

        index = torch.tensor(starts)
        self.weights: list[Tensor] = []  # (K, out, in)
        self.biases: list[Tensor] = []  # (K, out)
        for fan_in, fan_out in pairwise(sizes):
            drawn = torch.randn(max(starts) + 1, fan_out, fan_in, generator=generator) * (gain / fan_in**0.5)
            self.weights.append(drawn[index].to(self.device))
            self.biases.append(torch.zeros(self.count, fan_out, device=self.device))
        normed = sizes[1:-1] if batch_norm else ()
        self.scales = [torch.ones(self.count, width, device=self.device) for width in normed]  # γ (K, F)
        self.shifts = [torch.zeros(self.count, width, device=self.device) for width in normed]  # β (K, F)
        self.running_mean = [torch.zeros(self.count, width, device=self.device) for width in normed]
        self.running_variance = [torch.ones(self.count, width, device=self.device) for width in normed]

    def parameters(self) -> list[Tensor]:
        """All trained tensors, each with K first; `gradients` keeps the same order."""
        return [*self.weights, *self.biases, *self.scales, *self.shifts]

    def draw_masks(self, batch: int, generator: torch.Generator) -> list[Tensor]:
        """Dropout masks (K, F, batch) for each hidden layer, different for every network and sample: 0 or 1/(1−p)."""
        keep = 1 - self.dropout
        masks = []
        for layer, width in enumerate(self.sizes[1:-1]):
            kept = keep[:, layer, None, None]
            drawn = torch.rand(self.count, width, batch, generator=generator) < kept
            masks.append((drawn / kept.clamp_min(1e-6)).to(self.device))
        return masks

    def logits(self, x: Tensor, masks: Sequence[Tensor] | None = None, *, training: bool = False) -> Tensor:
        """Outputs (K, B, classes) for x (B, in) or (K, B, in). `training` uses the batch's own statistics; running ones stay as they are."""
        return self.forward(x, masks, training=training)[0].transpose(1, 2)

    def gradients(self, x: Tensor, y: Tensor, masks: Sequence[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Mean cross-entropy (K,) in nats of a training batch, its gradients (as `parameters`); updates batch norm's running statistics.

        y holds the classes, (B,) or (K, B).
        """
        outputs, tape = self.forward(x, masks, training=True, update=True)
        losses, slope = cross_entropy(outputs, y)
        return losses, self.backward(tape, slope)

    def forward(self, x: Tensor, masks: Sequence[Tensor] | None = None, *, training: bool, update: bool = False) -> tuple[Tensor, Tape]:
        """Outputs (K, classes, B) and the tape for `backward`. `update` moves the running statistics towards the batch's."""
        tape = Tape(masks=masks)
        h = x.expand(self.count, *x.shape[-2:]).transpose(1, 2)
        for layer in range(self.hidden):
            tape.inputs.append(h)
            h = torch.baddbmm(self.biases[layer][..., None], self.weights[layer], h)
            if self.batch_norm:
                h = self._normalise(layer, h, tape, training, update)
            h = self._act(h)
            tape.outputs.append(h)
            if masks is not None:
                h = h * masks[layer]
        tape.inputs.append(h)
        return torch.baddbmm(self.biases[-1][..., None], self.weights[-1], h), tape

    def backward(self, tape: Tape, slope: Tensor) -> list[Tensor]:
        """Gradients (as `parameters`) from `slope`, the loss's gradient by the outputs (K, classes, B), after a forward pass in training."""
        weights, biases, scales, shifts = [], [], [], []
        for layer in range(self.hidden, -1, -1):
            weights.append(torch.bmm(slope, tape.inputs[layer].transpose(1, 2)))
            redundant = self.batch_norm and layer < self.hidden  # batch norm subtracts it again, so its true gradient is 0
            biases.append(torch.zeros_like(self.biases[layer]) if redundant else slope.sum(2))
            if layer == 0:
                break
            slope = torch.bmm(self.weights[layer].transpose(1, 2), slope)
            if tape.masks is not None:
                slope = slope * tape.masks[layer - 1]
            slope = slope * self._derivative(tape.outputs[layer - 1])
            if self.batch_norm:
                normalised = tape.normalised[layer - 1]
                scales.append((slope * normalised).sum(2))
                shifts.append(slope.sum(2))
                # Of the slope, batch norm lets pass only what changes neither the batch's mean nor its variance.
                passed = slope - (shifts[-1][..., None] + normalised * scales[-1][..., None]) / slope.shape[2]
                slope = passed * (self.scales[layer - 1][..., None] * tape.inverse_std[layer - 1])
        return [*weights[::-1], *biases[::-1], *scales[::-1], *shifts[::-1]]

    def _normalise(self, layer: int, z: Tensor, tape: Tape, training: bool, update: bool) -> Tensor:
        if training:
            if z.shape[2] < 2:
                raise ValueError("batch norm in training needs at least 2 samples in a batch")
            mean = z.mean(2, keepdim=True)
            centred = z - mean
            variance = centred.square().mean(2, keepdim=True)  # in two passes: several times faster than torch.var_mean
        else:
            mean, variance = self.running_mean[layer][..., None], self.running_variance[layer][..., None]
            centred = z - mean
        inverse_std = (variance + EPSILON).rsqrt()
        normalised = centred * inverse_std
        tape.normalised.append(normalised)
        tape.inverse_std.append(inverse_std)
        if update:
            unbiased = variance[..., 0] * (z.shape[2] / (z.shape[2] - 1))
            self.running_mean[layer].lerp_(mean[..., 0], self.momentum)
            self.running_variance[layer].lerp_(unbiased, self.momentum)
        return normalised * self.scales[layer][..., None] + self.shifts[layer][..., None]

    def to_sequential(self, k: int) -> nn.Sequential:
        """Network k as an ordinary PyTorch network, with copies of its weights and statistics."""
        nn = torch.nn
        kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "linear": nn.Identity}
        layers: list[nn.Module] = []
        with torch.no_grad():
            for i, (fan_in, fan_out) in enumerate(pairwise(self.sizes)):
                biased = i == self.hidden or not self.batch_norm
                linear = nn.Linear(fan_in, fan_out, bias=biased, device=self.device)
                linear.weight.copy_(self.weights[i][k])
                if biased:
                    linear.bias.copy_(self.biases[i][k])
                layers.append(linear)
                if i == self.hidden:
                    break
                if self.batch_norm:
                    norm = nn.BatchNorm1d(fan_out, eps=EPSILON, momentum=self.momentum, device=self.device)
                    for ours, theirs in (
                        (self.scales, norm.weight), (self.shifts, norm.bias),
                        (self.running_mean, norm.running_mean), (self.running_variance, norm.running_var),
                    ):  # fmt: skip
                        assert theirs is not None
                        theirs.copy_(ours[i][k])
                    layers.append(norm)
                layers.append(kinds[self.activation]())
                if self.dropout[k, i] > 0:
                    layers.append(nn.Dropout(float(self.dropout[k, i])))
        return nn.Sequential(*layers)


def cross_entropy(outputs: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Mean cross-entropy (K,) in nats of outputs (K, classes, B), and its gradient by the outputs. y is (B,) or (K, B)."""
    target = y.expand(outputs.shape[0], outputs.shape[2])[:, None]
    log_p = outputs.log_softmax(1)
    slope = log_p.exp()
    slope.scatter_add_(1, target, torch.full_like(slope[:, :1], -1.0))
    return -log_p.gather(1, target)[:, 0].mean(1), slope.div_(outputs.shape[2])


def error_rate(logits: Tensor, y: Tensor) -> Tensor:
    """The share (K,) of samples whose largest logit (K, B, classes) is not at their class; a row with NaN counts as wrong."""
    wrong = (logits.argmax(2) != y) | logits.isnan().any(2)
    return wrong.float().mean(1)


def diverged_as_infinite(values: Tensor) -> Tensor:
    """The values with NaN as +inf, as charts and means over seeds want it. (`nan_to_num(inf)` alone would make large numbers of the infinite ones.)"""
    return values.masked_fill(values.isnan(), math.inf)


class SGD:
    """One step of gradient descent for each of the stack with its own rate (K,); `momentum` as in torch.optim.SGD."""

    def __init__(self, stack: Stack, rates: Sequence[float] | Tensor, momentum: float = 0.0) -> None:
        self.parameters, self.momentum = stack.parameters(), momentum
        self.rates = torch.as_tensor(rates, dtype=torch.float32, device=stack.device).expand(stack.count)
        self.velocities = [torch.zeros_like(p) for p in self.parameters] if momentum else []

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        """Moves all networks; `factor` scales all rates (a schedule)."""
        rates = self.rates * factor
        for i, (parameter, gradient) in enumerate(zip(self.parameters, gradients, strict=True)):
            if self.momentum:
                gradient = self.velocities[i].mul_(self.momentum).add_(gradient)
            parameter.addcmul_(_along(rates, gradient), gradient, value=-1)


class Adam:
    """Adam (Kingma & Ba, 2015) with a rate (K,) for each network, as torch.optim.Adam."""

    def __init__(self, stack: Stack, rates: Sequence[float] | Tensor, betas: tuple[float, float] = (0.9, 0.999), eps: float = 1e-8) -> None:
        self.parameters, self.betas, self.eps, self.steps = stack.parameters(), betas, eps, 0
        self.rates = torch.as_tensor(rates, dtype=torch.float32, device=stack.device).expand(stack.count)
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]

    def step(self, gradients: Sequence[Tensor], factor: float = 1.0) -> None:
        """Moves all networks; `factor` scales all rates (a schedule)."""
        self.steps += 1
        first, second = self.betas
        rates = self.rates * (factor / (1 - first**self.steps))
        for parameter, gradient, mean, square in zip(self.parameters, gradients, self.means, self.squares, strict=True):
            mean.lerp_(gradient, 1 - first)
            square.mul_(second).addcmul_(gradient, gradient, value=1 - second)
            scale = (square / (1 - second**self.steps)).sqrt_().add_(self.eps)
            parameter.sub_(mean.mul(_along(rates, mean)).div_(scale))


def _along(rates: Tensor, like: Tensor) -> Tensor:
    """(K,) → (K, 1, …) with as many dimensions as `like`."""
    return rates.view(-1, *[1] * (like.dim() - 1))
