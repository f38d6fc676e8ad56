"""Margin softmax: the losses and their gradients against plain mathematics, the stack against a loop, the measures against definitions, the judges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from demos.core.datasets import load_digits
from demos.core.demo import Snapshot
from demos.margin_softmax import (
    BATCH,
    CLASSES,
    DEMO,
    DENG_GAIN,
    MULTIPLES,
    SOFTMAX,
    Heads,
    Loss,
    MarginSoftmax,
    Measured,
    _Training,
    batch_losses,
    compared_losses,
    gains,
    judge_compare,
    judge_too_large,
    judge_unseen,
    largest_margin,
    marks,
    move_centres,
    only,
    psi,
    qualitative_status,
    tightness,
    verification_auc,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")
LOSSES = (
    SOFTMAX,
    Loss(SOFTMAX.name, "first", scale=30.0),
    Loss(SOFTMAX.name, "first", scale=30.0, angle=0.5),
    Loss(SOFTMAX.name, "first", scale=10.0, cosine=0.35),
    Loss(SOFTMAX.name, "first", factor=3.0),
    Loss(SOFTMAX.name, "first", pull=0.7),
)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def parse(**values: object) -> MarginSoftmax:
    return DEMO.parameters.parse(values)


def last_of(seed: int = 0, **values: object) -> Snapshot:
    *_, last = DEMO.run(parse(**values), CPU, generator(seed))
    return last


# ---- the losses ------------------------------------------------------------------------------------------------------


def by_hand(loss: Loss, features: list[list[float]], vectors: list[list[float]], centres: list[list[float]], y: list[int]) -> float:
    """The mean loss of one network in plain Python, straight from the papers' formulas."""
    total = 0.0
    for x, target in zip(features, y, strict=True):
        logits = []
        for j, w in enumerate(vectors):
            own, length = math.hypot(*x), math.hypot(*w)
            theta = math.acos(sum(a * b for a, b in zip(x, w, strict=True)) / (own * length))
            stretch = loss.scale if loss.scale else own * length
            if j == target:
                phi = loss.factor * theta + loss.angle
                k = next(k for k in range(20) if k * math.pi <= phi <= (k + 1) * math.pi)
                logits.append(stretch * ((-1) ** k * math.cos(phi) - 2 * k - loss.cosine))
            else:
                logits.append(stretch * math.cos(theta))
        top = max(logits)
        total += top + math.log(sum(math.exp(z - top) for z in logits)) - logits[target]
        total += loss.pull / 2 * math.dist(x, centres[target]) ** 2
    return total / len(y)


