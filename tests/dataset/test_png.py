"""Depth PNGs: the one kind that is depth, exact values, and damage of every sort."""

import zlib

import numpy as np
import pytest
from helpers import pngs
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from ncdb_dask.dataset import png
from ncdb_dask.dataset.png import PngHeader, decode_depth, read_header
from ncdb_dask.errors import DataFault

MAP = np.arange(48, dtype=np.uint16).reshape(6, 8) * 1365
WHOLE = pngs.encode(MAP)


def fault(data: bytes, **options: bool) -> DataFault:
    with pytest.raises(DataFault) as caught:
        decode_depth(data, **options)
    return caught.value


def decoded_or_none(data: bytes) -> np.ndarray | None:
    try:
        return decode_depth(data)
    except DataFault as found:
        status = found.status
    assert status in ("unreadable_depth", "unsupported_depth")
    return None


# Which kinds are depth


@pytest.mark.parametrize(("colour_type", "bit_depth"), pngs.KINDS)
def test_the_header_is_read_as_it_was_written(colour_type, bit_depth):
    data = pngs.example(colour_type, bit_depth, width=5, height=3)
    assert read_header(data) == PngHeader(5, 3, bit_depth, colour_type)


@pytest.mark.parametrize("allow_8bit", [False, True])
@pytest.mark.parametrize(("colour_type", "bit_depth"), pngs.KINDS)
def test_only_one_channel_of_16_bits_is_depth_and_8_where_allowed(colour_type, bit_depth, allow_8bit):
    data = pngs.example(colour_type, bit_depth)
    if colour_type == pngs.GREY and (bit_depth == 16 or (bit_depth == 8 and allow_8bit)):
        assert decode_depth(data, allow_8bit=allow_8bit).shape == (3, 5)
    else:
        assert fault(data, allow_8bit=allow_8bit).status == "unsupported_depth"


@pytest.mark.parametrize(
    ("colour_type", "bit_depth", "named"),
    [
        (pngs.RGB, 16, "16-bit RGB PNG"),
        (pngs.PALETTE, 8, "8-bit palette PNG"),
        (pngs.GREY_ALPHA, 16, "16-bit grey + alpha PNG"),
        (pngs.RGB_ALPHA, 8, "8-bit RGB + alpha PNG"),
        (pngs.GREY, 4, "4-bit grey PNG"),
        (pngs.GREY, 8, "--depth-scale"),
    ],
)
def test_an_unsupported_kind_is_named(colour_type, bit_depth, named):
    assert named in fault(pngs.example(colour_type, bit_depth)).detail


@pytest.mark.parametrize("bit_depth", [0, 3, 17, 32, 255])
def test_an_impossible_bit_depth_is_unsupported(bit_depth):
    data = pngs.SIGNATURE + pngs.header(2, 2, bit_depth) + pngs.chunk(b"IEND")
    assert fault(data, allow_8bit=True).status == "unsupported_depth"


def test_an_unknown_colour_type_is_unsupported():
    assert "colour type 7" in fault(pngs.SIGNATURE + pngs.header(2, 2, 16, 7) + pngs.chunk(b"IEND")).detail


# Values


def test_16_bit_values_are_decoded_exactly():
    raw = np.array([[0, 1, 2, 255, 256, 257], [4095, 5120, 32767, 32768, 65534, 65535]], dtype=np.uint16)
    decoded = decode_depth(pngs.encode(raw))
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, raw)


def test_8_bit_values_are_not_rescaled():
    raw = np.arange(256).reshape(16, 16)
    decoded = decode_depth(pngs.encode(raw, 8), allow_8bit=True)
    assert decoded.dtype == np.uint16
    np.testing.assert_array_equal(decoded, raw)


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 9), st.integers(1, 9), st.randoms(use_true_random=False))
def test_any_map_survives(height, width, random):
    raw = np.array([[random.getrandbits(16) for _ in range(width)] for _ in range(height)], dtype=np.uint16)
    np.testing.assert_array_equal(decode_depth(pngs.encode(raw)), raw)


def test_a_transparent_colour_changes_no_value():
    data = pngs.encode(MAP, before_data=[pngs.chunk(b"tRNS", b"\x05\x55")])
    np.testing.assert_array_equal(decode_depth(data), MAP)


def test_gamma_and_text_change_no_value():
    data = pngs.encode(MAP, before_data=[pngs.chunk(b"gAMA", b"\0\0\x55\xf0"), pngs.chunk(b"tEXt", b"a\0b")])
    np.testing.assert_array_equal(decode_depth(data), MAP)


def test_pixels_in_many_chunks_are_one_map():
    body = zlib.compress(b"".join(b"\0" + row.astype(">u2").tobytes() for row in MAP))
    chunks = b"".join(pngs.chunk(b"IDAT", body[at : at + 3]) for at in range(0, len(body), 3))
    data = pngs.SIGNATURE + pngs.header(8, 6) + chunks + pngs.chunk(b"IEND")
    np.testing.assert_array_equal(decode_depth(data), MAP)


# Damage


