"""Networks that are made on the way are judged once each, whoever asks again."""

from pathlib import Path
from typing import Any

import pytest
from helpers.quantizing import HEIGHT, WIDTH, depth_network
from helpers.trees import write_split, write_tree

from ncdb_dask.api import judging
from ncdb_dask.api.judging import EVALUATIONS, Judge
from ncdb_dask.errors import NcdbError
from ncdb_dask.model.spec import InputSpec, ModelSpec
from ncdb_dask.store.folder import LocalFolder

SPEC = ModelSpec(InputSpec(WIDTH, HEIGHT))


@pytest.fixture
def judge(tmp_path: Path) -> Judge:
    keys = write_tree(tmp_path / "data", 6)
    write_split(tmp_path / "data", keys[:4], "some.json")
    return Judge(LocalFolder(str(tmp_path / "out")), {"root": tmp_path / "data", "split": ["train_split.json"]})


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The plans that were carried out and not finished before."""
    seen: list[Any] = []
    kept = judging.run_evaluation

    def counted(plan: Any, **options: Any) -> Any:
        if not plan.finished:
            seen.append(plan)
        return kept(plan, **options)

    monkeypatch.setattr(judging, "run_evaluation", counted)
    return seen


def folders(judge: Judge) -> set[str]:
    return {path.name for path in Path(judge.out.path, EVALUATIONS).iterdir()}


def test_the_same_network_is_judged_once_and_leaves_no_file_of_it(judge: Judge, runs: list[Any]) -> None:
    model = depth_network().model()
    first, again = judge(model, SPEC, "one"), judge(model, SPEC, "two")
    assert (len(runs), len(folders(judge))) == (1, 1)
    assert first.rows.equals(again.rows)
    assert (first.label, again.label) == ("one", "two")
    assert not [name for name in folders(judge) if "." in name]


def test_another_network_model_file_split_or_rule_is_judged_anew_and_none_replaces_another(
    judge: Judge, runs: list[Any]
) -> None:
    model = depth_network().model()
    given = judge(model, SPEC, "given")
    judge(depth_network(seed=4).model(), SPEC, "network")
    judge(model, ModelSpec(InputSpec(WIDTH, HEIGHT, channels="bgr")), "model file")
    some = Judge(judge.out, {**judge.options, "split": ["some.json"]})
    assert len(some(model, SPEC, "split").rows) == 4
    Judge(judge.out, {**judge.options, "max_depth": 20.0})(model, SPEC, "rule")
    assert (len(runs), len(folders(judge))) == (5, 5)
    assert judge(model, SPEC, "given again").rows.equals(given.rows)
    assert len(runs) == 5


def test_a_split_that_was_edited_is_another_one(judge: Judge, runs: list[Any]) -> None:
    model = depth_network().model()
    judge(model, SPEC, "before")
    path = Path(judge.options["root"], "train_split.json")
    path.write_text(Path(judge.options["root"], "some.json").read_text())
    assert len(Judge(judge.out, judge.options)(model, SPEC, "after").rows) == 4
    assert len(runs) == 2


def test_one_that_fails_leaves_no_network_behind(judge: Judge) -> None:
    with pytest.raises(NcdbError):
        judge(depth_network().model(), ModelSpec(InputSpec(WIDTH + 1, HEIGHT)), "wrong size")
    assert not [name for name in folders(judge) if name.endswith(".onnx")]