def drawn(dimensions: int, dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    """Features (K, D, B), class vectors (K, C, D), centres (K, D, C) and classes (K, B) for K = len(LOSSES), B = 7, C = 4."""
    k, g = len(LOSSES), generator(1)
    shapes = ((k, dimensions, 7), (k, 4, dimensions), (k, dimensions, 4))
    features, vectors, centres = (torch.randn(*shape, generator=g, dtype=dtype) for shape in shapes)
    return features, vectors, centres, torch.randint(0, 4, (k, 7), generator=g)


@pytest.mark.parametrize("dimensions", [2, 5])
def test_every_loss_equals_the_formula(dimensions):
    features, vectors, centres, y = drawn(dimensions)
    ours = batch_losses(features, vectors, centres, y, Heads(LOSSES, 1, CPU))
    expected = [
        by_hand(loss, features[k].T.tolist(), vectors[k].tolist(), centres[k].T.tolist(), y[k].tolist()) for k, loss in enumerate(LOSSES)
    ]
    torch.testing.assert_close(ours, torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def test_the_gradient_equals_finite_differences():
    features, vectors, centres, y = drawn(2)
    heads = Heads(LOSSES, 1, CPU)
    leaves = [features.requires_grad_(), vectors.requires_grad_()]
    gradients = torch.autograd.grad(batch_losses(*leaves, centres, y, heads).sum(), leaves)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        for k, loss in enumerate(LOSSES):
            for i in range(2):
                at = (k, i, i)

                def value(step: float, leaf: torch.Tensor = leaf, at: tuple[int, ...] = at, k: int = k, loss: Loss = loss) -> float:
                    old = leaf.data[at].item()
                    leaf.data[at] = old + step
                    result = by_hand(loss, features[k].T.tolist(), vectors[k].tolist(), centres[k].T.tolist(), y[k].tolist())
                    leaf.data[at] = old
                    return result

                assert gradient[at].item() == pytest.approx((value(1e-6) - value(-1e-6)) / 2e-6, rel=1e-4, abs=1e-6)


def test_psi_is_the_cosine_continued_downwards():
    phi = torch.linspace(0, 12, 4001, dtype=torch.float64)
    value = psi(phi)
    first = phi <= math.pi
    torch.testing.assert_close(value[first], phi[first].cos())
    steps = value.diff()
    assert (steps <= 1e-12).all() and steps.abs().max() < 0.004  # never rises, never jumps


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (Loss(SOFTMAX.name, "first", scale=1.0, cosine=0.35), 0.416),
        (Loss(SOFTMAX.name, "first", scale=1.0, angle=0.5), 0.364),
        (Loss(SOFTMAX.name, "first", scale=1.0, factor=4.0), -0.940),
    ],
)
def test_the_worked_example_of_the_knowledge_entry(loss, expected):
    """θ = 40° to the target, 90° to the only other class: the loss tells the target's logit."""
    theta = math.radians(40)
    features = torch.tensor([[[1.0], [0.0]]])
    vectors = torch.tensor([[[math.cos(theta), math.sin(theta)], [0.0, 1.0]]])
    value = batch_losses(features, vectors, torch.zeros(1, 2, 2), torch.tensor([[0]]), Heads([loss], 1, CPU)).item()
    assert -math.log(math.expm1(value)) == pytest.approx(expected, abs=1e-3)


def test_at_ramp_0_there_is_no_margin():
    features, vectors, centres, y = drawn(2, torch.float32)
    ours = batch_losses(features, vectors, centres, y, Heads(LOSSES, 1, CPU), ramp=0.0)
    for k, loss in enumerate(LOSSES):
        e, w = features[k].T, vectors[k]
        logits = loss.scale * nn.functional.normalize(e) @ nn.functional.normalize(w).T if loss.scale else e @ w.T
        expected = nn.functional.cross_entropy(logits, y[k]) + loss.pull / 2 * (e - centres[k].T[y[k]]).square().sum(1).mean()
        torch.testing.assert_close(ours[k], expected, rtol=1e-5, atol=1e-5)


def test_a_feature_at_its_own_direction_and_one_opposite_have_finite_gradients():
    features = torch.tensor([[[1.0, -1.0], [0.0, 0.0]]]).repeat(len(LOSSES), 1, 1).requires_grad_()
    vectors = torch.tensor([[[2.0, 0.0], [0.0, 1.0]]]).repeat(len(LOSSES), 1, 1)
    y = torch.zeros(len(LOSSES), 2, dtype=torch.long)
    loss = batch_losses(features, vectors, torch.zeros(len(LOSSES), 2, 2), y, Heads(LOSSES, 1, CPU))
    assert loss.isfinite().all()
    assert torch.autograd.grad(loss.sum(), features)[0].isfinite().all()


@pytest.mark.parametrize("classes", [3, 5, 10])
def test_no_margin_above_the_bound_can_be_satisfied(classes):
    """At its own direction a sample beats its neighbours by exactly the bound: there its probability is ½ (two neighbours: 1/3)."""
    angle = 2 * math.pi / classes * torch.arange(classes, dtype=torch.float64)
    vectors = torch.stack([angle.cos(), angle.sin()], 1)[None]
    heads = Heads([Loss(SOFTMAX.name, "first", scale=1000.0, cosine=largest_margin(classes))], 1, CPU)
    value = batch_losses(vectors.transpose(1, 2), vectors, torch.zeros(1, 2, classes).double(), torch.arange(classes)[None], heads)
    assert value.item() == pytest.approx(math.log(3), abs=1e-3)


