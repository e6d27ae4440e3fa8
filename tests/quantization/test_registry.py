"""Quantizers by name: ours, and those of other packages."""

import re
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from ncdb_dask.errors import QuantizationError
from ncdb_dask.quantization import registry
from ncdb_dask.quantization.ort import OnnxRuntimeQuantizer
from ncdb_dask.quantization.registry import GROUP, quantizer


class Strange:
    """Somebody else's."""

    name = "strange"

    def __init__(self, level: int, *, mode: str = "quick") -> None:
        self.level, self.mode = level, mode


class Open(Strange):
    def __init__(self, **options: Any) -> None:
        self.options = options


class Plain:
    name = "plain"


@pytest.fixture(autouse=True)
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Register these classes, and two that cannot be had."""
    ours = registry.entry_points(group=GROUP)
    values = {name: f"{__name__}:{name}" for name in ("Strange", "Open", "Plain")}
    values |= {"gone": "no_such_package_at_all:Quantizer", "renamed": "ncdb_dask.quantization.ort:Quantizzer"}
    added = [EntryPoint(name.lower(), value, GROUP) for name, value in values.items()]
    monkeypatch.setattr(registry, "entry_points", lambda group: [*ours, *added] if group == GROUP else [])
    monkeypatch.setattr(EntryPoint, "load", _load)


_original = EntryPoint.load


def _load(entry: EntryPoint) -> Any:
    return globals()[entry.attr] if entry.module == __name__ else _original(entry)


def test_ours_are_registered_as_anybody_elses():
    found = quantizer("onnxruntime", method="mse", equalize=False)
    assert found == OnnxRuntimeQuantizer(method="mse", equalize=False)
    assert found.name == "onnxruntime"


def test_what_is_none_is_left_to_the_class():
    assert quantizer("onnxruntime", method=None, keep=None) == OnnxRuntimeQuantizer()
    assert quantizer("strange", level=3, mode=None).mode == "quick"
    assert quantizer("strange", level=0).level == 0


def test_no_options_and_any_options():
    assert quantizer("plain", method=None).name == "plain"
    assert quantizer("open", a=1, b=None).options == {"a": 1}


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("onnx", {}, 'the backend "onnx" is unknown; installed are command, gone, nncf, onnxruntime, open'),
        ("strange", {"level": 1, "method": "mse"}, "the backend strange has no option 'method'; it takes level, mode"),
        ("plain", {"method": "mse"}, "the backend plain has no option 'method'; it takes no options"),
        ("strange", {}, "the backend strange needs --level"),
        ("command", {}, "the backend command needs --template"),
        ("command", {"template": "a.toml", "equalize": False}, "the backend command has no option 'equalize'"),
        ("gone", {}, "the backend gone (no_such_package_at_all:Quantizer) cannot be imported (No module named"),
        ("renamed", {}, "cannot be imported (module 'ncdb_dask.quantization.ort' has no attribute 'Quantizzer')"),
    ],
)
def test_what_cannot_be_made(name, options, message):
    with pytest.raises(QuantizationError, match=re.escape(message)):
        quantizer(name, **options)


def test_nothing_installed_is_said(monkeypatch):
    monkeypatch.setattr(registry, "entry_points", lambda group: [])
    with pytest.raises(QuantizationError, match="installed are none: install ncdb_dask again"):
        quantizer("onnxruntime")
