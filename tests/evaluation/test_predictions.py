"""Predicted maps: every type and shape that tools write, every way a file can be none, and a round trip."""

import io
import os
import pickle
import struct
import tracemalloc
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import pngs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ncdb_dask.dataset import reading
from ncdb_dask.errors import DataFault
from ncdb_dask.evaluation import predictions
from ncdb_dask.evaluation.predictions import encoded_prediction, read_prediction
from ncdb_dask.model.spec import OutputSpec
from ncdb_dask.store.folder import LocalFolder

MAP = np.arange(1, 13).reshape(3, 4)
SIGMOID = OutputSpec(decode="inverse-sigmoid", min=0.5, max=15.0)
PAIR = OutputSpec(("integer", "fraction"), "integer-fraction", max=15.0)


def npy(values: Any, version: tuple[int, int] | None = None, **options: Any) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.asanyarray(values), version, **options)
    return stream.getvalue()


def npz(save: Callable[..., None] = np.savez, **values: Any) -> bytes:
    stream = io.BytesIO()
    save(stream, **values)
    return stream.getvalue()


def header(shape: object, descr: str = "<f4", fortran: bool = False) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(stream, {"descr": descr, "fortran_order": fortran, "shape": shape})
    return stream.getvalue()


def zipped(member: bytes, method: int = zipfile.ZIP_DEFLATED, name: str = "depth.npy") -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        archive.writestr(name, member)
    return stream.getvalue()


def read(path: Path, name: str, data: bytes, output: OutputSpec | None = None) -> np.ndarray:
    (path / name).write_bytes(data)
    return read_prediction(LocalFolder(str(path)), (name,), output=output)


def fault(path: Path, name: str, data: bytes, output: OutputSpec | None = None) -> str:
    """Return the detail, of which the path is checked and cut."""
    with pytest.raises(DataFault) as caught:
        read(path, name, data, output)
    assert caught.value.status == "unreadable_prediction"
    assert caught.value.detail.startswith(f"{name}: ")
    return caught.value.detail.removeprefix(f"{name}: ")


# What is read