def test_centres_move_as_in_the_paper():
    features, _, centres, y = drawn(3)
    y = y.clamp_max(2)  # class 3 is not in the batch
    expected = centres.clone()
    for k in range(len(features)):
        for c in range(4):
            members = [features[k, :, i] for i in range(7) if y[k, i] == c]
            delta = sum((centres[k, :, c] - x for x in members), torch.zeros(3, dtype=torch.float64)) / (1 + len(members))
            expected[k, :, c] -= 0.5 * delta
    move_centres(centres, features, y)
    torch.testing.assert_close(centres, expected)


# ---- training --------------------------------------------------------------------------------------------------------


def test_training_equals_a_plain_loop():
    p = parse(steps=100, seeds=5, warm_up=0.2)
    digits, losses = load_digits(), list(LOSSES)
    training = _Training(p, losses, digits, generator(3))
    k = 2 * p.seeds + 1  # ArcFace's second seed
    plain, start = training.network.to_sequential(k), training.vectors[k].clone()
    vectors = nn.Parameter(start.clone())
    batches = torch.Generator()
    batches.set_state(training.generator.get_state())
    optimizer = torch.optim.Adam([*plain.parameters(), vectors], lr=p.rate)
    for i in range(15):
        training.step(i)
        chosen = torch.randint(0, len(digits.train_y), (p.seeds, BATCH), generator=batches)[1]
        e, y = plain(digits.train_x[chosen]), digits.train_y[chosen]
        cosines = nn.functional.normalize(e) @ nn.functional.normalize(vectors).T
        margin = 0.5 * min(1.0, i / 20)
        theta = cosines.clamp(-1 + 1e-6, 1 - 1e-6).acos() + margin * nn.functional.one_hot(y, CLASSES)
        logits = torch.where(theta > math.pi, -2 - theta.cos(), theta.cos())
        optimizer.param_groups[0]["lr"] = p.rate * (1 - 0.9 * i / p.steps)
        optimizer.zero_grad()
        nn.functional.cross_entropy(30 * logits, y).backward()
        optimizer.step()
    with torch.no_grad():
        torch.testing.assert_close(training.features(digits.test_x)[k].T, plain(digits.test_x), rtol=2e-3, atol=2e-3)
        torch.testing.assert_close(training.vectors[k], vectors, rtol=2e-3, atol=2e-3)
        assert (training.vectors[k] - start).abs().max() > 0.1


def test_losses_of_one_seed_start_alike():
    training = _Training(parse(seeds=5), LOSSES[:2], load_digits(), generator())
    features = training.features(training.data.test_x)
    assert torch.equal(features[:5], features[5:]) and not torch.equal(features[0], features[1])
    assert torch.equal(training.vectors[:5], training.vectors[5:])


def test_accuracy_is_measured_without_margin_and_with_normalised_vectors_where_the_loss_has_them():
    training = _Training(parse(seeds=5), LOSSES[:2], load_digits(), generator())
    training.vectors[:] = torch.tensor([[1.0, 0.0]] + [[0.0, 10.0]] * 9)  # class 1 is long
    features = torch.tensor([[1.0], [0.5]]).expand(10, 2, 1)
    y = torch.tensor([0])
    assert training.accuracy(features, y).tolist() == [0.0] * 5 + [100.0] * 5
    assert training.accuracy(features * math.nan, y).tolist() == [0.0] * 10


