from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from fleet_tasks import padded_with, prepared, same_weights, signs, spec_for, sums, trained
from torch.nn.utils.rnn import pack_padded_sequence

import throughtime as tt
from throughtime.errors import ModelError
from throughtime.fleet import Recipe, SequenceModel, train
from throughtime.fleet.train import evaluate, predict
from throughtime.tasks import Block, load

SHORT = Recipe(rate=1e-2, clip=1.0, batch_size=16, epochs=4, patience=4)


@pytest.fixture(scope="module")
def data():
    return prepared(signs())


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_the_same_arguments_give_the_same_weights_bit_for_bit(data, cell):
    once = trained(data, SHORT, cell=cell)
    torch.rand(7)
    again = trained(data, SHORT, cell=cell)
    assert same_weights(once, again)
    assert once.validation_curve == again.validation_curve
    assert once.train_curve == again.train_curve


def test_the_random_state_of_the_process_is_left_alone(data):
    before = torch.get_rng_state()
    trained(data, SHORT)
    assert torch.equal(torch.get_rng_state(), before)


def test_another_seed_is_another_start_and_another_order(data):
    assert not same_weights(trained(data, SHORT), trained(data, SHORT, seed=1))
    whole = replace(SHORT, batch_size=10_000)
    assert trained(data, whole).train_curve[0] != trained(data, whole, seed=1).train_curve[0]