@pytest.mark.parametrize("dtype", ["f2", "f4", "f8", "g", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("form", [npy, lambda values: npz(depth=values)])
def test_every_number_type(tmp_path, dtype, order, form):
    values = MAP.astype(np.dtype(dtype).newbyteorder(order))

    found = read(tmp_path, "x.npy" if form is npy else "x.npz", form(values))

    assert (found.dtype, found.dtype.isnative) == (np.float64, True)
    np.testing.assert_array_equal(found, MAP)


@pytest.mark.parametrize("shape", [(3, 4), (1, 3, 4), (3, 4, 1), (1, 1, 3, 4), (1, 3, 4, 1)])
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_every_shape_and_order(tmp_path, shape, order, version):
    values = np.asarray(MAP.reshape(shape), dtype=np.float32, order=order)

    np.testing.assert_array_equal(read(tmp_path, "x.npy", npy(values, version)), MAP)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_an_archive_with_further_arrays(tmp_path, save):
    np.testing.assert_array_equal(read(tmp_path, "x.NPZ", npz(save, other=np.ones(9), depth=MAP)), MAP)


def test_an_archive_larger_than_one_read(tmp_path):
    values = np.random.default_rng(0).random((200, 300))

    np.testing.assert_array_equal(read(tmp_path, "x.npz", npz(depth=values)), values)


def test_values_that_are_no_depth_are_left(tmp_path):
    values = np.array([[np.nan, np.inf, -np.inf], [0, -1, 1e300]])

    np.testing.assert_array_equal(read(tmp_path, "x.npy", npy(values)), values)


def test_what_float64_cannot_hold_is_infinite(tmp_path):
    if np.finfo(np.longdouble).max <= np.finfo(np.float64).max:
        pytest.skip("long double is double here")

    assert np.isinf(read(tmp_path, "x.npy", npy(np.full((2, 2), np.finfo(np.longdouble).max)))).all()


def test_a_png_is_metres_times_256(tmp_path):
    raw = np.array([[0, 1, 256], [5120, 65535, 128]])

    found = read(tmp_path, "x.PNG", pngs.encode(raw))

    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [[0, 0.00390625, 1], [20, 255.99609375, 0.5]])


@pytest.mark.parametrize("form", ["npy", "npz"])
def test_raw_output_is_decoded(tmp_path, form):
    values = np.array([[[[0, 0.25, 0.5, 1]]]], dtype=np.float32)

    found = read(tmp_path, f"x.{form}", npy(values) if form == "npy" else npz(depth=values), SIGMOID)

    np.testing.assert_allclose(found, [[15, 1.818181818, 0.967741935, 0.5]], rtol=1e-9)


def test_raw_output_may_be_whole_numbers(tmp_path):
    spec = OutputSpec(decode="linear", factor=0.5, offset=1.0)

    np.testing.assert_array_equal(read(tmp_path, "x.npy", npy(MAP.astype(np.uint8)), spec), MAP / 2 + 1)


def two(path: Path, integer: bytes, fraction: bytes) -> np.ndarray:
    (path / "i.npy").write_bytes(integer)
    (path / "f.npy").write_bytes(fraction)
    return read_prediction(LocalFolder(str(path)), ("i.npy", "f.npy"), output=PAIR)


def test_integer_and_fraction(tmp_path):
    found = two(tmp_path, npy(np.full((1, 2, 2), 85 / 255)), npy(np.full((2, 2), 0.5, np.float32)))

    np.testing.assert_allclose(found, np.full((2, 2), 5.5))


def test_integer_and_fraction_of_different_sizes(tmp_path):
    with pytest.raises(DataFault) as caught:
        two(tmp_path, npy(np.ones((2, 2))), npy(np.ones((2, 3))))

    assert caught.value.status == "unreadable_prediction"
    assert caught.value.detail == (
        "i.npy and f.npy: integer and fraction have the sizes 2 x 2 and 2 x 3; expected two maps of the same size"
    )


# What is refused


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (MAP.astype(bool), "bool"),
        (MAP.astype(complex), "complex128"),
        (MAP.astype(str), "<U21"),
        (MAP.astype("S2"), "|S2"),
        (MAP.astype("m8[s]"), "timedelta64[s]"),
        (np.zeros((2, 2), [("a", "f4")]), "[('a', '<f4')]"),
        (np.zeros((2, 2), "V4"), "|V4"),
    ],
)
def test_values_that_are_no_numbers(tmp_path, values, found):
    detail = fault(tmp_path, "x.npy", npy(values))

    assert detail == f"holds values of type {found}; expected a float or integer type"


