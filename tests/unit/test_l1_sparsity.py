"""The stacked L1 experiment against a plain loop, scikit-learn and closed forms, and its rules."""

from __future__ import annotations

import pytest
import torch

from demos.l1_sparsity import (
    CHOSEN,
    METHODS,
    SCALES,
    ExactMinimum,
    Penalties,
    Problem,
    Sparsity,
    answer_of,
    draw,
    part,
    pruned,
    sizes,
    slope,
    soft_threshold,
    status_of_noise,
    status_of_pruning,
    status_of_zeros,
    zeros,
)

SEEDS, COUNT, FEATURES, CLASSES = 2, 40, 6, 3


@pytest.fixture
def problem() -> Problem:
    """Two seeds of 40 samples with 5 features (of which two count) and a constant 1, in 3 classes."""
    generator = torch.Generator().manual_seed(0)
    x = torch.cat([torch.randn(SEEDS, COUNT, FEATURES - 1, generator=generator), torch.ones(SEEDS, COUNT, 1)], 2)
    noise = torch.randn(SEEDS, COUNT, generator=generator)
    y = (x[..., 0] - x[..., 1] + 0.5 * noise).div(0.8).round().clamp(-1, 1).long() + 1
    curvature = torch.linalg.eigvalsh(x.transpose(1, 2) @ x / COUNT)[:, -1] / 2
    return Problem(x, y, x[0], y[0], curvature, CLASSES)


def test_the_soft_threshold_is_the_minimiser() -> None:
    v, t = torch.tensor([-2.0, -0.3, 0.0, 0.4, 0.5, 3.0]), torch.tensor(0.5)
    assert soft_threshold(v, t).tolist() == [-1.5, 0.0, 0.0, 0.0, 0.0, 2.5]
    grid = torch.linspace(-4, 4, 80001)
    by_search = grid[(0.5 * (grid[:, None] - v) ** 2 + t * grid[:, None].abs()).argmin(0)]
    assert torch.allclose(soft_threshold(v, t), by_search, atol=1e-3)


def test_every_variant_steps_as_its_plain_pytorch_network(problem: Problem) -> None:
    p = Sparsity(lam=0.03, batch=COUNT, samples=COUNT, seeds=5)
    penalties = Penalties(p, FEATURES, torch.device("cpu"))
    start = 0.1 * torch.randn(SEEDS, 1, CLASSES, FEATURES, generator=torch.Generator().manual_seed(1))
    w, rate = start.expand(-1, len(penalties.l1), -1, -1).contiguous(), 0.3
    for _ in range(10):
        w = penalties.step(w, slope(w, problem.x, problem.y), torch.full((SEEDS, 1, 1, 1), rate))
    for seed in range(SEEDS):
        for method in ("free", *METHODS):
            for i, scale in enumerate(SCALES):
                net = torch.nn.Linear(FEATURES - 1, CLASSES)
                with torch.no_grad():
                    net.weight.copy_(start[seed, 0, :, :-1])
                    net.bias.copy_(start[seed, 0, :, -1])
                lam = p.lam * scale
                optimizer = torch.optim.SGD(net.parameters(), lr=rate)
                for _ in range(10):
                    loss = torch.nn.functional.cross_entropy(net(problem.x[seed, :, :-1]), problem.y[seed])
                    loss = loss + (lam * net.weight.abs().sum() if method == "sgd" else 0)
                    loss = loss + (lam / 2 * net.weight.square().sum() if method == "l2" else 0)
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    if method == "prox":
                        with torch.no_grad():
                            net.weight.copy_(soft_threshold(net.weight, torch.tensor(rate * lam)))
                expected = torch.cat([net.weight, net.bias[:, None]], 1)
                assert torch.allclose(part(w, method)[seed, i], expected, atol=1e-5), (method, lam)


def test_the_exact_minimum_is_that_of_scikit_learn(problem: Problem) -> None:
    from sklearn.linear_model import LogisticRegression

    p = Sparsity(lam=0.05)
    exact = ExactMinimum(problem, Penalties(p, FEATURES, torch.device("cpu")))
    for _ in range(600):
        exact.advance()
    for i, scale in enumerate(SCALES):
        theirs = LogisticRegression(l1_ratio=1, C=1 / (p.lam * scale * COUNT), solver="saga", tol=1e-7, max_iter=20000)
        theirs.fit(problem.x[0, :, :-1].numpy(), problem.y[0].numpy())
        assert torch.allclose(exact.w[0, i, :, :-1], torch.tensor(theirs.coef_, dtype=torch.float32), atol=2e-3)
    assert 0 < float(zeros(exact.w)[:, CHOSEN].min()) < 100


