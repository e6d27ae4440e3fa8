"""Trainings without an export: the steps, what is kept, and that an interruption changes nothing."""

import json
import math
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from helpers.deaths import Killed, at_write  # noqa: E402
from helpers.finetuning import (  # noqa: E402
    STEPS,
    TRAIN,
    VALIDATION,
    Executed,
    assert_same_training,
    planned,
    timeless,
    trainer,
    weights_in,
    write_data,
)
from torch import nn  # noqa: E402

from ncdb_dask.errors import PlanError, TrainingError  # noqa: E402
from ncdb_dask.training.decode import decoded  # noqa: E402
from ncdb_dask.training.loop import Trainer, best_weights  # noqa: E402
from ncdb_dask.training.losses import smoothness, supervised  # noqa: E402
from ncdb_dask.training.step import colours  # noqa: E402
from ncdb_dask.training.validation import Validation  # noqa: E402

DIVERGING = {"factory": "helpers.finetuning:diverging"}


def settings(**training):
    return {"training": {"epochs": 3} | training}


def run(root, out, measured=None, /, **sections):
    """Train to the end with a penalty that takes the network, and return the trainer and its folder."""
    made = trainer(planned(root, out, **sections), measured)
    made.run()
    return made, made.setting.folder.path


# Steps


def spread(network):
    return network.first.weight.flatten(1).mean(dim=1).var()


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"loss": {"kind": "berhu", "smoothness": 0.5}, "data": {"flip": True}},
        {"training": {"weight_decay": 0.5, "clip_norm": 0.1, "freeze_batch_norm": False}},
    ],
)
def test_two_epochs_are_what_the_plainest_loop_does(sections, root, tmp_path):
    penalty = {"penalty": {"kind": "channel-mean", "lambda": 2.0}}
    plan = planned(root, tmp_path / "out", **sections | penalty)
    made = trainer(plan, spread)
    recipe = plan.recipe
    network = plan.source.build(recipe.training.seed)
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.01, weight_decay=recipe.training.weight_decay)
    for epoch in (1, 2):
        torch.manual_seed(recipe.training.seed + epoch)
        network.train()
        network.network.norm.train(not recipe.training.freeze_batch_norm)
        for batch in made.loader.epoch(epoch):
            depth = decoded(network(batch.pictures), plan.spec.output)
            loss = supervised(recipe.loss.kind, depth, [truth.float() for truth in batch.truths])
            smooth = smoothness(depth, nn.functional.interpolate(batch.pictures, depth.shape[2:], mode="area"))
            loss = loss + recipe.loss.smoothness * smooth + 2.0 * spread(network.network)
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(network.parameters(), recipe.training.clip_norm)
            optimizer.step()
    made.run()
    for name, value in network.state_dict().items():
        torch.testing.assert_close(made.network.state_dict()[name], value, rtol=1e-5, atol=1e-7)


def test_figures_of_an_epoch_are_means_over_frames(root, tmp_path):
    made = trainer(planned(root, tmp_path / "out", training={"epochs": 1, "learning_rate": 0}), spread)
    row = made.run()[1]
    torch.manual_seed(made.setting.training.seed + 1)
    made.network.train()
    made.network.network.norm.eval()
    losses, sizes = [], []
    for batch in made.loader.epoch(1):
        depth = decoded(made.network(batch.pictures), made.setting.spec.output)
        losses.append(supervised("silog", depth, [truth.float() for truth in batch.truths]).item())
        sizes.append(len(batch.indices))
    assert sizes == [3, 3, 2]
    assert row["loss"] == pytest.approx(np.average(losses, weights=sizes), rel=1e-5)
    # Nothing was learned at a rate of 0, so the penalty is that of the beginning, and so is validation.
    assert row["penalty"] == pytest.approx(spread(made.network.network).item(), rel=1e-5)
    assert row["abs_rel"] == made.history[0]["abs_rel"]
    assert (row["frames"], row["left_out"], row["validated"], row["not_validated"]) == (TRAIN, 0, VALIDATION, 0)


def rates_of(root, out, **training):
    made, rates = trainer(planned(root, out, **settings(**training))), []
    made.stepper.optimizer.register_step_pre_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    made.run()
    return rates, [row["learning_rate"] for row in made.history[1:]]


def test_a_cosine_schedule_is_that_of_torch(root, tmp_path):
    rates, told = rates_of(root, tmp_path / "out", schedule="cosine")
    parameter = nn.Parameter(torch.zeros(1))
    reference = torch.optim.SGD([parameter], lr=0.01)
    schedule, expected = torch.optim.lr_scheduler.CosineAnnealingLR(reference, 3 * STEPS), []
    for _ in range(3 * STEPS):
        expected.append(schedule.get_last_lr()[0])
        reference.step()
        schedule.step()
    assert rates == pytest.approx(expected)
    assert told == pytest.approx(expected[STEPS - 1 :: STEPS])