# ---- measures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("angular", [True, False])
def test_tightness_equals_its_definition(angular):
    features, y = torch.randn(3, 2, 40, generator=generator(5), dtype=torch.float64), torch.arange(40) % 4
    y[y == 3] = 7  # classes 3 … 6 have no sample
    intra, inter = tightness(features, y, angular=angular)
    for k in range(3):
        points = [complex(*xy) for xy in features[k].T.tolist()]
        if angular:
            points = [point / abs(point) for point in points]

        def apart(a: complex, b: complex) -> float:
            return math.degrees(abs(math.atan2((a * b.conjugate()).imag, (a * b.conjugate()).real))) if angular else abs(a - b)

        kinds = sorted(set(y.tolist()))
        centre = {c: sum(point for point, label in zip(points, y.tolist(), strict=True) if label == c) / 10 for c in kinds}
        assert intra[k].item() == pytest.approx(sum(apart(point, centre[c]) for point, c in zip(points, y.tolist(), strict=True)) / 40)
        nearest = [min(apart(centre[a], centre[b]) for b in kinds if b != a) for a in kinds]
        assert inter[k].item() == pytest.approx(sum(nearest) / len(nearest))


def test_only_angles_ignore_the_length_of_features():
    features, y = torch.randn(1, 2, 40, generator=generator(6)), torch.arange(40) % 4
    longer = features * (1 + torch.rand(40, generator=generator(7)))
    torch.testing.assert_close(tightness(features, y, angular=True), tightness(longer, y, angular=True), rtol=1e-3, atol=1e-3)
    assert not torch.allclose(tightness(features, y, angular=False)[0], tightness(longer, y, angular=False)[0], rtol=0.01)


def test_auc_equals_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    features, y = torch.randn(2, 5, 30, generator=generator(8)) + 1.0, torch.arange(30) % 3
    for k, auc in enumerate(verification_auc(features, y)):
        x = nn.functional.normalize(features[k].T)
        pairs = [(i, j) for i in range(30) for j in range(i)]
        expected = roc_auc_score([int(y[i] == y[j]) for i, j in pairs], [float(x[i] @ x[j]) for i, j in pairs])
        assert auc.item() == pytest.approx(100 * expected, abs=0.01)


def test_only_keeps_the_first_classes():
    digits = load_digits()
    few = only(digits, 4)
    assert few.classes == 4 and few.train_y.unique().tolist() == few.test_y.unique().tolist() == [0, 1, 2, 3]
    assert len(few.train_x) == len(few.train_y) == int((digits.train_y < 4).sum())


def test_the_last_step_is_measured():
    for task in ("arcface", "unseen"):
        for steps in (100, 300, 1500):
            p = parse(task=task, steps=steps)
            assert marks(p)[-1] == steps and marks(p)[0] > 0


# ---- verdicts --------------------------------------------------------------------------------------------------------


def measured(ratios: list[list[float]], test: list[list[float]], train: list[list[float]] | None = None) -> Measured:
    intra, one = torch.tensor(ratios), torch.ones(len(ratios), len(ratios[0]))
    return Measured(intra, one, intra, one, torch.tensor(test), torch.tensor(train or test), torch.zeros(len(ratios), 2, 3))


FLAT = [90.0, 91.0, 90.5, 91.5, 90.2]


@pytest.mark.parametrize(
    ("ratio", "status", "answer"),
    [(0.2, "reproduced", "little"), (0.05, "same_direction", "huge"), (0.3, "not_at_this_scale", "none")],
)
def test_arcface_is_held_against_the_published_ratio(ratio, status, answer):
    p = parse()
    spread = [1.0, 1.01, 0.99, 1.02, 0.98]
    end = measured([[0.25 * x for x in spread], [0.3 * x for x in spread], [ratio * x for x in reversed(spread)]], [FLAT] * 3)
    figures, outcome = judge_compare(p, compared_losses(p), end, 10)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(0.3 / ratio, rel=0.01)
    assert pytest.approx(1.2286, abs=1e-4) == DENG_GAIN


@pytest.mark.parametrize(
    ("low", "cost_high", "status"),
    [(1.1, 0.5, "reproduced"), (1.1, -0.5, "same_direction"), (0.9, 0.5, "not_at_this_scale"), (0.0, 0.0, "not_at_this_scale")],
)
def test_the_rule_for_claims_without_a_number(low, cost_high, status):
    assert qualitative_status(low, cost_high) == status


