"""24 learning rates × 300 steps on the digits: one stacked network against a loop over ordinary PyTorch networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from benchmarks.core.timing import timed
from demos.core.datasets import load_digits
from demos.core.stacked import SGD, StackedMLP

RATES = torch.logspace(-3, 0, 24)
STEPS = 300
BATCH = 32
SIZES = (64, 32, 10)
Batch = tuple[torch.Tensor, torch.Tensor]


def measure() -> dict[str, Any]:
    """Seconds of both, the best of three taken in turns, on one thread as `run_demo` uses; the losses must agree."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        digits = load_digits()
        batches = torch.randint(0, len(digits.train_y), (STEPS, BATCH), generator=torch.Generator().manual_seed(1))
        data = [(digits.train_x[batch], digits.train_y[batch]) for batch in batches]
        best = {"stacked": float("inf"), "loop": float("inf")}
        for _ in range(3):
            for name, train in (("stacked", _stacked), ("loop", _loop)):
                seconds, losses = timed(train, data)
                best[name] = min(best[name], seconds)
                if name == "stacked":
                    expected = losses
        difference = (losses - expected).abs().max().item()
    finally:
        torch.set_num_threads(threads)
    return {
        "networks": len(RATES),
        "steps": STEPS,
        "sizes": SIZES,
        "batch": BATCH,
        "stacked_s": best["stacked"],
        "loop_s": best["loop"],
        "speedup": best["loop"] / best["stacked"],
        "largest_loss_difference": difference,
    }


def _network() -> StackedMLP:
    return StackedMLP(SIZES, [0] * len(RATES), torch.Generator().manual_seed(0))


def _stacked(data: list[Batch]) -> torch.Tensor:
    network = _network()
    optimizer = SGD(network, RATES)
    for x, y in data:
        losses, gradients = network.gradients(x, y)
        optimizer.step(gradients)
    return losses


def _loop(data: list[Batch]) -> torch.Tensor:
    start, losses = _network(), []
    for k, rate in enumerate(RATES.tolist()):
        network = start.to_sequential(k)
        optimizer = torch.optim.SGD(network.parameters(), lr=rate)
        for x, y in data:
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(network(x), y)
            loss.backward()
            optimizer.step()
        losses.append(loss.detach())
    return torch.stack(losses)


if __name__ == "__main__":
    print(measure())
