"""Every kind of picture becomes the RGB that its samples stand for, and a damaged one a fault."""

import io
import warnings

import numpy as np
import pytest
from helpers import pngs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageFile

from ncdb_dask.dataset.image import decode_rgb, opened
from ncdb_dask.errors import DataFault

RNG = np.random.default_rng(5)
GREY = RNG.integers(0, 256, (7, 9))
COLOUR = RNG.integers(0, 256, (7, 9, 3))
ALPHA = RNG.integers(0, 256, (7, 9, 1))
DEEP = RNG.integers(0, 2**16, (7, 9))
DEEP_COLOUR = RNG.integers(0, 2**16, (7, 9, 3))
PALETTE = RNG.integers(0, 256, (256, 3))
ORIENTATION = 0x0112  # EXIF tag


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def repeated(grey: np.ndarray) -> np.ndarray:
    return np.dstack([grey] * 3)


KINDS = {
    "grey": (pngs.encode(GREY, 8), repeated(GREY)),
    "1 bit": (pngs.encode(GREY % 2, 1), repeated(GREY % 2 * 255)),
    "4 bits": (pngs.encode(GREY % 16, 4), repeated(GREY % 16 * 17)),
    "16-bit grey": (pngs.encode(DEEP), repeated(DEEP >> 8)),
    "16-bit RGB": (pngs.encode(DEEP_COLOUR, 16, pngs.RGB), DEEP_COLOUR >> 8),
    "RGB": (pngs.encode(COLOUR, 8, pngs.RGB), COLOUR),
    "palette": (pngs.encode(GREY, 8, pngs.PALETTE, [pngs.palette(PALETTE)]), PALETTE[GREY]),
    "RGB + alpha": (pngs.encode(np.dstack([COLOUR, ALPHA]), 8, pngs.RGB_ALPHA), COLOUR),
    "grey + alpha": (pngs.encode(np.dstack([GREY, ALPHA[:, :, 0]]), 8, pngs.GREY_ALPHA), repeated(GREY)),
}


def status_of(data: bytes) -> str:
    with pytest.raises(DataFault) as caught:
        decode_rgb(data)
    return caught.value.status


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_png_becomes_rgb(kind):
    data, expected = KINDS[kind]
    image = decode_rgb(data)
    assert (image.mode, image.size) == ("RGB", (9, 7))
    np.testing.assert_array_equal(np.asarray(image), expected)


@settings(deadline=None, max_examples=60)
@given(arrays.arrays(np.uint8, st.tuples(st.integers(1, 20), st.integers(1, 20), st.just(3))))
def test_rgb_is_what_was_written(pixels):
    np.testing.assert_array_equal(np.asarray(decode_rgb(pngs.encode(pixels, 8, pngs.RGB))), pixels)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_every_kind_of_jpeg_becomes_rgb(mode):
    smooth = Image.fromarray(COLOUR.astype(np.uint8)).resize((90, 70), Image.Resampling.BICUBIC).convert(mode)
    image = decode_rgb(saved(smooth, "JPEG", quality=100, subsampling=0))
    assert (image.mode, image.size) == ("RGB", (90, 70))
    difference = np.asarray(image, dtype=int) - np.asarray(smooth.convert("RGB"), dtype=int)
    assert np.abs(difference).max() <= 8


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_the_exif_orientation_turns_nothing(kind, orientation):
    image = Image.fromarray(COLOUR.astype(np.uint8))
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    tagged = saved(image, kind, exif=exif)
    with Image.open(io.BytesIO(tagged)) as check:
        assert check.getexif()[ORIENTATION] == orientation
    np.testing.assert_array_equal(np.asarray(decode_rgb(tagged)), np.asarray(decode_rgb(saved(image, kind))))


@pytest.mark.parametrize("action", ["error", "ignore"])
@pytest.mark.parametrize(
    ("samples", "colour_type", "transparency"),
    [(GREY, pngs.PALETTE, bytes(range(256))), (GREY, pngs.GREY, b"\0\7"), (COLOUR, pngs.RGB, b"\0\7" * 3)],
    ids=["palette", "grey", "RGB"],
)
def test_transparent_colours_stay_whatever_is_done_with_warnings(action, samples, colour_type, transparency):
    chunks = [pngs.palette(PALETTE)] if colour_type == pngs.PALETTE else []
    plain = decode_rgb(pngs.encode(samples, 8, colour_type, chunks))
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        image = decode_rgb(pngs.encode(samples, 8, colour_type, [*chunks, pngs.chunk(b"tRNS", transparency)]))
    np.testing.assert_array_equal(np.asarray(image), np.asarray(plain))


def test_opening_decodes_nothing():
    truncated = KINDS["RGB"][0][:-40]
    with opened(truncated) as image:
        assert (image.mode, image.size) == ("RGB", (9, 7))
    assert status_of(truncated) == "unreadable_image"


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("switch", [True, False])
def test_a_truncated_picture_is_refused_whatever_the_callers_switch_says(kind, switch, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    data = saved(Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8)), kind)
    assert status_of(data[: len(data) // 2]) == "unreadable_image"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(50), bytes(300), pngs.SIGNATURE], ids=ascii)
def test_what_is_no_picture_is_unreadable(data):
    assert status_of(data) == "unreadable_image"


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP"])
def test_other_formats_are_not_opened(kind):
    with pytest.raises(DataFault, match="no PNG or JPEG"):
        decode_rgb(saved(Image.fromarray(GREY.astype(np.uint8)), kind))


def test_a_picture_that_claims_too_many_pixels_is_refused_with_its_size():
    data = pngs.SIGNATURE + pngs.header(8193, 8192, 8, pngs.RGB) + pngs.chunk(b"IDAT")
    with pytest.raises(DataFault, match="8193 x 8192"):
        decode_rgb(data)


def test_lack_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", exhausted)
    with pytest.raises(OSError, match="out of memory"):
        decode_rgb(KINDS["RGB"][0])