def test_the_exact_minimum_meets_its_condition_and_the_proximal_step_ends_there(problem: Problem) -> None:
    """|gradient| ≤ λ where a weight is 0, −λ·sign w elsewhere; on all samples ISTA has the same zeros."""
    p = Sparsity(lam=0.05, batch=500)
    penalties = Penalties(p, FEATURES, torch.device("cpu"))
    exact = ExactMinimum(problem, penalties)
    w, rate = torch.zeros(SEEDS, len(penalties.l1), CLASSES, FEATURES), 1 / problem.curvature[:, None, None, None]
    for _ in range(600):
        exact.advance()
        w = penalties.step(w, slope(w, problem.x, problem.y), rate)
    g, lam = slope(exact.w, problem.x, problem.y), penalties.exact
    assert bool((g.abs() <= lam + 1e-5)[exact.w == 0].all())
    apart = (g + lam * exact.w.sign()).abs()[exact.w != 0]
    assert float(apart.max()) < 1e-4
    assert torch.equal(part(w, "prox")[:, CHOSEN:] == 0, exact.w[:, CHOSEN:] == 0)
    assert not bool((part(w, "sgd")[:, CHOSEN, :, :-1] == 0).any())


def test_pruning_zeroes_the_smallest_and_spares_the_bias() -> None:
    w = torch.tensor([[[[0.3, -0.1, 0.2, 0.0001], [-0.5, 0.05, 0.4, 9.0]]]])
    assert pruned(w, torch.tensor([[50.0]])).tolist() == [
        [[[pytest.approx(0.3), 0, 0, pytest.approx(0.0001)], [-0.5, 0, pytest.approx(0.4), 9.0]]]
    ]
    assert float(zeros(pruned(w, torch.tensor([[50.0]])))) == 50
    assert float(zeros(w)) == 0


def test_sizes_fall_into_their_bars() -> None:
    w = torch.tensor([[[0.0, -0.0, 5e-5, -5e-4, 0.005, 0.05, 0.5, -2.0, 7.0]]])
    assert sizes(w).tolist() == [[25.0, 12.5, 12.5, 12.5, 12.5, 12.5, 12.5]]


def test_a_batch_belongs_to_its_own_seed(problem: Problem) -> None:
    x, y = draw(
        Sparsity(batch=7, seeds=5),
        Problem(
            *[t.repeat(3, *[1] * (t.dim() - 1))[:5] for t in (problem.x, problem.y)],
            problem.test_x,
            problem.test_y,
            problem.curvature,
            CLASSES,
        ),
        torch.Generator().manual_seed(3),
    )
    assert x.shape == (5, 7, FEATURES) and y.shape == (5, 7)
    for seed in range(5):
        for row, label in zip(x[seed], y[seed], strict=True):
            where = (problem.x[seed % SEEDS] == row).all(1).nonzero()[0, 0]
            assert int(problem.y[seed % SEEDS][where]) == int(label)
    assert draw(Sparsity(batch=40), problem, torch.Generator())[0] is problem.x


@pytest.mark.parametrize(
    ("prox", "sgd", "exact", "status"),
    [(50, 0, 80, "reproduced"), (30, 0, 80, "same_direction"), (50, 20, 80, "same_direction"), (0, 0, 80, "not_at_this_scale"), (5, 0, 6, "same_direction")],
)  # fmt: skip
def test_zeros_are_judged(prox: float, sgd: float, exact: float, status: str) -> None:
    share = {"prox": [prox - 1, prox, prox + 1], "sgd": [sgd] * 3, "exact": [exact] * 3}
    assert status_of_zeros(share) == status


def test_pruning_and_noise_are_judged() -> None:
    assert status_of_pruning([0.5, 1.0, 0.0]) == "reproduced"
    assert status_of_pruning([2.0, -3.0, 0.0]) == "same_direction"
    assert status_of_pruning([-5.0, -4.0, -6.0]) == "not_at_this_scale"
    assert status_of_noise([40.0, 45.0, 50.0]) == "reproduced"
    assert status_of_noise([80.0, 85.0, 90.0]) == "same_direction"
    assert status_of_noise([99.0, 100.0, 101.0]) == "not_at_this_scale"


def test_the_answer_is_computed() -> None:
    assert [answer_of("zeros", {"sgd": a, "prox": b}, [], []) for a, b in ((0, 50), (50, 50), (50, 0), (0, 0))] == [
        "prox",
        "both",
        "sgd",
        "neither",
    ]
    assert [answer_of("prune", {}, [a], []) for a in (2, -0.5, -5, -20)] == ["fine", "fine", "worse", "lost"]
    assert [answer_of("noise", {}, [], [a]) for a in (95, 70, 40)] == ["most", "some", "few"]