@pytest.mark.parametrize(
    "data",
    [b"", b"\x89PNG", pngs.SIGNATURE, b"\xff\xd8\xff\xe0" + bytes(100), bytes(500), b"P5 2 2 65535\n" + bytes(40)],
    ids=["empty", "begun", "signature", "jpeg", "zeros", "pgm"],
)
def test_what_is_no_png_is_unreadable_and_described(data):
    found = fault(data)
    assert found.status == "unreadable_depth"
    assert f"{len(data)} bytes" in found.detail


def test_a_file_cut_at_any_byte_is_refused_or_whole():
    pixels_end = len(WHOLE) - len(pngs.chunk(b"IEND"))
    for length in range(len(WHOLE)):
        decoded = decoded_or_none(WHOLE[:length])
        if decoded is not None:
            np.testing.assert_array_equal(decoded, MAP)
            assert length >= pixels_end - 8  # of the pixels only the checksums behind them may be missing


def test_any_single_flipped_bit_is_refused_or_harmless():
    for bit in range(8 * len(WHOLE)):
        damaged = bytearray(WHOLE)
        damaged[bit // 8] ^= 1 << bit % 8
        decoded = decoded_or_none(bytes(damaged))
        if decoded is not None:
            np.testing.assert_array_equal(decoded, MAP)


@settings(deadline=None, max_examples=300)
@given(st.data())
def test_damaged_bytes_are_a_fault_or_a_map_of_the_right_shape(data):
    damaged = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at : at + data.draw(st.integers(0, 4))] = data.draw(st.binary(max_size=4))
    decoded = decoded_or_none(bytes(damaged))
    if decoded is not None:
        header = read_header(bytes(damaged))
        assert decoded.shape == (header.height, header.width)
        assert decoded.dtype == np.uint16


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1), st.integers(0, 255), st.integers(0, 255), st.binary())
def test_any_header_over_any_pixels_is_a_fault_or_a_map_of_that_shape(width, height, bit_depth, colour_type, body):
    data = (
        pngs.SIGNATURE + pngs.header(width, height, bit_depth, colour_type) + pngs.chunk(b"IDAT", zlib.compress(body))
    )
    decoded = decoded_or_none(data)
    assert decoded is None or decoded.shape == (height, width)


def test_the_fault_of_damaged_pixels_says_that_they_do_not_decode():
    assert fault(WHOLE[:-30]).detail.startswith("does not decode: ")


# Memory


@pytest.mark.parametrize(
    ("width", "height"), [(2**31, 2**31), (2**31 - 1, 2**31 - 1), (2**32 - 1, 1), (8193, 8192)], ids=str
)
def test_a_header_that_claims_too_many_pixels_is_refused_before_the_decoder_runs(width, height, monkeypatch):
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("the decoder was called"))
    found = fault(pngs.SIGNATURE + pngs.header(width, height) + pngs.chunk(b"IDAT", zlib.compress(b"")))
    assert found.status == "unsupported_depth"
    assert f"{width} x {height}" in found.detail


def test_the_limit_itself_is_still_decoded(monkeypatch):
    monkeypatch.setattr(png, "MAX_PIXELS", MAP.size)
    np.testing.assert_array_equal(decode_depth(WHOLE), MAP)
    monkeypatch.setattr(png, "MAX_PIXELS", MAP.size - 1)
    assert fault(WHOLE).status == "unsupported_depth"


def test_a_second_header_cannot_make_8_bits_look_like_16():
    assert decoded_or_none(pngs.encode(MAP % 256, 8)) is None
    second = pngs.header(8, 6, 8)
    disguised = pngs.SIGNATURE + pngs.header(8, 6, 16) + second + pngs.encode(MAP % 256, 8)[33:]
    assert fault(disguised).status in ("unreadable_depth", "unsupported_depth")


def test_a_second_header_cannot_make_the_decoder_take_more_memory_than_the_first_claims(monkeypatch):
    loaded = []
    load = ImageFile.ImageFile.load

    def recorded(self: ImageFile.ImageFile) -> object:
        loaded.append(self.size)
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", recorded)
    large = np.ones((200, 100), dtype=np.uint16)
    decode_depth(pngs.encode(large))
    assert (100, 200) in loaded
    loaded.clear()
    fault(pngs.SIGNATURE + pngs.header(8, 6) + pngs.encode(large)[8:])
    assert loaded == []


# The process-wide switch


@pytest.mark.parametrize("switch", [True, False])
def test_a_truncated_file_is_refused_whatever_the_callers_switch_says_and_the_switch_is_kept(switch, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    large = pngs.encode(np.random.default_rng(0).integers(1, 65536, (64, 64)))
    assert fault(large[: len(large) // 2]).status == "unreadable_depth"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch
    decode_depth(large)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch


# Faults that are not the file's


def test_lack_of_memory_is_no_fault_of_the_map(monkeypatch):
    def exhausted(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image, "open", exhausted)
    with pytest.raises((MemoryError, OSError)):
        decode_depth(WHOLE)


def test_an_error_without_words_is_named_by_its_kind(monkeypatch):
    def wordless(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image, "open", wordless)
    assert fault(WHOLE).detail == "does not decode: AssertionError"
