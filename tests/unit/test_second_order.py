"""First and second order: each method against an independent computation, the counts, exact theory, the mini-batch stack against a plain loop, the rules."""

from __future__ import annotations

import math

import pytest
import torch

from demos.core.demo import Snapshot
from demos.core.statistics import exponent, log_spaced
from demos.second_order import (
    DEMO,
    RATES,
    Arithmetic,
    Bowl,
    Course,
    Descent,
    Inverse,
    Pairs,
    SecondOrder,
    Softmax,
    Valley,
    judge_batches,
    judge_quadratic,
    judge_rosenbrock,
    race,
    train,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def draw(n: int = 12, condition: float = 50.0, count: int = 5, seed: int = 0) -> Bowl:
    return Bowl.draw(n, condition, count, torch.Generator().manual_seed(seed))


def finished(problem: Bowl | Valley, *methods: str, memory: int = 10) -> dict[str, Course]:
    *_, courses = race(problem, methods, memory)
    return courses


def last(preset: str, seed: int = 0, **values: object) -> Snapshot:
    p = SecondOrder.parse({**DEMO.presets[preset].values, **values})
    *_, snapshot = DEMO.run(p, CPU, torch.Generator().manual_seed(seed))
    return snapshot


# ---- linear algebra --------------------------------------------------------------------------------------------------


def test_elimination_solves_and_counts_about_n_cubed_over_three() -> None:
    bowl, a = draw(40), Arithmetic()
    b = torch.randn(5, 40, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    x = a.solve(bowl.hessian(), b)
    torch.testing.assert_close(x, torch.linalg.solve(bowl.hessian(), b), rtol=1e-9, atol=1e-9)
    exact = sum((39 - j) * (40 - j) for j in range(39)) + sum(range(1, 41))  # rows below × columns right of each pivot, then back
    assert a.count == exact
    assert a.count == pytest.approx(40**3 / 3, rel=0.05)


def test_the_bowl_has_the_hessian_it_says() -> None:
    bowl = draw()
    eigenvalues = torch.linalg.eigvalsh(bowl.hessian())
    torch.testing.assert_close(eigenvalues, torch.tensor(log_spaced(1 / 50, 1.0, 12), dtype=torch.float64).expand(5, 12))
    v = torch.randn(5, 12, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(bowl.gradient(Arithmetic(), v), (bowl.hessian() @ v[..., None])[..., 0])


def test_two_loops_equal_the_dense_update_with_the_same_first_scale() -> None:
    """L-BFGS with room for all pairs is BFGS begun at γI, γ = sᵀy / yᵀy of the latest pair (Nocedal & Wright, algorithm 7.4)."""
    bowl, generator = draw(8), torch.Generator().manual_seed(2)
    moves = torch.randn(4, 5, 8, generator=generator, dtype=torch.float64)
    changes = [bowl.gradient(Arithmetic(), s) for s in moves]
    pairs = Pairs(10)
    for s, y in zip(moves, changes, strict=True):
        pairs.add(Arithmetic(), s, y)
    scale = (moves[-1] * changes[-1]).sum(1) / changes[-1].square().sum(1)
    dense = Inverse(torch.eye(8, dtype=torch.float64) * scale[:, None, None])
    for s, y in zip(moves, changes, strict=True):
        dense.add(Arithmetic(), s, y)
    g = torch.randn(5, 8, generator=generator, dtype=torch.float64)
    torch.testing.assert_close(pairs.direction(Arithmetic(), g), dense.direction(Arithmetic(), g))
    torch.testing.assert_close(-dense.direction(Arithmetic(), changes[-1]), moves[-1])  # the secant equation By = s


def test_a_pair_of_negative_curvature_changes_nothing() -> None:
    s = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    g = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    pairs, dense = Pairs(5), Inverse(torch.eye(2, dtype=torch.float64)[None])
    for estimate in (pairs, dense):
        estimate.add(Arithmetic(), s, -s)
        assert torch.equal(estimate.direction(Arithmetic(), g), -g)


def test_the_memory_forgets_the_oldest_pair() -> None:
    pairs = Pairs(2)
    for i in range(4):
        s = torch.full((1, 3), float(i + 1), dtype=torch.float64)
        pairs.add(Arithmetic(), s, s)
    assert [float(s[0, 0]) for s, _, _ in pairs.kept] == [3.0, 4.0]


# ---- steps -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("condition", [1.5, 100.0, 2000.0])
def test_newton_solves_a_quadratic_in_one_step(condition: float) -> None:
    course = finished(draw(30, condition), "newton")["newton"]
    assert course.arrived.tolist() == [1.0] * 5
    assert course.errors[1].max() < 1e-16 * 100 * condition


def test_gradient_descent_shrinks_by_its_known_factor() -> None:
    """At the rate 2/(λ₁ + λₙ) each coordinate shrinks by |1 − ηλ|: compared with the closed form along the eigenvectors."""
    bowl = draw(10, 40.0)
    course = finished(bowl, "gd")["gd"]
    values, vectors = torch.linalg.eigh(bowl.hessian())
    shares = (vectors.transpose(1, 2) @ bowl.start[..., None])[..., 0]
    t = 60
    expected = (shares * (1 - 2 / (1 + 1 / 40) * values) ** t).norm(dim=1) / bowl.start.norm(dim=1)
    torch.testing.assert_close(course.errors[t], expected, rtol=1e-8, atol=0)


def test_bfgs_with_exact_line_search_needs_at_most_n_steps() -> None:
    """On a quadratic it then walks the conjugate directions (Nocedal & Wright, theorem 6.4)."""
    assert finished(draw(12, 50.0), "bfgs")["bfgs"].arrived.max() <= 12


def test_counts_grow_with_the_powers_of_theory() -> None:
    sizes = [64, 96, 128]
    costs = {m: [finished(draw(n, 20.0), m)[m].per_step for n in sizes] for m in ("gd", "lbfgs", "bfgs", "newton")}
    powers = {m: exponent(sizes, values) for m, values in costs.items()}
    assert powers == pytest.approx({"gd": 1, "lbfgs": 1, "bfgs": 2, "newton": 3}, abs=0.12)


def test_rosenbrock_derivatives_agree_with_autograd() -> None:
    w = torch.tensor([[-1.2, 1.0], [0.3, -0.5]], dtype=torch.float64)
    valley = Valley(100.0, w)
    for row, gradient, direction in zip(w, valley.gradient(Arithmetic(), w), valley.newton(Arithmetic(), w, valley.gradient(Arithmetic(), w)), strict=True):  # fmt: skip
        leaf = row.clone().requires_grad_()
        torch.testing.assert_close(gradient, torch.autograd.grad(valley.loss(leaf), leaf)[0])
        hessian = torch.autograd.functional.hessian(valley.loss, row)
        torch.testing.assert_close(direction, -torch.linalg.solve(hessian, gradient))


@pytest.mark.parametrize("method", ["gd", "newton", "bfgs"])
def test_each_start_walks_as_it_would_alone(method: str) -> None:
    starts = torch.tensor([[-1.2, 1.0], [-1.0, 0.8], [0.5, 0.5]], dtype=torch.float64)
    together, errors = race(Valley(30.0, starts), [method], 10), []
    for _ in range(12):
        errors = next(together)[method].errors
    for k in range(3):
        alone = race(Valley(30.0, starts[k : k + 1]), [method], 10)
        for _ in range(12):
            own = next(alone, {method: None})[method]
            if own is None:
                break
            kept = own.errors
        torch.testing.assert_close(torch.stack(errors)[: len(kept), k], torch.stack(kept)[:, 0], rtol=1e-9, atol=1e-12)


def test_newton_and_bfgs_take_about_the_books_steps_from_the_books_start() -> None:
    start = torch.tensor([[-1.2, 1.0]], dtype=torch.float64)
    courses = finished(Valley(100.0, start), "newton", "bfgs")
    assert courses["newton"].steps()[0] == pytest.approx(21, abs=2)
    assert courses["bfgs"].steps()[0] == pytest.approx(34, abs=5)


# ---- mini-batches ----------------------------------------------------------------------------------------------------


def problem(draws: int = 5) -> Softmax:
    return Softmax.load(SecondOrder(task="mini-batch", draws=draws), torch.Generator().manual_seed(0))


def test_loss_and_gradient_agree_with_autograd() -> None:
    softmax = problem()
    w = 0.1 * torch.randn(15, softmax.start(1).shape[1], dtype=torch.float64, generator=torch.Generator().manual_seed(1))  # 5 subsets × 3
    batch = torch.arange(20).expand(5, 20)
    losses, gradients = softmax.loss(w, batch)
    for row in (0, 7, 14):
        leaf = w[row].view(2, -1).clone().requires_grad_()
        x, y = softmax.x[row // 3, :20], softmax.y[row // 3, :20]
        loss = torch.nn.functional.cross_entropy(x @ leaf.T, y.argmax(1)) + 5e-4 * leaf.square().sum()
        torch.testing.assert_close(losses.flatten()[row], loss.detach())
        torch.testing.assert_close(gradients[row], torch.autograd.grad(loss, leaf)[0].flatten())


@pytest.mark.parametrize("pairs", ["different", "same"])
def test_the_stack_agrees_with_torchs_own_lbfgs(pairs: str) -> None:
    """One network of the stack against `torch.optim.LBFGS(max_iter=1)`, which also differences the gradients of successive calls."""
    p = SecondOrder(task="mini-batch", memory=4, pairs=pairs)
    softmax, rate = problem(), 4
    stack = train(
        softmax, "lbfgs", softmax.x.shape[1], p, torch.Generator().manual_seed(3)
    )  # the full batch: pairs are exact in both settings
    leaf = torch.zeros(2, softmax.x.shape[2], dtype=torch.float64, requires_grad=True)
    theirs = torch.optim.LBFGS([leaf], lr=RATES[rate], max_iter=1, history_size=4, tolerance_grad=0, tolerance_change=0)
    for step in range(6):
        _, w, _ = next(stack)

        def closure() -> torch.Tensor:
            theirs.zero_grad()
            loss = torch.nn.functional.cross_entropy(softmax.x[0] @ leaf.T, softmax.y[0].argmax(1)) + 5e-4 * leaf.square().sum()
            loss.backward()
            return loss

        if step == 0:  # torch shortens its very first step by the 1-norm of the gradient; here it is not
            with torch.no_grad():
                leaf.copy_(w[rate].view_as(leaf))
            first = softmax.loss(torch.zeros_like(w))[1][rate]
            state = theirs.state[leaf]
            state |= {"func_evals": 0, "n_iter": 1, "d": -first, "t": RATES[rate], "old_dirs": [], "old_stps": [], "ro": [], "H_diag": 1.0, "prev_flat_grad": first, "al": [None] * 4, "prev_loss": 0.0}  # fmt: skip
            continue
        theirs.step(closure)  # type: ignore[no-untyped-call]
        torch.testing.assert_close(leaf.detach().flatten(), w[rate], rtol=1e-7, atol=1e-9)


def test_sgd_uses_each_row_once_a_pass() -> None:
    softmax, p = problem(), SecondOrder(task="mini-batch")
    steps = train(softmax, "gd", softmax.x.shape[1] // 4, p, torch.Generator().manual_seed(0))
    assert [next(steps)[0] for _ in range(4)] == pytest.approx([0.25, 0.5, 0.75, 1])


# ---- rules -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("after", "power", "status"), [(1e-14, 3, "reproduced"), (1e-3, 3, "same_direction"), (1e-14, 2, "same_direction"), (1e-3, 2, "not_at_this_scale")]
)  # fmt: skip
def test_quadratic_rule(after: float, power: float, status: str) -> None:
    def course(size: int, error: float, exponent: float) -> Course:
        return Course([torch.ones(5), torch.full((5,), error)], torch.full((5,), 2.0), [], float(size) ** exponent)

    results = {
        n: {"newton": course(n, after, power), "gd": course(n, 0.5, 1), "bfgs": course(n, 0.5, 2), "lbfgs": course(n, 0.5, 1)}
        for n in (32, 64, 128, 256)
    }
    _, outcome = judge_quadratic(SecondOrder(), results)
    assert outcome.verdict.status == status


@pytest.mark.parametrize(("slow", "status"), [(5000.0, "reproduced"), (400.0, "same_direction"), (20.0, "not_at_this_scale")])
def test_rosenbrock_rule(slow: float, status: str) -> None:
    steps = {"gd": [slow, slow * 1.1, slow * 0.9, slow, slow], "bfgs": [30.0] * 5, "newton": [21.0, 20.0, 22.0, 21.0, 21.0]}
    _, outcome = judge_rosenbrock(SecondOrder(task="rosenbrock"), steps)
    assert outcome.verdict.status == status


@pytest.mark.parametrize(
    ("full", "small", "status", "answer"),
    [(1e-4, 10.0, "reproduced", "sgd"), (1e-4, 0.1, "same_direction", "lbfgs"), (2.0, 2.0, "not_at_this_scale", "same"), (0.1, 0.01, "not_at_this_scale", "lbfgs")],
)  # fmt: skip
def test_batch_rule(full: float, small: float, status: str, answer: str) -> None:
    """Excess of L-BFGS for one of SGD, on all samples and on the smallest batch."""
    wobble = torch.tensor([1.0, 1.1, 0.9, 1.05, 0.95])[:, None].expand(5, len(RATES))

    def descent(level: float) -> Descent:
        return Descent(torch.full((5, 1), 1e3), [1.0], [level * wobble], [torch.ones(5, len(RATES))])

    one = Descent(torch.full((5, 1), 1e3), [1.0], [torch.ones(5, len(RATES))], [])
    results = {("gd", 300): one, ("gd", 8): one, ("lbfgs", 300): descent(full), ("lbfgs", 8): descent(small)}
    _, outcome = judge_batches(SecondOrder(task="mini-batch"), [300, 8], results)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_a_diverged_run_counts_as_not_having_moved() -> None:
    descent = Descent(torch.full((2, 1), 0.6), [1.0], [torch.tensor([[math.inf, 0.1], [0.2, 0.3]])])
    torch.testing.assert_close(descent.late(), torch.tensor([[0.6, 0.1], [0.2, 0.3]]))


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("quadratic", {"condition": 1.1, "dimension": 16}),
        ("quadratic", {"condition": 2000, "dimension": 16, "memory": 1}),
        ("rosenbrock", {"steepness": 1}),
        ("mini-batch", {"batch": 128, "passes": 5}),
        ("mini-batch", {"batch": 2, "passes": 5, "memory": 1}),
    ],
)
def test_the_ends_of_the_parameters(preset: str, values: dict[str, object]) -> None:
    snapshot = last(preset, **values)
    assert snapshot.outcome is not None
    assert not any(math.isnan(figure.value) for figure in snapshot.figures)
