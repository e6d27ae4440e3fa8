"""What is asked for: options that do not go together are refused with a way out, the others resolved."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from helpers.networks import KNOWN
from helpers.scans import forge, row

from ncdb_dask.errors import EvaluationError, NcdbError
from ncdb_dask.evaluation.predictor import FilePredictor, NetworkPredictor
from ncdb_dask.evaluation.protocol import Protocol
from ncdb_dask.evaluation.request import EvaluationRequest
from ncdb_dask.exporting.manifest import ExportManifest
from ncdb_dask.model.session import NetworkReference
from ncdb_dask.model.spec import read_spec
from ncdb_dask.sampling.scanned import ScanTable
from ncdb_dask.store.folder import LocalFolder

Ask = Callable[..., EvaluationRequest]


def local(path: Path) -> LocalFolder:
    return LocalFolder(str(path))


@pytest.fixture
def network(tmp_path: Path) -> NetworkPredictor:
    model = KNOWN["quarter"].write(tmp_path / "net.onnx")
    return NetworkPredictor(NetworkReference.of(model, read_spec(model.with_suffix(".toml"))))


@pytest.fixture
def files(tmp_path: Path) -> FilePredictor:
    return FilePredictor(local(tmp_path / "made"))


@pytest.fixture
def scan(tmp_path: Path) -> Callable[..., ScanTable]:
    def made(**settings: Any) -> ScanTable:
        rows = [row("a", "1", image_path="i", depth_path="d", depth_scale=256.0, split="s", entry=0)]
        root = str(tmp_path / "data")
        return ScanTable(
            local(
                forge(
                    tmp_path / "scan", rows, root=root, **{"depth_scale": None, "variants": ["depth_maps"], **settings}
                )
            )
        )

    return made


@pytest.fixture
def ask(network: NetworkPredictor, tmp_path: Path) -> Ask:
    """Make a request of a split; options given as None are left out."""

    def asked(**options: Any) -> EvaluationRequest:
        usual = {
            "predictor": network,
            "protocol": Protocol.of(),
            "out": local(tmp_path / "out"),
            "root": local(tmp_path / "data"),
            "splits": ["val_split.json"],
        }
        return EvaluationRequest.of(**{**usual, **options})

    return asked


MANIFEST = ExportManifest.__new__(ExportManifest)  # its content is not looked at here


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"splits": []}, "give the frames with --split or with --scan; found neither"),
        ({"root": None}, "--root is missing: where the frames of --split lie"),
        ({"where": "mean_depth > 2"}, "--where chooses rows of --scan; a split has no columns"),
        ({"save": "jpg"}, "save predictions 'jpg': expected npy or png"),
        ({"save": ""}, "save predictions '': expected npy or png"),
        ({"shard_size": 0}, "shard size 0: expected at least 1"),
        ({"shard_size": -1}, "shard size -1: expected at least 1"),
        ({"manifest": MANIFEST}, "an export's manifest names predictions that are files; a network needs none"),
        (
            {"depth_scale": "auto"},
            "depth scale auto guesses frame by frame; give raw units a metre, or evaluate a scan",
        ),
        ({"depth_scale": 0.0}, "depth scale"),
        ({"depth_scale": -2.0}, "depth scale"),
        ({"depth_scale": float("nan")}, "depth scale"),
        ({"depth_scale": float("inf")}, "depth scale"),
    ],
)
def test_options_that_do_not_go_together_are_refused(options, says, ask):
    with pytest.raises(NcdbError) as caught:
        ask(**options)
    assert says in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"splits": ["val_split.json"]}, "give the frames with --split or with --scan; found both"),
        ({"depth_scale": 256.0}, "--depth-scale is for --split; a scan knows the unit of its frames"),
    ],
)
def test_options_that_do_not_go_with_a_scan_are_refused(options, says, ask, scan):
    with pytest.raises(EvaluationError, match=says):
        ask(**{"splits": [], "root": None, "scan": scan(), **options})


@pytest.mark.parametrize("flip", ["mean", "fuse"])
def test_files_hold_no_mirrored_prediction(flip, ask, files):
    with pytest.raises(EvaluationError, match=f"flip {flip}: is for networks; files hold no prediction of a mirr"):
        ask(predictor=files, protocol=Protocol.of(flip=flip))


@pytest.mark.parametrize(
    ("given", "scale", "allow_8bit"), [(None, 256.0, False), (256.0, 256.0, True), (10, 10.0, True)]
)
def test_8_bit_maps_are_read_once_their_unit_is_given(given, scale, allow_8bit, ask):
    options = ask(depth_scale=given).options
    assert (options.depth_scale, options.allow_8bit, options.stretch) == (scale, allow_8bit, False)


@pytest.mark.parametrize(
    ("scanned", "scale", "allow_8bit"), [(None, 256.0, False), (10.0, 10.0, True), ("auto", 256.0, True)]
)
def test_a_scan_brings_root_and_unit(scanned, scale, allow_8bit, ask, scan, tmp_path):
    request = ask(splits=[], root=None, scan=scan(depth_scale=scanned))
    assert request.root.url == str(tmp_path / "data")
    assert (request.options.depth_scale, request.options.allow_8bit) == (scale, allow_8bit)
    assert request.roots.holds(str(tmp_path / "data" / "a"))


def test_a_data_set_that_has_moved_since_it_was_scanned(ask, scan, tmp_path):
    table = scan()
    moved = ScanTable(table.folder, local(tmp_path / "elsewhere"))
    request = ask(splits=[], root=None, scan=moved)
    assert request.root.url == str(tmp_path / "elsewhere")
    assert request.roots.holds(str(tmp_path / "elsewhere" / "a"))


def test_what_a_scan_was_allowed_an_evaluation_of_it_is(ask, scan, tmp_path):
    (tmp_path / "more").mkdir()
    request = ask(splits=[], root=None, scan=scan(allow_root=[str(tmp_path / "more")]))
    assert request.roots.holds(str(tmp_path / "more" / "a"))
    assert not request.roots.holds(str(tmp_path / "other"))


def test_the_settings_are_json_and_tell_everything_that_shapes_a_row(ask, files, network, tmp_path):
    import json

    usual = ask().settings()
    assert json.loads(json.dumps(usual)) == usual
    assert json.loads(json.dumps(ask(protocol=Protocol.of("kitti-devkit")).settings(), allow_nan=False))
    other = KNOWN["red"].write(tmp_path / "red.onnx")
    spec = read_spec(other.with_suffix(".toml"))
    for change in (
        {"root": local(tmp_path / "other")},
        {"allowed": [local(tmp_path / "other")]},
        {"variants": ["depth_maps"]},
        {"depth_scale": 512.0},
        {"stretch": True},
        {"protocol": Protocol.of("ncdb")},
        {"protocol": Protocol.of(min_pixels=2)},
        {"save": "npy"},
        {"predictor": files},
        {"predictor": FilePredictor(files.folder, spec)},
        {"predictor": FilePredictor(local(tmp_path / "other"))},
        {"predictor": NetworkPredictor(NetworkReference.of(other, spec))},
        {"predictor": NetworkPredictor(NetworkReference.of(network.reference.path, spec, "cuda"))},
    ):
        assert ask(**change).settings() != usual, change


def test_what_shapes_no_row_is_no_setting(ask, network):
    reference = network.reference
    more = NetworkPredictor(NetworkReference.of(reference.path, reference.spec, threads=3))
    for change in ({"out": local(Path("/elsewhere"))}, {"shard_size": 3}, {"predictor": more}):
        assert ask(**change).settings() == ask().settings()


def test_8_bit_maps_allowed_or_not_is_a_setting(ask):
    """--depth-scale 256 and none at all differ: the first reads 8-bit maps, the second refuses them."""
    assert ask(depth_scale=256.0).settings() != ask().settings()