def test_a_constant_rate_is_constant(root, tmp_path):
    rates, told = rates_of(root, tmp_path / "out")
    assert rates == [0.01] * 3 * STEPS
    assert told == [0.01] * 3


def norms_of(root, out, clip):
    """Norms of the gradients that the optimizer gets, and the mean of those before."""
    made, norms = trainer(planned(root, out, training={"epochs": 1, "clip_norm": clip, "learning_rate": 0})), []

    def kept(optimizer, *_):
        gradients = [one.grad for group in optimizer.param_groups for one in group["params"]]
        norms.append(math.sqrt(sum(float((one.double() ** 2).sum()) for one in gradients)))

    made.stepper.optimizer.register_step_pre_hook(kept)
    return norms, made.run()[1]["gradient_norm"], made


def test_gradients_are_limited_together(root, tmp_path):
    whole, told, _ = norms_of(root, tmp_path / "whole", 0)
    assert told == pytest.approx(np.average(whole, weights=[3, 3, 2]), rel=1e-5)
    limit = sorted(whole)[1]
    clipped, told_too, _ = norms_of(root, tmp_path / "clipped", limit)
    assert clipped == pytest.approx([min(one, limit) for one in whole], rel=1e-4)
    assert told_too == pytest.approx(told, rel=1e-5)


@pytest.mark.parametrize("frozen", [True, False])
def test_batch_norm_is_frozen_or_not(frozen, root, tmp_path):
    made, _ = run(root, tmp_path / "out", **settings(freeze_batch_norm=frozen))
    norm = made.network.network.norm
    assert (torch.equal(norm.running_mean, torch.zeros(6)) and torch.equal(norm.running_var, torch.ones(6))) is frozen
    assert int(norm.num_batches_tracked) == (0 if frozen else 3 * STEPS)
    # Its scale and shift are learned either way.
    assert not torch.equal(norm.weight, torch.ones(6))