def test_a_diverged_network_makes_no_gain():
    assert gains(torch.tensor([0.4, math.inf, 0.4]), torch.tensor([0.2, 0.2, math.inf])) == [2.0, 0.0, 0.0]
    p = parse(task="center")
    end = measured([[math.inf] * 5, [0.2] * 5], [FLAT] * 2)
    _, outcome = judge_compare(p, compared_losses(p), end, 10)
    assert outcome.verdict.status == "not_at_this_scale" and "diverged" in outcome.verdict.explanation.en


@pytest.mark.parametrize(
    ("half", "twice", "largest", "status", "answer"),
    [
        (99.0, 80.0, 60.0, "reproduced", "some"),
        (99.0, 12.0, 10.0, "reproduced", "chance"),
        (99.0, 98.9, 60.0, "same_direction", "same"),
        (90.0, 80.0, 60.0, "same_direction", "some"),
        (99.0, 99.0, 99.0, "not_at_this_scale", "same"),
    ],
)
def test_the_judge_of_too_large_margins(half, twice, largest, status, answer):
    levels = {0.0: 99.0, 0.5: half, 1.0: half, 1.25: half, 1.5: half, 2.0: twice, MULTIPLES[-1]: largest}
    train = [[levels[multiple] + jitter for jitter in (0.0, 0.1, -0.1, 0.05, -0.05)] for multiple in MULTIPLES]
    end = measured([[0.2] * 5 for _ in MULTIPLES], train)
    _, outcome = judge_too_large(parse(task="too-large"), end)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


@pytest.mark.parametrize(
    ("gain", "status", "answer"), [(15.0, "reproduced", "much"), (3.0, "same_direction", "some"), (-5.0, "not_at_this_scale", "none")]
)
def test_the_judge_of_unseen_digits_takes_the_tightest_loss(gain, status, answer):
    spread = torch.tensor([0.0, 0.5, -0.5, 0.2, -0.2])
    losses = [SOFTMAX, Loss(SOFTMAX.name, "first"), Loss(SOFTMAX.name, "second"), Loss(SOFTMAX.name, "third")]
    end = measured([[0.4] * 5, [0.2] * 5, [0.1] * 5, [0.3] * 5], [FLAT] * 4)
    auc = torch.stack([70 + spread, 50 - spread, 70 + gain + spread.flip(0), 99 + spread])
    figures, outcome = judge_unseen(parse(task="unseen"), losses, end, auc, 7, 80.0)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)
    assert figures[0].value == pytest.approx(gain, abs=1e-4)


# ---- the edges of the parameters -------------------------------------------------------------------------------------

QUICK: dict[str, object] = {"steps": 100, "seeds": 5}


@pytest.mark.parametrize("task", ["l-softmax", "center", "too-large", "unseen"])
def test_a_short_run_of_every_task_ends_with_a_verdict(task):
    last = last_of(task=task, **QUICK)
    assert last.outcome is not None and last.outcome.answer in DEMO.predict(parse(task=task)).options
    assert all(not math.isnan(figure.value) for figure in last.figures)


@pytest.mark.parametrize(("task", "known"), [("too-large", 3), ("unseen", 10)])
def test_few_and_all_digits(task, known):
    assert last_of(task=task, known=known, **QUICK).outcome is not None


def test_own_data_with_two_classes():
    rows = "\n".join(f"{i % 7},{(i * i) % 11},{'yes' if i % 7 > 3 else 'no'}" for i in range(60))
    last = last_of(data=rows, **QUICK)
    assert last.outcome is not None and "2 classes share the circle" in last.outcome.verdict.explanation.en
    assert "data.csv" in DEMO.code(parse(data=rows)) and "data.csv" not in DEMO.code(parse(task="unseen", data=rows))


def test_without_a_margin_nothing_gets_tighter():
    last = last_of(angle=0, **QUICK)
    assert last.outcome is not None and last.outcome.verdict.status == "not_at_this_scale" and last.figures[0].value == 1.0
