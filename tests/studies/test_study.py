"""Whole studies of a small network: exactly what the single verbs give, whatever dies on the way."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import onnx
import pandas as pd
import pytest
from helpers.deaths import Killed, at_write
from helpers.studying import Judged, kept, recipe, result

import ncdb_dask
from ncdb_dask.api import studies
from ncdb_dask.comparison.figures import Figure
from ncdb_dask.errors import NcdbError, PlanError, QuantizationError, StudyError
from ncdb_dask.quantization import registry
from ncdb_dask.studies.advice import advice
from ncdb_dask.studies.groups import Choice, Group

RANDOM = {"strategy": "random", "sizes": [3, 6], "seeds": [0]}


def set_of(out: Path, name: str) -> list[dict[str, str]]:
    found: list[dict[str, str]] = json.loads((out / "sets" / f"{name}.json").read_text())
    return found


# Exactly what the verbs give


def test_sets_are_those_of_the_sampler(place, whole, tmp_path):
    for size in (3, 6):
        options = {"size": size, "strategy": "random", "seed": 0, "exclude": "val_split.json"}
        ncdb_dask.sample(place / "scan", tmp_path / "set.json", picture=False, **options)
        assert set_of(whole, f"random_{size}_seed_0") == json.loads((tmp_path / "set.json").read_text())


@pytest.mark.parametrize(
    "options", [{"method": "mse"}, {"activations": "int8", "percentile": 99.0}], ids=["mse", "int8"]
)
def test_ranges_and_networks_are_those_of_a_fresh_quantization(options, place, tmp_path, monkeypatch):
    if "percentile" in options:
        options = options | {"method": "percentile"}
    judged = Judged(monkeypatch)
    out = tmp_path / "out"
    ncdb_dask.study(recipe(place, quantizers=[{"name": "it", **options}]), out)
    for size in (3, 6):
        label, split = f"random {size}, seed 0, it", out / "sets" / f"random_{size}_seed_0.json"
        made = ncdb_dask.quantize(
            place / "net.onnx",
            tmp_path / f"fresh_{size}" / "int8.onnx",
            root=place / "data",
            split=split,
            equalize=False,
            bias_correction=False,
            **options,
        )
        ranges = kept(out)[label]["ranges"]
        tensors = made.report["quantizer"]["tensors"]
        told = {one["tensor"]: {name: one[name] for name in ranges[one["tensor"]]} for one in tensors}
        assert len(ranges) > 5
        assert ranges == told
        assert judged.networks[label].SerializeToString(deterministic=True) == Path(made.out).read_bytes()
        again = ncdb_dask.evaluate(made.out, tmp_path / f"eval_{size}", root=place / "data", split="val_split.json")
        cell = next(each for each in result(out)["cells"] if each["label"] == label)
        assert cell["abs_rel"] == pytest.approx(again.figures.mean["abs_rel"], rel=1e-12)
        assert cell["delta1"] == pytest.approx(again.figures.mean["a1"], rel=1e-12)


def test_differences_are_those_of_a_comparison(place, whole):
    report = result(whole)
    cells = report["cells"]
    folders = [report["fp32"]["evaluation"].replace("OUT", str(whole)), *(whole / one["evaluation"] for one in cells)]
    different = dict.fromkeys(str(folder) for folder in folders)
    compared = ncdb_dask.compare(*different, labels=list(different), resamples=200)
    against = {each.other: each.main.as_dict() for each in compared.against}
    for cell in cells:
        figure = against[str(whole / cell["evaluation"])]
        parts = {"to_fp32": "difference", "to_fp32_low": "low", "to_fp32_high": "high"}
        assert {name: cell[name] for name in parts} == {name: figure[part] for name, part in parts.items()}
        assert cell["ratio_to_fp32"] == pytest.approx(cell["abs_rel"] / report["fp32"]["abs_rel"])
    assert cells[0]["to_baseline"] is None
    assert cells[2]["to_baseline"] == pytest.approx(cells[2]["abs_rel"] - cells[0]["abs_rel"])


def test_all_frames_are_run_once_and_nothing_else(place, tmp_path, monkeypatch):
    run = list[int]()
    own = studies.measured

    def measured(collection: Any, frames: Any, **options: Any) -> Any:
        found = own(collection, frames, **options)
        run.append(sum(receipt.rows for receipt in found.receipts))
        return found

    monkeypatch.setattr(studies, "measured", measured)
    sets = [RANDOM, {"strategy": "stratified", "sizes": 6, "seeds": [1, 2]}]
    ncdb_dask.study(recipe(place, sets=sets, quantizers=[{"method": ["minmax", "mse"]}]), tmp_path / "out")
    files = (tmp_path / "out" / "sets").glob("*.json")
    union = {tuple(item.values()) for path in files for item in json.loads(path.read_text())}
    assert run == [len(union)]


def test_equalized_cells_share_one_balanced_network(place, tmp_path):
    out = tmp_path / "out"
    done = ncdb_dask.study(recipe(place, quantizers=[{"equalize": [False, True]}]), out)
    assert len(list((out / "statistics").iterdir())) == 2
    rows = done.table().set_index(["size", "quantizer"])["abs_rel"]
    fp32 = done.fp32.abs_rel
    for size in (3, 6):  # the network has a branch that is too large for its neighbour, which this balances
        assert abs(rows[size, "equalize"] - fp32) < abs(rows[size, "plain"] - fp32) / 5


def test_cells_with_bias_correction_are_those_of_quantize(place, tmp_path, monkeypatch):
    judged = Judged(monkeypatch)
    out = tmp_path / "out"
    sets = [{"strategy": "random", "sizes": 4, "seeds": [0]}]
    plan = ncdb_dask.plan_study(recipe(place, sets=sets, quantizers=[{"bias_correction": True}]), out)
    assert plan.as_dict()["cost"]["quantizations"] == 1
    ncdb_dask.api.run_study(plan)
    split = out / "sets" / "random_4_seed_0.json"
    fresh = tmp_path / "fresh" / "int8.onnx"
    ncdb_dask.quantize(place / "net.onnx", fresh, root=place / "data", split=split, equalize=False)
    made = judged.networks["random 4, seed 0, onnxruntime"]
    assert made.SerializeToString(deterministic=True) == fresh.read_bytes()


def test_a_set_by_coverage_is_chosen_among_the_frames_of_the_others(place, tmp_path):
    out = tmp_path / "out"
    sets = [RANDOM, {"strategy": "coverage", "sizes": [2, 4], "candidates": 5}]
    plan = ncdb_dask.plan_study(recipe(place, sets=sets), out)
    assert 6 <= len(plan.union) <= 11
    ncdb_dask.api.run_study(plan)
    four = [tuple(item.values()) for item in set_of(out, "coverage_4")]
    assert set(four) <= set(plan.union)
    assert four[:2] == [tuple(item.values()) for item in set_of(out, "coverage_2")]
    (statistics,) = (out / "statistics").iterdir()
    ncdb_dask.sample(
        place / "scan",
        tmp_path / "set.json",
        size=4,
        strategy="coverage",
        statistics=statistics,
        exclude="val_split.json",
        picture=False,
    )
    assert set_of(out, "coverage_4") == json.loads((tmp_path / "set.json").read_text())
    before = result(out)
    ncdb_dask.study(recipe(place, sets=sets), out)
    assert result(out) == before


# What lies there


def test_what_lies_in_the_folder(place, whole):
    assert {path.name for path in whole.iterdir()} == {
        *("study.json", "report.json", "results.parquet", "study.png", "study.html"),
        *("cells", "evaluations", "networks", "sets", "statistics"),
    }
    assert not list((whole / "networks").iterdir())
    assert (whole / "study.png").read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    page = (whole / "study.html").read_text()
    assert "What to do next" in page
    assert "http://" not in page
    assert "<script" not in page
    report = json.loads((whole / "report.json").read_text())
    table = pd.read_parquet(whole / "results.parquet")
    assert len(table) == len(report["cells"]) == 4
    for row, cell in zip(table.to_dict("records"), report["cells"], strict=True):
        for name, value in row.items():
            assert cell[name] == value or (pd.isna(value) and cell[name] is None), name
    assert table["method"].tolist() == ["minmax", "mse"] * 2
    assert table["scheme"].tolist() == ["uint8"] * 4
    # So few frames have no intervals.
    assert report["enough"] == []
    assert report["chosen"] == report["best"]
    assert not any(step["text"].startswith("Take") for step in report["next"])
    assert '<p class="sentence ">' in page
    commands, size = report["next"][1]["commands"], report["best"]["size"]
    assert commands[0].startswith(
        f"ncdb-dask sample {place}/scan calibration.json --size {size} --strategy random --seed 0"
    )
    assert "--no-equalize --no-bias-correction" in commands[1]


# Going on


def test_the_same_call_again_runs_nothing(place, whole, tmp_path, monkeypatch):
    out = shutil.copytree(whole, tmp_path / "out")
    plan = ncdb_dask.plan_study(recipe(place), out)
    assert plan.as_dict()["cells_done"] == 4
    assert "4, of which 4 are done" in plan.text()
    monkeypatch.setattr(studies, "measured", lambda *_, **__: pytest.fail("frames were run again"))
    ncdb_dask.api.run_study(plan)
    assert result(out) == result(whole)


def test_a_larger_recipe_costs_only_what_is_new(place, whole, tmp_path, monkeypatch):
    out = shutil.copytree(whole, tmp_path / "out")
    judged = Judged(monkeypatch)
    larger = recipe(place, sets=[RANDOM | {"sizes": [3, 6, 5]}])
    plan = ncdb_dask.plan_study(larger, out)
    assert (plan.measured, len(plan.union), plan.as_dict()["cells_done"]) == (6, 6, 4)
    done = ncdb_dask.api.run_study(plan)
    assert set(judged.networks) == {"FP32", "random 5, seed 0, minmax", "random 5, seed 0, mse"}
    assert [cell for cell in result(out)["cells"] if cell["size"] != 5] == result(whole)["cells"]
    assert len(done.rows) == 6


@pytest.mark.parametrize("part", ["first half", "second half"])
def test_killed_again_and_again_it_comes_to_the_same(part, place, whole, tmp_path):
    """Every attempt gets a little further, and dies at another kind of file."""
    out = tmp_path / "out"  # in another folder: nothing depends on where it lies
    deaths = range(1, 60, 2) if part == "first half" else range(2, 60, 3)
    for number in deaths:
        try:
            with at_write(number):
                ncdb_dask.study(recipe(place), out)
        except Killed:
            continue
        break
    else:
        pytest.fail("it never ended")
    assert result(out) == result(whole)
    again = ncdb_dask.study(recipe(place), out)
    assert result(out) == result(whole)
    assert not [path for path in out.rglob("*") if path.suffix in (".work", ".tmp")]
    assert again.failed == {}


def test_a_cell_that_is_damaged_or_lost_its_evaluation_is_made_again(place, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    one, other = sorted((out / "cells").glob("*.json"))[:2]
    one.write_text(one.read_text()[:100])
    shutil.rmtree(out / json.loads(other.read_text())["evaluation"])
    assert ncdb_dask.plan_study(recipe(place), out).as_dict()["cells_done"] < 4
    ncdb_dask.study(recipe(place), out)
    assert result(out) == result(whole)


def test_fresh_forgets_what_was_there(place, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    plan = ncdb_dask.plan_study(recipe(place), out, fresh=True)
    assert (plan.measured, plan.as_dict()["cells_done"]) == (0, 0)
    ncdb_dask.api.run_study(plan)
    assert result(out) == result(whole)


def test_two_workers_come_to_the_same(place, whole, tmp_path):
    with ncdb_dask.open_client(workers=2) as client:
        ncdb_dask.study(recipe(place), tmp_path / "out", client=client)
    assert result(tmp_path / "out") == result(whole)


# What fails


class Moody:
    """A backend that fails for sets of some size."""

    name = "moody"
    fails = frozenset[int]()
    error: type[Exception] = QuantizationError

    def describe(self) -> dict[str, Any]:
        return {}

    def quantize(self, material: Any, out: Path) -> Any:
        from ncdb_dask.quantization.base import Quantized

        if len(material.frames) in self.fails:
            raise self.error("it is in a bad mood")
        shutil.copyfile(material.model, out)
        return Quantized({})


@pytest.fixture
def moody(monkeypatch) -> type[Moody]:
    ours, load = registry.entry_points(group=registry.GROUP), EntryPoint.load
    added = EntryPoint("moody", "nowhere:Moody", registry.GROUP)
    monkeypatch.setattr(registry, "entry_points", lambda group: [*ours, added])
    monkeypatch.setattr(EntryPoint, "load", lambda entry: Moody if entry.name == "moody" else load(entry))
    return Moody


@pytest.mark.parametrize(("error", "says"), [(QuantizationError, "it is in"), (KeyError, "KeyError: 'it is in")])
def test_a_cell_that_fails_is_told_and_tried_again(error, says, place, moody, tmp_path, monkeypatch):
    monkeypatch.setattr(moody, "fails", frozenset([3]))
    monkeypatch.setattr(moody, "error", error)
    both = recipe(place, quantizers=[{"backend": "moody"}, {"name": "ours"}])
    done = ncdb_dask.study(both, tmp_path / "out")
    assert list(done.failed) == ["random 3, seed 0, moody"]
    assert says in done.failed["random 3, seed 0, moody"]
    assert "bad mood" in done.text()
    page = (tmp_path / "out" / "study.html").read_text()
    assert "What failed" in page
    assert "this one" not in page  # it is the first cell that has failed
    assert [row.cell.label for row in done.rows] == [
        "random 3, seed 0, ours",
        "random 6, seed 0, moody",
        "random 6, seed 0, ours",
    ]
    monkeypatch.setattr(moody, "fails", frozenset())
    again = ncdb_dask.study(both, tmp_path / "out")
    assert (again.failed, len(again.rows)) == ({}, 4)
    # It copies the network: the same one is judged once.
    assert {row.evaluation for row in again.rows if row.cell.quantizer.label == "moody"} == {
        str(Path(again.fp32.place).relative_to(tmp_path / "out"))
    }


def test_names_of_tensors_that_are_not_there_fail_their_cell_alone(place, tmp_path):
    done = ncdb_dask.study(recipe(place, quantizers=[{"name": "wide", "wide": ["nowhere"]}, {}]), tmp_path / "out")
    assert all("nowhere" in reason for reason in done.failed.values())
    assert len(done.rows) == len(done.failed) == 2


def test_a_picture_that_cannot_be_read_fails_its_sets_alone(place, whole, tmp_path):
    shutil.copytree(place / "data", tmp_path / "data")
    three, six = ({tuple(item.values()) for item in set_of(whole, f"random_{size}_seed_0")} for size in (3, 6))
    root, stem = min(six - three)
    (picture,) = [path for path in (tmp_path / "data" / root).rglob(f"{stem}.*") if "image" in path.parent.name.lower()]
    picture.write_bytes(b"no picture")
    sets = [RANDOM, {"strategy": "coverage", "sizes": [2, 6]}]
    changes = {"data": {"root": str(tmp_path / "data")}, "quantizers": [{"equalize": [False, True]}]}
    done = ncdb_dask.study(recipe(place, sets=sets, **changes), tmp_path / "out")
    # Coverage chooses among the five that are left.
    assert {label.rpartition(",")[0] for label in done.failed} == {"random 6, seed 0", "coverage 6"}
    assert stem in done.failed["random 6, seed 0, plain"]
    assert {row.cell.label for row in done.rows} == {
        f"{name}, {way}" for name in ("random 3, seed 0", "coverage 2") for way in ("plain", "equalize")
    }
    assert "frames that cannot be read: 1; channels are balanced without them" in done.notes


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"sets": [{"strategy": "randomly", "sizes": 3}]}, 'strategy = "randomly"; expected one of stratified'),
        ({"sets": [{"strategy": "random", "sizes": 3000}]}, "[[sets]] random: 3000 frames are wanted"),
        ({"sets": [RANDOM | {"ratios": [1, 0, 0, 0]}]}, "[[sets]] random 3, seed 0: --ratios is for"),
        ({"sets": [RANDOM, {"strategy": "coverage", "sizes": 9}]}, "among the 6 frames of the other sets; expected"),
        ({"guide": {"before": "random 4"}}, '[guide] before = "random 4"; expected one of random 3, random 6'),
        ({"npu": {"profile": "hexagon"}}, 'the profile "hexagon" is unknown'),
        ({"network": {"model": "/nowhere/net.onnx"}}, "/nowhere/net"),
        ({"data": {"scan": "/nowhere"}}, "/nowhere holds no scan"),
        ({"evaluation": {"split": "lost.json"}}, "lost.json"),
    ],
)
def test_what_cannot_be_is_told_before_anything_is_written(changes, says, place, tmp_path):
    with pytest.raises(NcdbError) as caught:
        ncdb_dask.plan_study(recipe(place, **changes), tmp_path / "out")
    assert says in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_folder_of_something_else_is_refused(place, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(PlanError, match=r"holds notes.txt, which no study left"):
        ncdb_dask.study(recipe(place), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_network_that_prepares_to_another_function_is_refused(place, tmp_path, monkeypatch):
    from ncdb_dask.studies import networks

    own = networks.prepared

    def broken(model: onnx.ModelProto, *rest: Any) -> onnx.ModelProto:
        made = own(model, *rest)
        for tensor in made.graph.initializer:
            if tensor.data_type == onnx.TensorProto.FLOAT:
                values = onnx.numpy_helper.to_array(tensor) * 1.5
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return made

    monkeypatch.setattr(networks, "prepared", broken)
    with pytest.raises(StudyError, match=r"prepared for quantization, it differs by"):
        ncdb_dask.study(recipe(place), tmp_path / "out")


def test_identities_tell_all_that_shapes_a_cell(place, tmp_path):
    def identities(**changes: Any) -> set[str]:
        plan = ncdb_dask.plan_study(
            recipe(place, **changes), tmp_path / hashlib.sha256(repr(changes).encode()).hexdigest()
        )
        return {plan.identity(cell) for cell in plan.cells}

    first = identities()
    assert identities(evaluation={"resamples": 300}) == first  # intervals are drawn from what is there
    assert not identities(evaluation={"protocol": "kitti-eigen"}) & first
    assert not identities(evaluation={"split": "train_split.json"}) & first
    assert len(identities(sets=[RANDOM | {"sizes": [3, 5]}]) & first) == 2
    profile = tmp_path / "npu.toml"
    profile.write_text('activations = ["uint8"]\n')
    before = identities(quantizers=[{"profile": str(profile)}])
    profile.write_text('activations = ["uint8"]\ndescription = "another"\n')
    assert not identities(quantizers=[{"profile": str(profile)}]) & before
    # Channels are balanced by all frames.
    equal = [{"equalize": True}]
    assert not identities(quantizers=equal) & identities(quantizers=equal, sets=[RANDOM | {"sizes": [3, 6, 7]}])


def test_names_are_written_in_the_same_order_in_every_process():
    code = (
        "from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer as Q\n"
        "from ncdb_dask.studies.plan import _written\n"
        "print(_written(Q(wide=['a', 'b', 'c', 'd'], keep=['e', 'f', 'g']).target()))"
    )
    said = [
        subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in "12"
    ]
    assert said[0] == said[1]
    assert '"wide": ["a", "b", "c", "d"]' in said[0]


def test_an_npu_that_no_quantizer_fits_is_told_beforehand(place, tmp_path):
    plan = ncdb_dask.plan_study(recipe(place, npu={"profile": "vitis-dpu"}), tmp_path / "out")
    assert 'add profile = "vitis-dpu" to [[quantizers]]' in plan.text()
    assert plan.as_dict()["notes"] == [plan.nothing_runs]
    fits = ncdb_dask.plan_study(recipe(place, npu={"profile": "per-tensor"}), tmp_path / "out")
    assert fits.as_dict()["notes"] == []


def test_a_new_recipe_removes_what_an_earlier_one_showed(place, whole, tmp_path):
    out = shutil.copytree(whole, tmp_path / "out")
    ncdb_dask.plan_study(recipe(place), out).begin()
    assert {path.name for path in out.iterdir() if path.is_file()} == {"study.json"}


def test_a_folder_of_a_fine_tuning_is_refused(place, tmp_path):
    (tmp_path / "recipe.json").write_text("{}")
    with pytest.raises(PlanError, match=r"holds recipe.json, which no study left"):
        ncdb_dask.plan_study(recipe(place), tmp_path)


# What is advised


def advised(plan: Any, *groups: Any, known: bool = True) -> list[str]:
    choice = Choice(groups[0], groups[0], tuple(groups[1:]), tuple(groups), known)
    return [each.text for each in advice(plan, choice)]


def test_a_balanced_network_is_told_from_the_one_that_the_command_makes(place, tmp_path):
    plan = ncdb_dask.plan_study(recipe(place, quantizers=[{"equalize": [False, True]}]), tmp_path / "out")
    assert "other sets in the recipe make them anew" in plan.text()
    plain, equal = (advised(plan, Group("random", 3, way, 0.1, (0.1,)))[0] for way in ("plain", "equalize"))
    assert plain == "Take random 3, and quantize with plain:"
    assert "its network is another one than the judged one" in equal
    assert "make them anew" not in ncdb_dask.plan_study(recipe(place), tmp_path / "out").text()


def test_more_seeds_are_advised_where_something_is_drawn(place, tmp_path):
    groups = [Group("random", size, "minmax", 0.1, (0.1,)) for size in (3, 6)]
    drawn = ncdb_dask.plan_study(recipe(place), tmp_path / "out")
    assert "add seeds = [0, 1, 2]" in advised(drawn, *groups)[-1]
    fixed = ncdb_dask.plan_study(recipe(place, sets=[{"strategy": "uniform", "sizes": [3, 6]}]), tmp_path / "out")
    (step,) = advised(fixed, *(replace(group, name="uniform") for group in groups))
    assert step.startswith("Take uniform 3")


def test_channels_are_advised_for_the_built_in_backend_alone(place, moody, tmp_path):
    worse = Figure(0.1, 0.2, 0.1, 0.05, 0.15, 40, 20)
    for quantizers, way, told in (([{"backend": "moody"}], "moody", False), ([{"name": "ours"}], "ours", True)):
        plan = ncdb_dask.plan_study(recipe(place, quantizers=quantizers), tmp_path / "out")
        texts = advised(plan, Group("random", 3, way, 0.2, (0.2,), against_fp32=worse))
        assert any("balances channels" in text for text in texts) == told
