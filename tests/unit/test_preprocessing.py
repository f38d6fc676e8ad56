"""Preprocessing: the transformations against scikit-learn, the race against plain loops and exact theory, the table's stack against torch, and the rules."""

from __future__ import annotations

import math

import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from demos.core.demo import Snapshot
from demos.preprocessing import (
    DEMO,
    KINDS,
    MULTIPLES,
    TOLERANCE,
    Preprocessing,
    Race,
    Record,
    Training,
    judge_plane,
    judge_statistics,
    judge_table,
    judge_whitening,
    own_statistics,
    prepare,
    theory,
)

torch.set_num_threads(1)
CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rows(count: int = 120, features: int = 4) -> torch.Tensor:
    x = torch.randn(count, features, generator=generator(), dtype=torch.float64)
    return (x @ torch.randn(features, features, generator=generator(1), dtype=torch.float64)) * torch.tensor([1.0, 20.0, 0.1, 3.0]) + 5


def last(preset: str, **values: object) -> Snapshot:
    p = Preprocessing.parse({**DEMO.presets[preset].values, **values})
    *_, snapshot = DEMO.run(p, CPU, generator())
    return snapshot


# ---- the transformations ---------------------------------------------------------------------------------------------


def test_standardising_agrees_with_scikit_learn() -> None:
    x = rows()
    theirs = StandardScaler().fit(x[:80].numpy()).transform(x.numpy())
    ours = prepare("standardised", x, x[:80])
    torch.testing.assert_close(ours * (80 / 79) ** 0.5, torch.from_numpy(theirs))  # theirs divides by n, ours by n − 1


def test_whitening_agrees_with_scikit_learn_up_to_signs() -> None:
    x = rows()
    z = prepare("standardised", x, x)
    theirs = torch.from_numpy(PCA(whiten=True).fit_transform(z.numpy())).flip(1)  # theirs begins with the largest variance
    torch.testing.assert_close(prepare("whitened", x, x).abs(), theirs.abs() * (120 / 119) ** 0.5, rtol=1e-6, atol=1e-8)


def test_training_rows_come_out_as_promised() -> None:
    x = rows()
    assert prepare("raw", x, x) is x
    torch.testing.assert_close(prepare("centred", x, x).mean(0), torch.zeros(4, dtype=torch.float64), atol=1e-12, rtol=0)
    white = prepare("whitened", x, x)
    torch.testing.assert_close(white.T @ white / 120, torch.eye(4, dtype=torch.float64), atol=1e-9, rtol=0)


def test_a_stack_is_prepared_as_each_of_its_tables_would_be() -> None:
    tables = torch.stack([rows(), rows() ** 2])
    for kind in KINDS:
        torch.testing.assert_close(prepare(kind, tables, tables)[1], prepare(kind, tables[1], tables[1]))


def test_a_constant_column_stays_zero() -> None:
    x = rows()
    x[:, 2] = 7.0
    for kind in ("standardised", "whitened"):
        assert bool(prepare(kind, x, x).isfinite().all())
    assert bool((prepare("standardised", x, x)[:, 2] == 0).all())


# ---- two features ----------------------------------------------------------------------------------------------------


def finished(**values: object) -> Race:
    race = Race.draw(Preprocessing.parse(values), generator())
    step = 1
    while not race.step(step) and step < 5000:
        step += 1
    return race