@pytest.mark.parametrize(
    "change",
    [{"rate": 2e-2}, {"clip": 0.01}, {"batch_size": 7}, {"epochs": 1}],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_recipe_has_its_effect(data, change):
    assert not same_weights(trained(data, SHORT), trained(data, replace(SHORT, **change)))


@pytest.mark.parametrize(
    "change",
    [
        {"cell": "gru"},
        {"phi": "relu"},
        {"hidden_size": 9},
        {"num_layers": 2},
        {"bidirectional": True},
        {"recurrent_init": "identity"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_every_part_of_the_network_has_its_effect(data, change):
    plain, changed = trained(data, SHORT), trained(data, SHORT, **change)
    assert plain.train_curve != changed.train_curve


def test_the_width_of_the_embedding_has_its_effect():
    tokens = prepared(load("copy_memory", T=2, N=60))
    curves = {trained(tokens, SHORT, input_size=width).train_curve for width in (3, 5)}
    assert len(curves) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rate": 0.0}, "rate = 0.0"),
        ({"rate": -1e-3}, "rate = -0.001"),
        ({"rate": math.nan}, "rate = nan"),
        ({"rate": math.inf}, "rate = inf"),
        ({"rate": "fast"}, "rate = 'fast'"),
        ({"clip": 0}, "clip = 0"),
        ({"clip": math.nan}, "clip = nan"),
        ({"clip": None}, "clip = None"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"batch_size": 1.5}, "batch_size = 1.5"),
        ({"epochs": 0}, "epochs = 0"),
        ({"epochs": True}, "epochs = True"),
        ({"patience": 0}, "patience = 0"),
    ],
)
def test_a_recipe_that_nothing_can_be_trained_by_is_refused(values, message):
    with pytest.raises(ModelError, match=message):
        Recipe(**values)


# against plain torch


@pytest.fixture
def double():
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


@pytest.mark.parametrize("clip", [0.05, math.inf])
def test_training_is_torchs_own_loop_with_the_gradient_clipped_by_hand(clip, double):
    data = prepared(sums(N=60))
    block = replace(data.train, x=data.train.x.double(), y=data.train.y.double())
    validation = replace(data.validation, x=data.validation.x.double())
    recipe = Recipe(rate=1e-2, clip=clip, batch_size=10, epochs=1)
    data = replace(data, train=block, validation=validation)
    ours = trained(data, recipe, recurrent_init="uniform").model

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = SequenceModel(spec_for(data, recurrent_init="uniform"))
    rnn, readout = torch.nn.RNN(2, 8, batch_first=True), torch.nn.Linear(8, 2)
    rnn.load_state_dict(start.recurrent.state_dict())
    readout.load_state_dict(start.readout.state_dict())
    weights = [*rnn.parameters(), *readout.parameters()]
    adam = torch.optim.Adam(weights, lr=1e-2)
    norms = []
    order = torch.randperm(len(block), generator=torch.Generator().manual_seed(0))
    for rows in order.split(10):
        batch = block.rows(rows)
        packed = pack_padded_sequence(
            batch.x, batch.lengths, batch_first=True, enforce_sorted=False
        )
        adam.zero_grad()
        (readout(rnn(packed)[1][-1]) - batch.y).square().mean().backward()
        gradients = [w.grad for w in weights if w.grad is not None]
        norms.append(math.sqrt(sum(float(g.square().sum()) for g in gradients)))
        for g in gradients:
            g *= min(1.0, clip / (norms[-1] + 1e-6))
        adam.step()
    assert max(norms) > 2 * min(norms) > 0.1
    for mine, w in zip(ours.parameters(), weights, strict=True):
        torch.testing.assert_close(mine, w, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_no_two_gradients_share_memory(cell):
    """Else clipping in place scales one of them twice."""
    data = prepared(signs())
    model = SequenceModel(spec_for(data, cell=cell, bidirectional=True))
    data.preprocessing.loss(model(data.train.x, data.train.lengths), data.train).backward()
    gradients = [w.grad for w in model.parameters() if w.grad is not None]
    assert len({g.untyped_storage().data_ptr() for g in gradients}) == len(gradients)


# which epoch is kept, and when training ends


def test_the_network_kept_is_that_of_the_best_epoch():
    data = prepared(sums(N=40))
    recipe = Recipe(rate=5e-2, clip=1.0, batch_size=8, epochs=30, patience=30)
    whole = trained(data, recipe)
    best = int(np.argmin(whole.validation_curve))
    assert 0 < best < 29, "the best epoch must be neither the first nor the last here"
    assert whole.best_epoch == best
    assert whole.validation_score == whole.validation_curve[best]
    assert evaluate(whole.model, data, data.validation) == whole.validation_score
    assert same_weights(whole, trained(data, replace(recipe, epochs=best + 1)))
    assert not whole.model.training


@pytest.mark.parametrize("patience", [1, 3])
def test_training_ends_when_patience_does(patience):
    data = prepared(sums(N=40))
    recipe = Recipe(rate=5e-2, clip=1.0, batch_size=8, epochs=100, patience=100)
    long, stopped = trained(data, recipe), trained(data, replace(recipe, patience=patience))
    seen = len(stopped.validation_curve)
    assert seen < 100
    assert stopped.best_epoch is not None
    assert seen == stopped.best_epoch + 1 + patience
    assert stopped.validation_curve == long.validation_curve[:seen]
    assert not any(
        min(long.validation_curve[: k + 1]) <= min(long.validation_curve[k + 1 : k + 1 + patience])
        for k in range(stopped.best_epoch)
    ), "an earlier epoch had waited long enough already"


def test_a_score_to_be_high_is_kept_at_its_highest(data):
    outcome = trained(data, replace(SHORT, epochs=8, patience=8))
    assert outcome.validation_score == max(outcome.validation_curve)


def test_every_epoch_is_told_and_counted(data):
    told: list[int] = []
    train(data, spec_for(data), SHORT, 0, higher_is_better=True, on_epoch=told.append)
    assert told == [0, 1, 2, 3]
    assert trained(data, SHORT).steps_per_epoch == math.ceil(len(data.train) / 16)


# what may influence what


def garbage(block: Block) -> Block:
    return replace(block, x=torch.full_like(block.x, math.nan), y=block.y.flip(0))


def test_the_test_block_is_never_looked_at(data):
    assert same_weights(trained(data, SHORT), trained(replace(data, test=garbage(data.test))))


def test_the_validation_block_decides_the_epoch_and_nothing_else(data):
    other = replace(data.validation, y=1 - data.validation.y)
    plain, turned = trained(data, SHORT), trained(replace(data, validation=other), SHORT)
    assert plain.train_curve == turned.train_curve
    assert turned.validation_curve == pytest.approx([1 - s for s in plain.validation_curve])


def test_the_score_is_that_of_the_validation_rows_alone(data):
    outcome = trained(data, SHORT)
    block = data.validation
    right = 0
    for n in range(len(block)):
        x = block.x[n : n + 1, : int(block.lengths[n])]
        right += int(outcome.model(x).argmax()) == int(block.y[n])
    assert outcome.validation_score == pytest.approx(right / len(block))
    rows = signs().split(0)
    assert not set(rows.train) & set(rows.validation)
    assert not set(rows.test) & {*rows.train, *rows.validation}


@pytest.mark.parametrize(
    "spec",
    [{}, {"cell": "gru"}, {"cell": "lstm"}, {"bidirectional": True, "num_layers": 2}],
    ids=str,
)
def test_padding_has_no_influence_on_anything(data, spec):
    filled = replace(
        data,
        train=padded_with(data.train, 1e6),
        validation=padded_with(data.validation, 1e6),
    )
    plain, other = trained(data, SHORT, **spec), trained(filled, SHORT, **spec)
    assert float(filled.train.x.max()) == 1e6
    assert same_weights(plain, other)
    assert plain.train_curve == other.train_curve
    assert plain.validation_curve == other.validation_curve
    outputs = (predict(plain.model, block) for block in (data.validation, filled.validation))
    assert torch.equal(*outputs)


def test_padding_has_no_influence_per_step_either():
    rng = np.random.default_rng(0)
    whole = load("noisy_sine", T=12, N=40)
    lengths = rng.integers(2, 13, 40)
    valid = np.arange(12) < lengths[:, None]
    task = replace(
        whole, x=whole.x * valid[..., None], lengths=lengths, y=whole.y * valid[..., None],
        counts=valid,
    )  # fmt: skip
    data = prepared(task)
    filled = replace(
        data,
        train=padded_with(data.train, 1e6),
        validation=padded_with(data.validation, 1e6),
    )
    plain, other = trained(data, SHORT), trained(filled, SHORT)
    assert same_weights(plain, other)
    assert (plain.train_curve, plain.validation_curve) == (
        other.train_curve,
        other.validation_curve,
    )


# divergence


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm"])
def test_a_rate_far_too_high_is_divergence_and_no_error(cell):
    data = prepared(load("noisy_sine", T=30, N=40))
    recipe = Recipe(rate=1e3, batch_size=8, epochs=5)
    outcome = trained(data, recipe, phi="relu", cell=cell)
    assert outcome.diverged and outcome.validation_score is None
    assert len(outcome.train_curve) < 5


def test_a_loss_that_is_not_finite_in_the_first_batch_ends_it_there():
    data = prepared(sums())
    broken = replace(data, train=replace(data.train, y=torch.full_like(data.train.y, 1e30)))
    outcome = trained(broken, SHORT)
    assert outcome.diverged
    assert outcome.best_epoch is None and outcome.validation_score is None
    assert len(outcome.train_curve) == len(outcome.validation_curve) == 1
    assert math.isnan(outcome.train_curve[0]) and math.isnan(outcome.validation_curve[0])
    assert math.isnan(outcome.seconds_per_step)


def test_a_loss_that_runs_away_while_finite_is_divergence():
    data = prepared(sums(T=3))
    outcome = trained(data, Recipe(rate=30.0, batch_size=8, epochs=20, patience=20), phi="identity")
    assert outcome.diverged
    assert math.isfinite(outcome.train_curve[-1]) and outcome.train_curve[-1] > 1e3
    assert math.isfinite(outcome.validation_curve[-1])


def test_divergence_after_a_good_start_leaves_the_best_network():
    data = prepared(sums(N=40))
    good = trained(data, SHORT)
    calls = []

    def spoil(epoch: int) -> None:
        calls.append(epoch)
        if epoch == 1:
            data.train.x.fill_(math.nan)

    spoilt = train(data, spec_for(data), SHORT, 0, higher_is_better=False, on_epoch=spoil)
    assert spoilt.diverged and spoilt.validation_score is None
    assert spoilt.best_epoch in (0, 1) and len(calls) == 3
    assert spoilt.train_curve[:2] == good.train_curve[:2] and math.isnan(spoilt.train_curve[2])
    assert all(bool(w.isfinite().all()) for w in spoilt.model.parameters())


def test_a_first_batch_that_is_right_by_chance_makes_no_later_loss_divergence():
    data = prepared(sums())
    spec = spec_for(data)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        start = SequenceModel(spec)
    first = torch.randperm(len(data.train), generator=torch.Generator().manual_seed(0))[:1]
    y = data.train.y.clone()
    y[first] = start(data.train.x[first], data.train.lengths[first]).detach()
    recipe = Recipe(rate=1e-3, batch_size=1, epochs=2)
    lucky = replace(data, train=replace(data.train, y=y))
    assert not train(lucky, spec, recipe, 0, higher_is_better=False).diverged


def test_outputs_that_are_not_finite_in_validation_are_divergence():
    data = prepared(sums())
    x = data.validation.x.clone()
    x[0, 0, 0] = math.inf
    broken = replace(data, validation=replace(data.validation, x=x))
    outcome = trained(broken, SHORT, phi="identity")
    assert outcome.diverged and len(outcome.train_curve) == 1
    assert math.isfinite(outcome.train_curve[0])


# every kind of problem


def text(tmp_path):
    path = tmp_path / "story.txt"
    path.write_text("the cat sat on the mat. " * 60, "utf-8")
    return load(path, window=16)


def waves(_):
    t = np.arange(300)
    return load(np.stack((np.sin(t / 3), np.cos(t / 5)), 1), horizon=2, window=12, target="x0,x1")


PROBLEMS = {
    "copy_memory": lambda _: load("copy_memory", T=1, N=300),
    "anbn": lambda _: load("anbn", train=5, validation=6, test=8, N=200),
    "text": text,
    "next_step": lambda _: load("noisy_sine", T=20, N=120),
    "forecast": waves,
    "regression": lambda _: load("adding", T=4, N=300),
    "targets": lambda _: sums(N=200),
    "classification": lambda _: signs(N=200),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_small_network_beats_the_naive_answers(name, tmp_path):
    task = PROBLEMS[name](tmp_path)
    data = prepared(task)
    recipe = Recipe(rate=1e-2, clip=1.0, batch_size=16, epochs=25, patience=25)
    counts = name == "anbn"  # only the LSTM counts on beyond the strings of training (Gers 2001)
    outcome = trained(data, recipe, cell="lstm" if counts else "gru", hidden_size=16)
    assert not outcome.diverged
    shape = (len(data.test), *([data.test.x.shape[1]] if task.per_step else []), data.output_size)
    assert predict(outcome.model, data.test).shape == shape
    score = evaluate(outcome.model, data, data.test)
    naive = task.baselines(task.split(0)).values()
    if task.metric.higher_is_better:
        assert score > max(naive)
    else:
        assert score < min(naive)


def test_a_network_that_would_see_the_answer_is_refused():
    tokens = prepared(load("copy_memory", T=1, N=60))
    with pytest.raises(ModelError, match=r"next_token problem.*backwards"):
        trained(tokens, SHORT, bidirectional=True)


def test_prelu_learns_a_slope_a_unit_and_swish_its_beta(data):
    prelu = trained(data, SHORT, phi="prelu").model.recurrent
    learnt = dict(prelu.named_parameters())["nonlinearity_slope_l0"]
    start = tt.activation("prelu").parameters["slope"]
    assert bool((learnt != start.default).all())
    assert learnt.shape == ((8,) if start.learnable == "unit" else ())
    swish = trained(data, SHORT, phi="swish", cell="gru").model.recurrent
    beta = dict(swish.named_parameters())["activation_beta_l0"]
    assert beta.item() != tt.activation("swish").parameters["beta"].default