def test_training_makes_it_better(root, tmp_path):
    made, _ = run(root, tmp_path / "out", **settings(epochs=8, learning_rate=0.1), loss={"kind": "l1"})
    assert made.history[-1]["loss"] < 0.95 * made.history[1]["loss"]


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_colours_are_those_before_the_normalisation(layout, root, tmp_path):
    given = planned(root, tmp_path / "out").spec.input
    spec = replace(given, layout=layout, scale=127.5, mean=(1.0, 0.9, 1.1), std=(0.5, 0.25, 2.0))
    pictures = torch.rand(2, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    mean, std = (torch.tensor(values).reshape(1, 3, 1, 1) for values in (spec.mean, spec.std))
    normalised = (pictures * 255 / 127.5 - mean) / std
    entering = normalised if layout == "nchw" else normalised.permute(0, 2, 3, 1)
    found = colours(entering, spec, torch.ones(2, 1, 6, 8))
    expected = pictures.reshape(2, 3, 6, 2, 8, 2).mean(dim=(3, 5))
    torch.testing.assert_close(found, expected)


# What is kept


@pytest.fixture
def judged_as(monkeypatch):
    """Let validations find these, epoch by epoch."""

    def judge(*abs_rel):
        left = iter(abs_rel)
        figures = lambda: {"abs_rel": next(left), "rmse": 1.0, "a1": 0.5}  # noqa: E731
        monkeypatch.setattr(Trainer, "_validated", lambda self: Validation(figures(), VALIDATION, ()))
        return left

    return judge


def test_the_best_epoch_is_kept_and_the_first_of_equals(root, tmp_path, judged_as):
    judged_as(0.1, 0.5, 0.3, 0.4, 0.3)
    made, folder = run(root, tmp_path / "out", **settings(epochs=4))
    held = torch.load(f"{folder}/best.pt", weights_only=True)
    assert (made.best, held["epoch"], held["row"]["abs_rel"]) == (2, 2, 0.3)
    assert not torch.equal(held["network"]["last.weight"], weights_in(f"{folder}/last.pt")["last.weight"])
    judged_as(0.1, 0.5, 0.3)
    _, short = run(root, tmp_path / "short", **settings(epochs=2))
    for name, value in weights_in(f"{short}/last.pt").items():
        assert torch.equal(held["network"][name], value)


@pytest.mark.parametrize(
    ("patience", "abs_rel", "epochs"),
    [
        (2, (0.1, 0.5, 0.4, 0.6, 0.4), 4),  # not better than the second
        (1, (0.1, 0.5, 0.4, 0.3, 0.31), 4),
        (0, (0.1, 0.5, 0.6, 0.6, 0.6, 0.6, 0.6), 6),
        (3, (0.1, 0.5, 0.6, 0.6, 0.4, 0.6, 0.6), 6),  # ended by its epochs
    ],
)
def test_it_ends_when_nothing_has_become_better_for_long(patience, abs_rel, epochs, root, tmp_path, judged_as):
    left = judged_as(*abs_rel)
    made, _ = run(root, tmp_path / "out", **settings(epochs=6, patience=patience))
    assert len(made.history) - 1 == epochs
    assert next(left, None) is None


def test_the_history_is_a_table(root, tmp_path):
    made, folder = run(root, tmp_path / "out", penalty={"kind": "channel-mean", "lambda": 1e-8})
    table = pd.read_parquet(f"{folder}/history.parquet")
    assert table["epoch"].tolist() == [0, 1, 2]
    assert table["lambda"].tolist() == [1e-8] * 3
    assert table["abs_rel"].tolist() == [row["abs_rel"] for row in made.history]
    trained = ["learning_rate", "loss", "penalty", "gradient_norm", "frames", "left_out"]
    assert table.loc[0, trained].isna().all()
    assert table.loc[1:, trained].notna().all(axis=None)
    assert (table["seconds"] >= 0).all()


def test_what_is_under_way_is_told(root, tmp_path):
    told = []
    trainer(planned(root, tmp_path / "out"), progress=lambda *what: told.append(what)).run()
    assert [what for what in told if what[0].startswith("epoch")] == [
        (f"epoch {epoch} of 2, lambda 0", step, STEPS) for epoch in (1, 2) for step in (1, 2, 3)
    ]
    assert ("validation before training, lambda 0", 2, 2) in told
    assert ("validation after epoch 2, lambda 0", 2, 2) in told


# Frames that are at fault


def test_frames_that_cannot_be_read_are_left_out_and_counted(tmp_path):
    root = write_data(tmp_path)
    listed = json.loads((root / "train_split.json").read_text())
    bad = listed[1]
    (root / bad["dataset_root"] / "image_a6" / f"{bad['new_filename']}.png").write_bytes(b"no picture")
    made, _ = run(root, tmp_path / "faulty", training={"epochs": 1})
    assert (made.history[1]["frames"], made.history[1]["left_out"]) == (TRAIN - 1, 1)


def test_a_batch_without_a_sound_frame_is_no_step(tmp_path):
    root = write_data(tmp_path)
    listed = json.loads((root / "train_split.json").read_text())
    for bad in listed[1:]:
        (root / bad["dataset_root"] / "image_a6" / f"{bad['new_filename']}.png").unlink()
    made = trainer(planned(root, tmp_path / "out", training={"epochs": 1}))
    steps = []
    made.stepper.optimizer.register_step_pre_hook(lambda *_: steps.append(1))
    made.run()
    assert (made.history[1]["frames"], made.history[1]["left_out"], len(steps)) == (1, TRAIN - 1, 1)


def test_no_sound_frame_at_all_is_an_error(tmp_path):
    root = write_data(tmp_path)
    for bad in json.loads((root / "train_split.json").read_text()):
        (root / bad["dataset_root"] / "image_a6" / f"{bad['new_filename']}.png").unlink()
    with pytest.raises(TrainingError, match=r"no frame of the training split can be used; the first: \S+ of "):
        run(root, tmp_path / "out")


# A training that diverges


def test_a_diverged_training_says_so_and_keeps_the_last_good_epoch(root, tmp_path):
    network = {"network": DIVERGING | {"arguments": {"after": STEPS + 1}}}
    plan = planned(root, tmp_path / "out", **network, **settings())
    with pytest.raises(TrainingError) as caught:
        trainer(plan).run()
    said, folder = str(caught.value), tmp_path / "out" / "lambda_0"
    assert said.startswith("epoch 2, step 2: the loss is nan")
    assert f"the training has diverged; the best so far, of epoch 1, is {folder}/best.pt" in said
    assert "learning_rate below 0.01" in said
    _, short = run(root, tmp_path / "short", **network, training={"epochs": 1})
    assert_same_training(folder, tmp_path / "short" / "lambda_0")
    # What was kept is of use: another recipe goes on from it.
    best = {"checkpoint": str(folder / "best.pt"), "arguments": {"after": 10**6}}
    made = trainer(planned(root, tmp_path / "again", network=DIVERGING | best))
    for name, value in weights_in(f"{short}/best.pt").items():
        assert torch.equal(made.network.network.state_dict()[name], value)
    made.run()
    assert all(math.isfinite(row["loss"]) for row in made.history[1:])


def test_a_training_that_diverges_at_once_has_nothing_to_keep(root, tmp_path):
    with pytest.raises(TrainingError, match=r"epoch 1, step 1: the loss is nan.*has diverged; no epoch is done"):
        run(root, tmp_path / "out", network=DIVERGING | {"arguments": {"after": 0}})
    assert not (tmp_path / "out" / "lambda_0" / "best.pt").exists()


def test_a_penalty_that_is_no_number_is_told(root, tmp_path):
    with pytest.raises(TrainingError, match=r"epoch 1, step 1: the loss is [\d.]+, the penalty inf"):
        run(root, tmp_path / "out", lambda _: torch.tensor(math.inf), penalty={"kind": "channel-mean", "lambda": 1.0})


@pytest.mark.parametrize(
    ("size", "says"), [(3, "epoch 1, step 2: the loss is nan"), (8, "epoch 1: weights are not finite any more")]
)
def test_weights_that_are_no_numbers_are_never_kept(size, says, root, tmp_path):
    def poisonous(network):
        """Nothing, whose slope is none."""
        return 0 * torch.sqrt(network.last.bias.abs().sum() * 0)

    sections = {"data": {"batch_size": size}, "penalty": {"kind": "channel-mean", "lambda": 1.0}}
    with pytest.raises(TrainingError, match=rf"{says}.*has diverged; no epoch is done"):
        run(root, tmp_path / "out", poisonous, **sections)
    assert not (tmp_path / "out" / "lambda_1" / "best.pt").exists()
    assert all(torch.isfinite(one).all() for one in weights_in(tmp_path / "out/lambda_1/last.pt").values())


# Half precision, played on the CPU: its gradients overflow like those of CUDA


def halved(made):
    """Let a training scale its loss, and tell what was tried and what became a step."""
    made.stepper.half, made.stepper._scaler = True, torch.amp.GradScaler("cpu")
    tried, taken, kept = [], [], made.stepper._tried
    made.stepper._tried = lambda batch: (tried.append(tuple(batch.indices)), kept(batch))[1]
    made.stepper.optimizer.register_step_pre_hook(lambda *_: taken.append(tried[-1]))
    return tried, taken


def test_a_step_that_half_precision_is_too_small_for_is_tried_again(root, tmp_path):
    made = trainer(planned(root, tmp_path / "out"))
    tried, taken = halved(made)
    limit = 2.0**11
    # A slope that overflows above a factor, as half precision's would.
    made.network.network.last.bias.register_hook(
        lambda slope: slope * (math.inf if made.stepper._scaler.get_scale() > limit else 1)
    )
    made.run()
    assert len(taken) == 2 * STEPS
    assert tried == [taken[0]] * 5 + taken  # from 2^16 to 2^11
    assert made.stepper._scaler.get_scale() == limit
    assert all(row["gradient_norm"] > 0 for row in made.history[1:])


def test_a_slope_that_is_never_a_number_is_told(root, tmp_path):
    made = trainer(planned(root, tmp_path / "out"))
    _, taken = halved(made)
    made.network.network.last.bias.register_hook(lambda slope: slope * math.nan)
    with pytest.raises(
        TrainingError, match=r"epoch 1, step 1: the loss is [\d.]+, but its slope is no finite number.*or amp = false"
    ):
        made.run()
    assert not taken
    assert not (tmp_path / "out" / "lambda_0" / "best.pt").exists()


# Interruptions


def killing(epoch, step):
    def progress(what, done, total):
        if what.startswith(f"epoch {epoch} of") and done == step:
            raise Killed

    return progress


WHOLE = {
    "data": {"flip": True},
    "training": {"epochs": 4, "schedule": "cosine", "freeze_batch_norm": False, "learning_rate": 0.01},
    "penalty": {"kind": "channel-mean", "lambda": 0.1},
}


@pytest.fixture(scope="module")
def whole(root, tmp_path_factory):
    """An uninterrupted training."""
    out = tmp_path_factory.mktemp("whole")
    made, _ = run(root, out, spread, **WHOLE)
    return out / "lambda_0.1", timeless(made.history)


def test_a_training_repeats_itself(root, tmp_path, whole):
    made, folder = run(root, tmp_path / "out", spread, **WHOLE)
    assert timeless(made.history) == whole[1]
    assert_same_training(tmp_path / "out" / "lambda_0.1", whole[0])
    # Every epoch draws anew: what is learned in one is not what the next one does.
    losses = [row["loss"] for row in made.history[1:]]
    assert len({*losses}) == len(losses)
    assert folder == str(tmp_path / "out" / "lambda_0.1")


@pytest.mark.parametrize(("epoch", "step"), [(1, 1), (1, STEPS), (2, 2), (4, 1), (4, STEPS)])
def test_killed_in_an_epoch_it_goes_on_to_the_same(epoch, step, root, tmp_path, whole):
    plan = planned(root, tmp_path / "out", **WHOLE)
    with pytest.raises(Killed):
        trainer(plan, spread, killing(epoch, step)).run()
    torch.manual_seed(999)  # another process has other random numbers
    resumed = trainer(plan, spread)
    seen = []
    resumed.progress = lambda what, *_: seen.append(what)
    assert timeless(resumed.run()) == whole[1]
    assert_same_training(tmp_path / "out" / "lambda_0.1", whole[0])
    # What was done is not done again.
    assert not any(what.startswith(f"epoch {done} of 4") for what in seen for done in range(1, epoch))


def test_killed_at_any_write_it_goes_on_to_the_same(root, tmp_path, whole):
    deaths = 0
    for number in range(1, 40):
        plan = planned(root, tmp_path / str(number), **WHOLE)
        try:
            with at_write(number):
                trainer(plan, spread).run()
        except Killed:
            deaths += 1
            assert timeless(trainer(plan, spread).run()) == whole[1]
            assert_same_training(tmp_path / str(number) / "lambda_0.1", whole[0])
            assert not list((tmp_path / str(number)).rglob("*.tmp"))
        else:
            break
    # Of the state before, and of each epoch: the last checkpoint and the history; and the best ones.
    assert deaths >= 2 * 5 + 1


def test_a_training_that_is_done_does_nothing_more(root, tmp_path, whole):
    out = tmp_path / "out"
    run(root, out, spread, **WHOLE)
    before = {path: path.read_bytes() for path in out.rglob("*.pt")}
    with_nothing_to_read = trainer(planned(root, out, **WHOLE), spread)
    with_nothing_to_read.loader = None
    assert timeless(with_nothing_to_read.run()) == whole[1]
    assert {path: path.read_bytes() for path in out.rglob("*.pt")} == before


def test_more_epochs_are_another_training(root, tmp_path):
    run(root, tmp_path / "out")
    with pytest.raises(PlanError, match="holds a training of another recipe, network or data; name another folder"):
        run(root, tmp_path / "out", **settings(epochs=4))


def test_weights_that_were_taken_away_are_missed(root, tmp_path):
    made, folder = run(root, tmp_path / "out")
    assert best_weights(made.setting, made.best).keys() == made.network.network.state_dict().keys()
    Path(folder, "best.pt").unlink()
    with pytest.raises(TrainingError, match=r"best.pt: no such file; expected the best epoch, 1: use --fresh"):
        best_weights(made.setting, made.best)


@pytest.mark.parametrize("held", [b"", b"garbage", None])
def test_a_checkpoint_that_is_damaged_is_told(held, root, tmp_path):
    run(root, tmp_path / "out")
    path = tmp_path / "out" / "lambda_0" / "last.pt"
    path.write_bytes(path.read_bytes()[:-100] if held is None else held)
    damaged = path.read_bytes()
    with pytest.raises(TrainingError) as caught:
        run(root, tmp_path / "out")
    said = str(caught.value)
    assert said.startswith(f"{path}: is no checkpoint (")
    assert "start over with --fresh" in said
    assert path.read_bytes() == damaged


def test_code_in_a_checkpoint_is_not_run(root, tmp_path):
    _, folder = run(root, tmp_path / "out")
    held = torch.load(f"{folder}/last.pt", weights_only=True)
    torch.save(held | {"extra": Executed(f"{tmp_path}/trace")}, f"{folder}/last.pt")
    with pytest.raises(TrainingError, match=r"last\.pt: is no checkpoint \(UnpicklingError\)"):
        run(root, tmp_path / "out")
    assert not (tmp_path / "trace").exists()


def test_dropout_draws_anew_each_step_and_epoch(root, tmp_path):
    """Else nothing above would show that random numbers go on."""
    made = trainer(planned(root, tmp_path / "out", network={"arguments": {"dropout": 0.5}}, **settings()))
    kept = []
    made.network.network.drop.register_forward_hook(lambda _one, _given, made: kept.append((made == 0).float().mean()))
    made.run()
    training = [float(one) for one in kept]
    assert all(one != other for one, other in pairwise(training[2 : 2 + STEPS]))