class Bomb:
    """Runs when it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("struck",)


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_pickles_are_not_loaded(tmp_path, name, monkeypatch):
    monkeypatch.chdir(tmp_path)
    array = npy(np.array([[Bomb()]], dtype=object), allow_pickle=True)

    detail = fault(tmp_path, name, array if name == "x.npy" else zipped(array))

    assert detail == "holds values of type object; expected a float or integer type"
    assert fault(tmp_path, "y.npy", pickle.dumps(Bomb())).startswith("begins with '80 ")
    assert not (tmp_path / "struck").exists()


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4), (2, 1, 1, 3, 4), (3, 2, 1, 1)])
def test_shapes_that_are_no_map(tmp_path, shape):
    assert "expected one map" in fault(tmp_path, "x.npy", npy(np.ones(shape)))


@pytest.mark.parametrize("shape", [(), (0, 4), (3, 0), (-1, 4)])
def test_shapes_without_values(tmp_path, shape):
    assert fault(tmp_path, "x.npy", header(shape)) == f"has the shape {shape}; expected a map of height x width"


def test_more_axes_than_numpy_has(tmp_path):
    assert "does not decode" in fault(tmp_path, "x.npy", header((1,) * 70) + bytes(4))


def test_an_empty_file(tmp_path):
    assert fault(tmp_path, "x.npy", b"") == "is empty; expected an array as np.save writes it"


def test_a_png_called_npy(tmp_path):
    found = fault(tmp_path, "x.npy", pngs.encode(MAP))

    assert found == "begins with '89 50 4e 47 0d 0a 1a 0a'; expected an array as np.save writes it"


@pytest.mark.parametrize("cut", [7, 20, 60])
def test_a_header_that_is_cut(tmp_path, cut):
    assert fault(tmp_path, "x.npy", npy(MAP)[:cut])


@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
@pytest.mark.parametrize("end", [-1, -96])
def test_values_that_are_cut(tmp_path, name, end):
    array = npy(MAP)[:end]

    found = fault(tmp_path, name, array if name == "x.npy" else zipped(array))

    assert found == f"holds only {96 + end} bytes of values; its header claims 96, (3, 4) of int64"


@pytest.mark.parametrize("shape", [(3, 4), (100, 300)])
def test_more_values_than_claimed(tmp_path, shape):
    found = fault(tmp_path, "x.npy", npy(np.ones(shape)) + b"x")

    assert found.startswith("holds more bytes of values; its header claims")


def test_an_unknown_version(tmp_path):
    array = bytearray(npy(MAP))
    array[6] = 3

    assert fault(tmp_path, "x.npy", bytes(array)) == "is a .npy of version 3.0; expected 1.0 or 2.0"


def test_a_header_that_is_code(tmp_path):
    text = b"__import__('os').mkdir('struck')".ljust(63) + b"\n"

    assert "does not decode" in fault(tmp_path, "x.npy", b"\x93NUMPY\1\0" + struct.pack("<H", len(text)) + text)


@pytest.mark.parametrize("shape", [(10**6, 10**6), (2**40, 2**40), (8192, 8193)])
@pytest.mark.parametrize("name", ["x.npy", "x.npz"])
def test_a_header_that_claims_too_much(tmp_path, shape, name):
    data = header(shape, "|u1")

    found = fault(tmp_path, name, data if name == "x.npy" else zipped(data))

    assert found == f"claims {shape[0] * shape[1]} values of uint8; the limit is 67108864"


def test_wide_values_that_are_too_many_bytes(tmp_path):
    assert "claims 67108864 values of" in fault(tmp_path, "x.npz", zipped(header((8192, 8192), np.dtype("g").str)))


def peak(call: Callable[[], object]) -> int:
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "begin",
    [header((2, 2)), header((10**6, 10**6)), b"", b"\x93NUMPY\2\0" + struct.pack("<I", 2**28)],
    ids=["small", "huge", "none", "header"],
)
def test_a_zip_bomb_is_not_unpacked(tmp_path, begin):
    bomb = zipped(begin + bytes(2**28))

    assert len(bomb) < 2**20
    assert peak(lambda: fault(tmp_path, "x.npz", bomb)) < 2**23


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(reading, "MAX_FILE_BYTES", 100)

    assert "limit is 100" in fault(tmp_path, "x.npy", npy(MAP))


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_compressions(tmp_path, method):
    assert "is compressed by method" in fault(tmp_path, "x.npz", zipped(npy(MAP), method))


def test_an_archive_without_the_array(tmp_path):
    detail = fault(tmp_path, "x.npz", npz(disparity=MAP, mask=MAP))

    assert detail == "holds no array 'depth' (arrays: disparity, mask); write np.savez(file, depth=...)"
    assert "(arrays: none)" in fault(tmp_path, "x.npz", npz())


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", [(3, 4), (64, 64)])
def test_an_archive_with_a_wrong_byte(tmp_path, save, shape):
    data = bytearray(npz(save, depth=np.random.default_rng(0).random(shape)))
    data[len(data) // 2] ^= 255

    assert "does not decode" in fault(tmp_path, "x.npz", bytes(data))


def test_what_is_no_archive(tmp_path):
    assert fault(tmp_path, "x.npz", npy(MAP)) == "does not decode: File is not a zip file"


@pytest.mark.parametrize(("colour", "bits"), [kind for kind in pngs.KINDS if kind != (pngs.GREY, 16)])
def test_every_other_kind_of_png(tmp_path, colour, bits):
    detail = fault(tmp_path, "x.png", pngs.example(colour, bits))

    if bits == 16:
        assert detail.endswith("depth is 16-bit grey with one channel")
    else:
        assert detail == f"is a PNG of {bits} bits; expected 16-bit grey that holds metres x 256"


def test_a_png_that_is_cut(tmp_path):
    assert "does not decode" in fault(tmp_path, "x.png", pngs.encode(MAP)[:60])
    assert "is no PNG" in fault(tmp_path, "x.png", b"")


def test_a_png_is_no_raw_output(tmp_path):
    assert "is a PNG, which holds metres" in fault(tmp_path, "x.png", pngs.encode(MAP), SIGMOID)


def test_a_folder_called_like_a_file(tmp_path):
    (tmp_path / "x.npy").mkdir()

    with pytest.raises(DataFault, match=r"x\.npy: cannot be opened") as caught:
        read_prediction(LocalFolder(str(tmp_path)), ("x.npy",), output=None)

    assert caught.value.status == "unreadable_prediction"


def test_a_file_that_vanished(tmp_path):
    (tmp_path / "other.npy").touch()

    with pytest.raises(DataFault, match=r"x\.npy: .* was removed since it was listed") as caught:
        read_prediction(LocalFolder(str(tmp_path)), ("x.npy",), output=None)

    assert caught.value.status == "missing_prediction"


def test_a_folder_that_vanished(tmp_path):
    with pytest.raises(OSError, match="gone"):
        read_prediction(LocalFolder(str(tmp_path / "gone")), ("x.npy",), output=None)


def test_a_file_that_may_not_be_read(tmp_path, monkeypatch):
    def denied(self: LocalFolder, name: str, limit: int | None = None) -> bytes:
        raise PermissionError(13, "Permission denied", name)

    monkeypatch.setattr(LocalFolder, "read", denied)

    assert "cannot be opened (Permission denied)" in fault(tmp_path, "x.npy", npy(MAP))


def test_a_disk_that_fails_is_no_fault_of_the_file(tmp_path, monkeypatch):
    def broken(self: LocalFolder, name: str, limit: int | None = None) -> bytes:
        raise OSError(5, "Input/output error", name)

    monkeypatch.setattr(LocalFolder, "read", broken)

    with pytest.raises(OSError, match="Input/output error"):
        read(tmp_path, "x.npy", npy(MAP))


@pytest.mark.parametrize("function", ["as_map", "_from_npz", "decode_depth"])
def test_lack_of_memory_is_no_fault_of_the_file(tmp_path, monkeypatch, function):
    def full(*arguments: object) -> None:
        raise MemoryError

    monkeypatch.setattr(predictions, function, full)
    is_png = function == "decode_depth"

    with pytest.raises(OSError, match="out of memory"):
        read(tmp_path, "x.png" if is_png else "x.npz", pngs.encode(MAP) if is_png else npz(depth=MAP))


@settings(max_examples=200)
@given(st.data())
def test_any_damage_is_a_fault_or_a_map(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("damaged")
    name, whole = data.draw(
        st.sampled_from([("x.npy", npy(MAP)), ("x.npz", npz(depth=MAP)), ("x.png", pngs.encode(MAP))])
    )
    damaged = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        damaged[place] = data.draw(st.integers(0, 255))
    found = map_or_status(path, name, bytes(damaged))

    if isinstance(found, str):
        assert found == "unreadable_prediction"
    else:
        assert (found.dtype, found.ndim) == (np.float64, 2)


def map_or_status(path: Path, name: str, data: bytes) -> Any:
    try:
        return read(path, name, data)
    except DataFault as caught:
        return caught.status


# What is written

METRES = arrays.arrays(np.float64, arrays.array_shapes(min_dims=2, max_dims=2), elements=st.floats())


@given(METRES)
def test_npy_keeps_float32(tmp_path_factory, metres):
    found = read(tmp_path_factory.mktemp("npy"), "x.npy", encoded_prediction(metres, "npy"))

    with np.errstate(over="ignore"):
        np.testing.assert_array_equal(found, metres.astype(np.float32).astype(np.float64))


@given(METRES)
def test_png_keeps_256ths(tmp_path_factory, metres):
    found = read(tmp_path_factory.mktemp("png"), "x.png", encoded_prediction(metres, "png"))

    positive = metres > 0
    assert not found[~positive].any()
    bounded = np.clip(metres[positive], 1 / 256, 65535 / 256)
    assert (np.abs(found[positive] - bounded) <= 0.5 / 256).all()


def test_png_is_rounded_and_limited(tmp_path):
    metres = np.array([[1.6 / 256, 1e-9, 300, np.inf], [np.nan, 0, -3, -np.inf]])

    found = read(tmp_path, "x.png", encoded_prediction(metres, "png"))

    np.testing.assert_array_equal(found * 256, [[2, 1, 65535, 65535], [0, 0, 0, 0]])


def test_an_unknown_form():
    with pytest.raises(ValueError, match="unknown form 'tiff'; known are npy, png"):
        encoded_prediction(np.ones((2, 2)), "tiff")