def test_the_race_agrees_with_a_plain_loop_over_the_rows() -> None:
    """Gradient descent by autograd on the data themselves, drawn again from the same seed."""
    p = Preprocessing(draws=5, ratio=10, mean=1, correlation=0.8)
    race = Race.draw(p, generator())
    z, noise = torch.randn(5, 200, 3, generator=generator(), dtype=torch.float64).split([2, 1], 2)
    units = torch.stack([z[0, :, 0], 0.8 * z[0, :, 0] + 0.6 * z[0, :, 1]], 1) + 1
    x, y = units * torch.tensor([1.0, 10.0]), units[:, 0] - units[:, 1] / 2 + 0.1 * noise[0, :, 0]
    for step in range(1, 6):
        race.step(step)
    for i, kind in enumerate(KINDS):
        data, target = prepare(kind, x, x), y if kind == "raw" else y - y.mean()
        w = torch.zeros(2, dtype=torch.float64, requires_grad=True)
        for _ in range(5):
            (gradient,) = torch.autograd.grad((data @ w - target).square().mean() / 2, w)
            w = (w - race.rate[0, -1, i] * gradient).detach().requires_grad_()
        torch.testing.assert_close(race.w[0, -1, i], w.detach(), rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(race.best[0, -1, i], torch.linalg.lstsq(data, target[:, None]).solution[:, 0])


def test_each_step_multiplies_the_error_by_exactly_kappa_minus_one_over_kappa_plus_one() -> None:
    race = Race.draw(Preprocessing(draws=5, ratio=4), generator())
    before = (race.w - race.best).square().sum(-1).sqrt()
    for step in range(1, 8):
        race.step(step)
    after = (race.w - race.best).square().sum(-1).sqrt()
    torch.testing.assert_close(
        after[:, :, :3], before[:, :, :3] * ((race.condition - 1) / (race.condition + 1))[:, :, :3] ** 7, rtol=1e-8, atol=0
    )


def test_steps_are_those_of_theory() -> None:
    race = finished(draws=5, ratio=5, mean=0.5)
    expected = [max(1, math.ceil(theory(kappa) - 1e-6)) for kappa in race.condition.flatten().tolist()]
    assert race.arrived.flatten().tolist() == expected


@pytest.mark.parametrize(("kappa", "steps"), [(1.0, 1), (19.0, 65.6), (1e4, 34_539)])
def test_theory(kappa: float, steps: float) -> None:
    """A thousandth at κ = 10⁴ takes about 35,000 steps, as the knowledge base says."""
    assert theory(kappa) == pytest.approx(steps, rel=1e-3)
    assert TOLERANCE == 1e-3


def test_condition_numbers_of_simple_cases() -> None:
    """Scale ratio r alone: κ = r²; correlation ρ alone: (1 + ρ)/(1 − ρ), which standardising leaves; both up to sampling."""
    scaled = Race.draw(Preprocessing(draws=10, ratio=10, mean=0, correlation=0), generator()).condition[:, -1].mean(0).tolist()
    assert scaled == pytest.approx([100, 100, 1.15, 1], rel=0.1)
    correlated = Race.draw(Preprocessing(draws=10, ratio=1, mean=0, correlation=0.9), generator()).condition[:, -1].mean(0).tolist()
    assert correlated == pytest.approx([19, 19, 19, 1], rel=0.1)


# ---- the table -------------------------------------------------------------------------------------------------------


def test_the_stack_trains_as_torch_does() -> None:
    training = Training(Preprocessing(task="table", draws=5), generator())
    rate = training.rates[2, 0, 0].item()  # the first split, standardised, at the smallest rate
    layer = torch.nn.Linear(30, 2).double()
    torch.nn.init.zeros_(layer.weight)
    torch.nn.init.zeros_(layer.bias)
    optimizer = torch.optim.SGD(layer.parameters(), lr=rate)
    x, y = training.train_x[2, :, :30], training.train_y[2].argmax(1)
    for _ in range(4):
        loss = torch.nn.functional.cross_entropy(layer(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        torch.testing.assert_close(training.step()[0, 2, 0], loss.detach())
    torch.testing.assert_close(training.weights(2, 0)[0], torch.cat([layer.weight, layer.bias[:, None]], 1).detach())
    test_loss = torch.nn.functional.cross_entropy(layer(training.test_x[2, :, :30]), training.test_y[2].argmax(1))
    torch.testing.assert_close(training.test()[0, 2, 0], test_loss.detach())


def test_training_and_test_rows_are_apart_and_labelled_right() -> None:
    training = Training(Preprocessing(task="table", draws=5), generator())
    train, test = training.raw[0]
    assert (len(train), len(test)) == (380, 189)
    assert not {tuple(row) for row in train.tolist()} & {tuple(row) for row in test.tolist()}
    malignant = test[training.labels[0, :189] == 0, 0].mean()
    assert malignant > test[training.labels[0, :189] == 1, 0].mean() + 3  # the radius of malignant tumours is larger


def test_own_statistics_of_everything_at_once_equal_a_hand_computation() -> None:
    training = Training(Preprocessing(task="statistics", draws=5), generator())
    for _ in range(30):
        training.step()
    errors = own_statistics(training, 1, 8)
    (_, test), y = training.raw[0], training.labels[0, :189]
    w = training.weights(2, 1)[0]
    z = (test - test.mean(0)) / test.std(0)
    assert errors[0][1] == pytest.approx(100 * ((z @ w[:, :30].T + w[:, 30]).argmax(1) != y).double().mean().item())
    direct = ((training.test_x[2] @ w.T).argmax(1) != y).double().mean().item()
    assert errors[0][0] == pytest.approx(100 * direct)
    assert errors[0][3] > errors[0][0] + 20


# ---- rules -----------------------------------------------------------------------------------------------------------


def made_race(power: float, offset: int = 0, hard: bool = True) -> Race:
    """Five draws whose κ are 100 … 800 (or 1), solved in theory's steps, bent to another exponent and shifted."""
    race = finished(draws=5, ratio=1, mean=0, correlation=0)
    top = 100.0 * torch.tensor([1, 2, 4, 8], dtype=torch.float64) if hard else torch.ones(4, dtype=torch.float64)
    race.condition = top.expand(5, 8, 4).clone()
    steps = [math.ceil(theory(kappa) * (kappa / 100) ** (power - 1)) + offset for kappa in top.tolist()]
    race.arrived = torch.tensor(steps, dtype=torch.float64).expand(5, 8, 4).clone()
    return race


@pytest.mark.parametrize(
    ("race", "status"),
    [
        (made_race(1), "reproduced"),
        (made_race(1, offset=5), "same_direction"),
        (made_race(0.7), "same_direction"),
        (made_race(0.3), "not_at_this_scale"),
        (made_race(1, hard=False), "not_at_this_scale"),
    ],
)
def test_plane_rule(race: Race, status: str) -> None:
    _, outcome = judge_plane(Preprocessing(draws=5), race)
    assert outcome.verdict.status == status


def record(train: list[float], test: list[float]) -> Record:
    """One look at five splits with these losses of the four preparations, the same at each rate."""
    wobble = torch.tensor([1.0, 1.05, 0.95, 1.02, 0.98], dtype=torch.float64)[:, None, None]

    def spread(values: list[float]) -> torch.Tensor:
        tilt = torch.linspace(1, 1.2, len(KINDS), dtype=torch.float64)[None, :, None] ** (wobble - 1)
        return (torch.tensor(values, dtype=torch.float64)[None, :, None] * wobble * tilt).expand(5, 4, len(MULTIPLES))

    return Record([10], [spread(train)], [spread(test)])


@pytest.mark.parametrize(
    ("train", "status"),
    [([0.4, 0.3, 0.2, 0.1], "reproduced"), ([0.4, 0.5, 0.2, 0.1], "same_direction"), ([0.1, 0.2, 0.3, 0.4], "not_at_this_scale")],
)
def test_table_rule(train: list[float], status: str) -> None:
    _, outcome = judge_table(Preprocessing(task="table"), record(train, [0.4, 0.3, 0.1, 0.2]))
    assert (outcome.verdict.status, outcome.answer) == (status, "standardised")


@pytest.mark.parametrize(
    ("train", "test", "status", "answer"),
    [(0.05, 0.9, "reproduced", "much"), (0.3, 0.3, "same_direction", "higher"), (0.05, 0.2, "not_at_this_scale", "same"), (0.05, 0.1, "not_at_this_scale", "lower")],
)  # fmt: skip
def test_whitening_rule(train: float, test: float, status: str, answer: str) -> None:
    """The last of the four is whitened; standardised inputs have a training loss of 0.1 and a test loss of 0.2."""
    _, outcome = judge_whitening(Preprocessing(task="whitening"), record([0.3, 0.3, 0.1, train], [0.3, 0.3, 0.2, test]))
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


@pytest.mark.parametrize(
    ("batches", "single", "status", "answer"),
    [(10, 50, "reproduced", "many"), (10, 2, "same_direction", "same"), (2, 2, "not_at_this_scale", "same"), (3, 7, "reproduced", "some")],
)
def test_statistics_rule(batches: float, single: float, status: str, answer: str) -> None:
    errors = [[2.0, 2.0, batches + shift, single + shift] for shift in (-0.2, 0.0, 0.2, 0.1, -0.1)]
    _, outcome = judge_statistics(Preprocessing(task="statistics"), errors)
    assert (outcome.verdict.status, outcome.answer) == (status, answer)


def test_the_script_for_an_own_table_takes_the_raw_features() -> None:
    table = "a,b,k\n" + "\n".join(f"{i},{i * i % 7},{'yn'[i % 2]}" for i in range(40))
    code = DEMO.code(Preprocessing.parse({"task": "table", "data": table}))
    assert "data.csv" in code and "x.std(0).where" not in code


@pytest.mark.parametrize(
    ("preset", "values"),
    [
        ("plane", {"ratio": 1, "mean": 0, "correlation": 0}),
        ("plane", {"ratio": 12, "mean": 0, "correlation": 0.99, "draws": 5}),
        ("whitening", {"smoothing": 1, "steps": 50}),
        ("statistics", {"batch": 2, "steps": 50}),
    ],
)
def test_the_ends_of_the_parameters(preset: str, values: dict[str, object]) -> None:
    snapshot = last(preset, **values)
    assert snapshot.outcome is not None
    assert not any(math.isnan(figure.value) for figure in snapshot.figures)
