"""Weight sharing: the three layers against PyTorch's own, equivariance against theory, published counts, stacked training against a plain loop."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from demos.core.demo import Snapshot
from demos.core.stacked import SGD
from demos.weight_sharing import (
    COLUMNS,
    DEMO,
    ROWS,
    STRIP,
    ZIP_CODE,
    Sharing,
    _count,
    _judge_layer,
    _judge_training,
    _Layer,
    _Networks,
    _strips,
    _taps,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def last(seed: int = 0, **values: object) -> Snapshot:
    *_, snapshot = DEMO.run(Sharing.parse(values), CPU, torch.Generator().manual_seed(seed))
    return snapshot


def figure(snapshot: Snapshot, name: str) -> float:
    return next(figure.value for figure in snapshot.figures if figure.name.en.startswith(name))


def layer(kind: str, kernel: int = 5, stride: int = 1, padding: str = "circular", maps: int = 3, count: int = 2) -> _Layer:
    made = _Layer(kind, count, maps, _taps(kernel, stride, padding)[0], torch.Generator().manual_seed(1), CPU)
    made.biases = torch.randn(made.biases.shape, generator=torch.Generator().manual_seed(2))
    return made


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 64, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("padding", ["circular", "zeros"])
@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (2, 1), (3, 2), (5, 1), (6, 4), (7, 2)])
def test_the_convolution_is_that_of_pytorch(kernel, stride, padding):
    shared, x = layer("conv", kernel, stride, padding), _strips(images(), [3])
    around = ((kernel - 1) // 2, kernel // 2) * 2
    padded = functional.pad(x[0, :, :STRIP].view(-1, 1, ROWS, COLUMNS), around, mode="circular" if padding == "circular" else "constant")
    for k in range(2):
        expected = functional.conv2d(padded, shared.weights[k].view(3, 1, kernel, kernel), shared.biases[k].flatten(), stride=stride)
        torch.testing.assert_close(shared(x)[k].permute(2, 0, 1), expected.flatten(2))


def test_a_locally_connected_layer_has_a_kernel_for_each_place_and_with_equal_kernels_is_a_convolution():
    local, shared, x = layer("local"), layer("conv"), _strips(images(), [0])
    taps, _ = _taps(5, 1, "circular")
    place = 70
    expected = local.weights[1, place] @ x[0][:, taps[place]].T + local.biases[1, place]
    torch.testing.assert_close(local(x)[1, :, place], expected)
    local.weights, local.biases = (t[:, None].expand(-1, STRIP, -1, -1) for t in (shared.weights, shared.biases))
    torch.testing.assert_close(local(x), shared(x))


def test_a_dense_layer_reads_every_pixel():
    dense, x = layer("dense"), _strips(images(), [0])
    expected = functional.linear(x[0, :, :STRIP], dense.weights[1], dense.biases[1, :, 0])
    torch.testing.assert_close(dense(x)[1].permute(2, 0, 1).flatten(1), expected)


def test_parameters_and_connections_follow_their_formulas():
    """k²·C + C shared, times the places unshared, (pixels + 1)·C·places dense; as many connections shared as unshared."""
    conv, local, dense = (layer(kind) for kind in ("conv", "local", "dense"))
    assert (conv.parameters, local.parameters, dense.parameters) == (3 * 26, 3 * 26 * 128, 3 * 128 * 129)
    assert conv.connections == local.connections == 3 * 26 * 128
    assert dense.connections == dense.parameters
    assert conv.parameters == sum(p.numel() for p in nn.Conv2d(1, 3, 5).parameters())


def test_the_networks_of_1989_count_as_published():
    assert _count(ZIP_CODE) == (1256, 64660, 9760)
    top = ((10, 1, 16, False),)
    table = {  # links and weights in The Elements of Statistical Learning, Table 11.1
        ((10, 1, 256, False),): (2570, 2570),
        ((12, 1, 256, False), (10, 1, 12, False)): (3214, 3214),
        ((1, 64, 9, False), (1, 16, 25, False), *top): (1226, 1226),
        ((2, 64, 9, True), (1, 16, 50, False), *top): (2266, 1132),
        ((2, 64, 9, True), (4, 16, 50, True), (10, 1, 64, False)): (5194, 1060),
    }
    for wiring, expected in table.items():
        assert _count(wiring)[1:] == expected


def test_unrelated_weights_give_maps_that_differ_by_the_square_root_of_two():
    """E‖f(Tx) − Tf(x)‖² = 2 E‖f(x)‖² when no weight meets the same ink twice: the cross term vanishes."""
    snapshot = last(3, shift=8, seeds=8)
    for name in ("Mean error: local", "Mean error: dense"):
        assert figure(snapshot, name) == pytest.approx(2**0.5, rel=0.03)


@pytest.mark.parametrize(
    ("values", "answer", "exact"),
    [
        ({}, "all", set(range(1, 17))),
        ({"stride": "2"}, "multiples", set(range(2, 17, 2))),
        ({"stride": "4", "kernel": 3}, "multiples", {4, 8, 12, 16}),
        ({"padding": "zeros", "kernel": 1}, "all", set(range(1, 17))),
        ({"padding": "zeros"}, "inside", {1, 2, 14, 15, 16}),
        ({"padding": "zeros", "stride": "4"}, "few", None),
    ],
)
def test_the_map_moves_along_exactly_where_theory_says(values, answer, exact):
    snapshot = last(5, shift=16, seeds=5, maps=4, **values)
    assert snapshot.outcome and snapshot.outcome.verdict.status == "reproduced" and snapshot.outcome.answer == answer
    line = snapshot.charts[1].lines[0]  # type: ignore[union-attr]
    found = {int(shift) for shift, error in zip(line.x, line.y, strict=True) if shift and error < 1e-5}
    if exact is not None:
        # With zero padding a kernel of 5 reads two columns over the edge; the ink of 8 columns begins 4 from it, the outermost of them often blank.
        assert found == exact if values.get("padding") != "zeros" or values.get("kernel") == 1 else exact <= found <= exact | {3, 13}
    if "zeros" in values.values():
        assert figure(snapshot, "Convolution's largest error away from the edge") < 1e-6


def test_the_judgement_of_a_layer_can_fall_every_way():
    p = Sharing(shift=2)
    apart, nothing = torch.full((3, 5), 1.4), torch.zeros(3, 5)
    errors = torch.stack([nothing, apart, apart])  # (kind, shift, K)
    errors[:, 0] = 0
    cases = {"reproduced": errors, "same_direction": errors + torch.tensor([0.1, 0, 0])[:, None, None], "not_at_this_scale": errors.flip(0)}
    for status, measured in cases.items():
        _, outcome = _judge_layer(p, measured, 0.0, [True] * 3, [1, 2, 3])
        assert outcome.verdict.status == status
    assert _judge_layer(p, errors, 0.0, [True, False, True], [1, 2, 3])[1].verdict.status == "same_direction"


@pytest.mark.parametrize(
    ("ahead", "fixed", "status", "answer"),
    [
        (6.0, False, "reproduced", "better"),
        (40.0, False, "same_direction", "much"),
        (0.0, False, "not_at_this_scale", "same"),
        (-6.0, False, "not_at_this_scale", "worse"),
        (-6.0, True, "reproduced", "worse"),
        (0.0, True, "same_direction", "same"),
        (6.0, True, "not_at_this_scale", "better"),
    ],
)
@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_the_judgement_of_training_follows_its_rule(ahead, fixed, status, answer, head):
    p = Sharing(task="training", train_shift=0 if fixed else 4, test_shift=0 if fixed else 4, head=head)
    noise = torch.tensor([-1.0, 1.0, -0.5, 0.5, 0.0])
    accuracy = torch.full((3, 9, 5), 50.0)
    accuracy[0] += ahead + noise
    _, outcome = _judge_training(p, accuracy, [1, 2, 3])
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


@pytest.mark.parametrize("kind", ["conv", "local", "dense"])
@pytest.mark.parametrize("head", ["pool", "flatten"])
def test_stacked_training_is_that_of_single_networks(kind, head):
    p = Sharing(task="training", kernel=3, maps=2, seeds=5, head=head)
    stack = _Networks(kind, p, torch.Generator().manual_seed(0), CPU)
    singles = [[parameter[k].detach().clone().requires_grad_() for parameter in stack.parameters()] for k in range(5)]
    batches = _strips(images(20), range(5)).view(5, 20, -1)  # another batch for each network
    y = torch.randint(10, (5, 20), generator=torch.Generator().manual_seed(4))
    optimizer = SGD(stack, [0.1] * 5)
    for _ in range(3):
        gradients = stack.gradients(batches, y)
        with torch.no_grad():
            optimizer.step(gradients)
    taps, _ = _taps(3, 1, "circular")
    for k, parameters in enumerate(singles):
        weights, biases, top, top_biases = parameters
        single = torch.optim.SGD(parameters, lr=0.1)
        for _ in range(3):
            x = batches[k]
            if kind == "dense":
                maps = (x[:, :STRIP] @ weights.T + biases[:, 0]).view(20, 2, STRIP)
            else:
                patches = x[:, taps]  # (B, places, k²)
                maps = torch.einsum("ml,bpl->bmp" if kind == "conv" else "pml,bpl->bmp", weights, patches)
                maps = maps + (biases if kind == "conv" else biases[:, :, 0].T)
            features = maps.amax(2) if head == "pool" else maps.relu().flatten(1)
            loss = functional.cross_entropy(features @ top.T + top_biases[:, 0], y[k])
            single.zero_grad()
            loss.backward()
            single.step()
        for ours, theirs in zip(stack.parameters(), parameters, strict=True):
            torch.testing.assert_close(ours[k].detach(), theirs.detach(), rtol=1e-4, atol=1e-6)


def test_a_shared_gradient_is_the_sum_over_the_places():
    p = Sharing(task="training", kernel=3, maps=2, seeds=5, head="flatten")
    shared, local = (_Networks(kind, p, torch.Generator().manual_seed(0), CPU) for kind in ("conv", "local"))
    with torch.no_grad():  # the same network, once with a copy of the kernel for each place
        local.layer.weights.copy_(shared.layer.weights[:, None].expand(-1, STRIP, -1, -1))
        local.head.copy_(shared.head)
    x, y = _strips(images(), [0]), torch.arange(4).expand(5, 4)
    torch.testing.assert_close(local.gradients(x, y)[0].sum(1), shared.gradients(x, y)[0], rtol=1e-4, atol=1e-6)


def test_pooling_over_places_makes_the_shared_network_invariant_and_flatten_does_not():
    x = _strips(images(), [0, 3])
    for head, alike in (("pool", True), ("flatten", False)):
        networks = _Networks("conv", Sharing(task="training", head=head), torch.Generator().manual_seed(0), CPU)
        still, moved = (networks.outputs(strip[None]).detach() for strip in x)
        assert torch.allclose(still, moved, atol=1e-5) == alike


EXTREMES = {
    "smallest": {"kernel": 1, "maps": 1, "shift": 1, "images": 20, "steps": 50, "seeds": 5, "rate": 0.0005},
    "largest": {"kernel": 7, "maps": 8, "shift": 2, "images": 320, "steps": 50, "seeds": 5, "rate": 0.5, "head": "flatten"},
}


@pytest.mark.parametrize("task", ["layer", "training"])
@pytest.mark.parametrize("ends", EXTREMES)
def test_extremes_end_in_a_drawn_and_explained_result(task, ends):
    snapshot = last(task=task, padding="zeros", stride="4", **EXTREMES[ends])
    assert snapshot.outcome and snapshot.outcome.verdict.explanation.zh


def test_another_seed_agrees_that_sharing_carries_over_to_unseen_places():
    snapshot = last(17, task="training", steps=100, seeds=5, maps=8)
    assert snapshot.outcome and snapshot.outcome.answer == "much"
    assert figure(snapshot, "Accuracy, centred: local") > 80
    assert figure(snapshot, "Accuracy: local") < 40
