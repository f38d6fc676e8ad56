"""Stacked networks against ordinary PyTorch: the same numbers as a plain loop, and nothing leaks between networks."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from demos.core.stacked import SGD, Adam, StackedMLP, cross_entropy, error_rate

torch.set_num_threads(1)
SIZES = (6, 8, 7, 4)


def make(k: int = 3, seed: int = 0, **options) -> StackedMLP:
    return StackedMLP(SIZES, list(range(k)), torch.Generator().manual_seed(seed), **options)


def batches(count: int, size: int = 16, seed: int = 1) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return [(torch.randn(size, 6, generator=generator), torch.randint(0, 4, (size,), generator=generator)) for _ in range(count)]


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("activation", ["relu", "tanh", "sigmoid", "linear"])
def test_hand_written_backward_equals_autograd(activation, batch_norm):
    network = make(activation=activation, batch_norm=batch_norm, dropout=0.3)
    generator = torch.Generator().manual_seed(5)
    for parameter in network.parameters():  # not 0 or 1: biases, scales and shifts must be seen to work
        parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.2)
    x = torch.randn(3, 16, 6, generator=generator)
    y = torch.randint(0, 4, (3, 16), generator=generator)
    masks = network.draw_masks(16, generator)
    losses, gradients = network.gradients(x, y, masks)

    for parameter in network.parameters():
        parameter.requires_grad_()
    outputs, _ = network.forward(x, masks, training=True)
    expected = nn.functional.cross_entropy(outputs, y, reduction="none").mean(1)
    torch.testing.assert_close(losses, expected)
    wanted = torch.autograd.grad(expected.sum(), network.parameters())
    assert len(gradients) == len(wanted)
    for gradient, want in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(gradient, want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("batch_norm", [False, True])
@pytest.mark.parametrize("kind", ["sgd", "momentum", "adam"])
def test_equals_a_plain_loop_of_ordinary_networks(kind, batch_norm):
    rates = [0.01, 0.03, 0.1]
    network = make(batch_norm=batch_norm)
    plain = [network.to_sequential(k) for k in range(3)]
    if kind == "adam":
        optimizer = Adam(network, rates)
        theirs = [torch.optim.Adam(net.parameters(), lr=rate) for net, rate in zip(plain, rates, strict=True)]
    else:
        beta = 0.9 if kind == "momentum" else 0.0
        optimizer = SGD(network, rates, beta)
        theirs = [torch.optim.SGD(net.parameters(), lr=rate, momentum=beta) for net, rate in zip(plain, rates, strict=True)]
    for x, y in batches(30):
        losses, gradients = network.gradients(x, y)
        optimizer.step(gradients)
        for k, net in enumerate(plain):
            theirs[k].zero_grad()
            loss = nn.functional.cross_entropy(net(x), y)
            loss.backward()
            theirs[k].step()
            torch.testing.assert_close(losses[k], loss.detach(), rtol=1e-3, atol=1e-4)
    x, _ = batches(1, seed=9)[0]
    for k, net in enumerate(plain):
        torch.testing.assert_close(network.logits(x)[k], net.eval()(x).detach(), rtol=1e-2, atol=2e-3)
        if batch_norm:
            torch.testing.assert_close(network.running_mean[1][k], net[4].running_mean, rtol=1e-2, atol=1e-3)
            torch.testing.assert_close(network.running_variance[1][k], net[4].running_var, rtol=1e-2, atol=1e-3)


def test_a_diverged_network_leaves_its_neighbours_exactly_as_they_were():
    calm, wild = make(batch_norm=True), make(batch_norm=True)
    first, second = SGD(calm, [0.1, 0.1, 0.1]), SGD(wild, [0.1, 0.1, 0.1])
    wild.weights[0][1] = float("nan")
    wild.weights[2][1] = float("inf")
    for x, y in batches(10):
        first.step(calm.gradients(x, y)[1])
        losses, gradients = wild.gradients(x, y)
        second.step(gradients)
    assert losses[1].isnan() and losses[[0, 2]].isfinite().all()
    for one, other in zip(calm.parameters(), wild.parameters(), strict=True):
        assert torch.equal(one[[0, 2]], other[[0, 2]])


def test_networks_of_the_same_start_begin_alike_and_others_do_not():
    network = StackedMLP(SIZES, [0, 1, 0], torch.Generator().manual_seed(0))
    assert torch.equal(network.weights[0][0], network.weights[0][2])
    assert not torch.equal(network.weights[0][0], network.weights[0][1])


def test_masks_keep_the_wanted_share_and_are_scaled_so_that_the_mean_is_one():
    dropout = torch.tensor([[0.0, 0.0], [0.5, 0.2], [0.9, 0.9]])
    network = make(dropout=dropout)
    masks = network.draw_masks(4000, torch.Generator().manual_seed(0))
    for layer, mask in enumerate(masks):
        for k in range(3):
            keep = 1 - float(dropout[k, layer])
            assert mask[k][mask[k] > 0].unique().tolist() == pytest.approx([1 / keep])
            assert (mask[k] > 0).float().mean().item() == pytest.approx(keep, abs=0.02)


def test_given_masks_equal_masking_by_hand():
    network = make(k=2, dropout=0.5)
    x, _ = batches(1)[0]
    masks = network.draw_masks(16, torch.Generator().manual_seed(3))
    net = network.to_sequential(1)
    h = net[0](x).relu() * masks[0][1].T
    h = net[3](h).relu() * masks[1][1].T
    torch.testing.assert_close(network.logits(x, masks)[1], net[6](h).detach())


def test_training_logits_leave_the_running_statistics_alone():
    network = make(batch_norm=True)
    before = network.running_mean[0].clone()
    network.logits(batches(1)[0][0], training=True)
    assert torch.equal(network.running_mean[0], before)
    network.gradients(*batches(1)[0])
    assert not torch.equal(network.running_mean[0], before)


def test_batch_norm_refuses_a_batch_of_one():
    with pytest.raises(ValueError, match="at least 2"):
        make(batch_norm=True).gradients(torch.randn(1, 6), torch.tensor([0]))


def test_a_schedule_scales_every_rate():
    x, y = batches(1)[0]
    half, whole = make(), make()
    SGD(half, 0.1).step(half.gradients(x, y)[1], factor=0.5)
    SGD(whole, 0.05).step(whole.gradients(x, y)[1])
    for one, other in zip(half.parameters(), whole.parameters(), strict=True):
        torch.testing.assert_close(one, other)


def test_error_rate_counts_nan_as_wrong():
    logits = torch.tensor([[[2.0, 1.0], [0.0, 3.0]], [[2.0, 1.0], [5.0, float("nan")]]])
    assert error_rate(logits, torch.tensor([0, 1])).tolist() == [0.0, 0.5]


def test_cross_entropy_of_equal_logits_is_the_logarithm_of_the_classes():
    losses, slope = cross_entropy(torch.zeros(2, 4, 3), torch.tensor([0, 1, 2]))
    assert losses.tolist() == pytest.approx([torch.tensor(4.0).log().item()] * 2)
    assert slope.sum().item() == pytest.approx(0, abs=1e-6)
