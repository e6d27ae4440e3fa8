"""Small networks to fine-tune, by the factories that recipes name; recipes, and trainings of them without an export."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from helpers.networks import describe
from helpers.torch_networks import Joined
from helpers.trees import write_split, write_tree
from ncdb_dask.training.history import Row
from ncdb_dask.training.loader import Loader
from ncdb_dask.training.loop import Progress, Trainer
from ncdb_dask.training.plan import FinetunePlan, make_plan
from ncdb_dask.training.recipe import Recipe
from ncdb_dask.training.step import Setting

TRAIN, VALIDATION, BATCH = 8, 4, 3  # steps of 3, 3 and 2 frames
STEPS = 3
CPU = torch.device("cpu")
torch.set_num_threads(1)  # several tests share the cores, and the networks are small


# Networks; the model file of `write_data` makes 0 to 20 m of their sigmoid.


class Tiny(nn.Module):
    """Convolutions, BatchNorm and dropout; a sigmoid of half the picture's size."""

    def __init__(self, dropout: float = 0.2) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, stride=2, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.drop = nn.Dropout(dropout)
        self.last = nn.Conv2d(6, 1, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        return torch.sigmoid(self.last(self.drop(torch.relu(self.norm(self.first(image))))))


class Diverging(Tiny):
    """Its outputs are no numbers any more once it was called so many times in training."""

    def __init__(self, after: int) -> None:
        super().__init__()
        self.after = after
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, image: Tensor) -> Tensor:
        values = super().forward(image)
        if self.training:
            self.calls += 1
            if self.calls > self.after:
                return values * torch.nan
        return values


class Packed(Tiny):
    """Returns what depth networks return: a dict with a pyramid, and another map beside it."""

    def forward(self, image: Tensor) -> Any:
        values = super().forward(image)
        return {"inv_depths": [values, functional.avg_pool2d(values, 2)], "part": 1 - values}


class Last(Tiny):
    """Takes and returns channels last."""

    def forward(self, image: Tensor) -> Tensor:
        return super().forward(image.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def dated(of):
    return tiny()


def tiny(dropout: float = 0.2) -> nn.Module:
    return Tiny(dropout)


def diverging(after: int = STEPS) -> nn.Module:
    return Diverging(after)


def packed() -> nn.Module:
    return Packed()


def channels_last() -> nn.Module:
    return Last()


def joined() -> nn.Module:
    return Joined(functional.elu)


def frozen() -> nn.Module:
    return Tiny().requires_grad_(False)


def broken() -> nn.Module:
    raise RuntimeError("no such backbone")


def no_module() -> Any:
    return {"first": 1}


# Recipes


def write_data(folder: Path, train: int = TRAIN, validation: int = VALIDATION, **model: Any) -> Path:
    """Write a tree with both splits, and the model file of `Tiny` beside it; return the root of the tree."""
    root = folder / "data"
    root.mkdir(parents=True)
    keys = write_tree(root, train + validation)
    write_split(root, keys[:train])
    write_split(root, keys[train:], "val_split.json")
    describe(folder / "tiny.toml", **model)
    return root


def recipe(root: Path, **sections: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return a recipe of two short epochs, with changes by section."""
    held: dict[str, dict[str, Any]] = {
        "network": {"factory": "helpers.finetuning:tiny", "checkpoint": "random"},
        "data": {"root": str(root), "batch_size": BATCH, "workers": 0},
        "penalty": {"kind": "none"},
        "training": {"epochs": 2, "learning_rate": 0.01, "patience": 0, "device": "cpu"},
    }
    held["network"]["model_spec"] = str(root.parent / "tiny.toml")
    return {name: held.get(name, {}) | dict(sections.get(name, {})) for name in {**held, **sections}}


def write_recipe(path: Path, sections: Mapping[str, Mapping[str, Any]]) -> Path:
    """Write a recipe as TOML."""
    lines = (
        f"[{name}]\n" + "".join(f"{key} = {_toml(value)}\n" for key, value in keys.items())
        for name, keys in sections.items()
    )
    path.write_text("\n".join(lines))
    return path


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{key} = {_toml(one)}" for key, one in value.items()) + " }"
    return json.dumps(value)


def planned(root: Path, out: Path, fresh: bool = False, **sections: Mapping[str, Any]) -> FinetunePlan:
    return make_plan(Recipe.from_dict(recipe(root, **sections)), out, fresh)


# Trainings without an export


def quiet(what: str, done: int, total: int) -> None:
    """Nobody watches."""


def nothing() -> Tensor:
    """A penalty of nothing."""
    return torch.zeros(())


def trainer(plan: FinetunePlan, penalty: Callable[..., Tensor] | None = None, progress: Progress = quiet) -> Trainer:
    """Begin a plan, and make ready its training with the first lambda; `penalty` takes the network."""
    plan.begin()
    recipe, (name, factor) = plan.recipe, next(iter(plan.names.items()))
    loader = Loader(
        plan.train,
        plan.validation,
        batch_size=recipe.data.batch_size,
        workers=recipe.data.workers,
        seed=recipe.training.seed,
        flip=recipe.data.flip,
    )
    setting = Setting(
        recipe.loss, recipe.training, factor, plan.spec, plan.rules, plan.identity(factor), plan.folder(name), CPU
    )
    network = plan.source.build(recipe.training.seed)
    measured = nothing if penalty is None else lambda: penalty(network.network)
    return Trainer(setting, network, measured, loader, progress)


class Executed:
    """Leaves a trace when it is unpickled."""

    def __init__(self, trace: str) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return Path.touch, (Path(self.trace),)


def weights_in(path: Path) -> dict[str, Tensor]:
    """Return the weights of a checkpoint."""
    weights: dict[str, Tensor] = torch.load(path, weights_only=True)["network"]
    return weights


def timeless(history: list[Row]) -> list[Row]:
    """Return a history without how long it took."""
    return [{name: value for name, value in row.items() if name != "seconds"} for row in history]


def assert_same_training(one: Path, other: Path) -> None:
    """Both folders hold the same checkpoints, bit for bit, and histories."""
    import pandas as pd

    for name in ("best.pt", "last.pt"):
        first, second = weights_in(one / name), weights_in(other / name)
        assert first.keys() == second.keys()
        for key, value in first.items():
            assert torch.equal(value, second[key]), (name, key)
    tables = [pd.read_parquet(folder / "history.parquet").drop(columns="seconds") for folder in (one, other)]
    pd.testing.assert_frame_equal(*tables, check_exact=True)
    best = [torch.load(folder / "best.pt", weights_only=True)["epoch"] for folder in (one, other)]
    assert best[0] == best[1]
