"""Brightness against an independent formula, lighting at its bounds, and a hash that near-duplicates share."""

import io
import warnings

import numpy as np
import pytest
from helpers import pngs
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile

from ncdb_dask.errors import DataFault
from ncdb_dask.scanning.image import (
    BRIGHT_LUMA,
    DARK_LUMA,
    DUSK_LUMA,
    NIGHT_LUMA,
    ImageHeader,
    image_stats,
    perceptual_hash,
    read_image_header,
)

RNG = np.random.default_rng(3)
GREY = RNG.integers(0, 256, (20, 30))
COLOUR = RNG.integers(0, 256, (20, 30, 3))
ALPHA = RNG.integers(0, 256, (20, 30, 1))


def luma(rgb: np.ndarray) -> np.ndarray:
    """ITU-R BT.601."""
    return rgb @ np.array([0.299, 0.587, 0.114])


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def flat(level: int) -> bytes:
    return pngs.encode(np.full((16, 16), level), 8)


# Brightness

KINDS = {
    "L": (pngs.encode(GREY, 8), GREY),
    "RGB": (pngs.encode(COLOUR, 8, pngs.RGB), luma(COLOUR)),
    "RGBA": (pngs.encode(np.dstack([COLOUR, ALPHA]), 8, pngs.RGB_ALPHA), luma(COLOUR)),
    "LA": (pngs.encode(np.dstack([GREY, ALPHA[:, :, 0]]), 8, pngs.GREY_ALPHA), GREY),
    "P": (pngs.encode(GREY, 8, pngs.PALETTE, [pngs.palette(COLOUR.reshape(-1, 3)[:256])]), None),
    "1": (pngs.encode(GREY % 2, 1), GREY % 2 * 255),
    "I;16": (pngs.encode(GREY * 256 + 77), GREY),
}
KINDS["P"] = (KINDS["P"][0], luma(COLOUR.reshape(-1, 3)[:256])[GREY])


@pytest.mark.parametrize("mode", KINDS)
def test_brightness_follows_bt_601_in_every_mode(mode):
    data, expected = KINDS[mode]
    header, stats = image_stats(data)
    assert header == ImageHeader(mode, 30, 20)
    assert stats.luma_mean == pytest.approx(expected.mean(), abs=1)
    assert stats.luma_std == pytest.approx(expected.std(), abs=1)
    assert stats.dark_fraction == pytest.approx((expected < DARK_LUMA).mean(), abs=0.02)
    assert stats.bright_fraction == pytest.approx((expected >= BRIGHT_LUMA).mean(), abs=0.02)


@settings(deadline=None, max_examples=80)
@given(st.tuples(*[st.integers(0, 255)] * 3))
def test_a_single_colour_has_its_own_luma(colour):
    _, stats = image_stats(pngs.encode(np.array([[colour]]), 8, pngs.RGB))
    assert stats.luma_mean == pytest.approx(luma(np.array(colour)), abs=1)
    assert stats.luma_std == 0.0


def test_a_jpeg_is_as_bright_as_what_it_was_made_of():
    smooth = np.asarray(Image.fromarray(COLOUR.astype(np.uint8)).resize((120, 80)))
    header, stats = image_stats(saved(Image.fromarray(smooth), "JPEG", quality=95))
    assert header == ImageHeader("RGB", 120, 80)
    assert stats.luma_mean == pytest.approx(luma(smooth).mean(), abs=1)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_other_jpegs_are_measured_too(mode):
    picture = Image.fromarray(np.full((16, 16), 200, dtype=np.uint8)).convert("RGB").convert(mode)
    header, stats = image_stats(saved(picture, "JPEG", quality=95))
    assert header.mode == mode
    assert stats.luma_mean == pytest.approx(200, abs=2)


def test_transparency_never_counts():
    opaque = image_stats(pngs.encode(np.dstack([COLOUR, 0 * ALPHA + 255]), 8, pngs.RGB_ALPHA))
    assert image_stats(pngs.encode(np.dstack([COLOUR, 0 * ALPHA]), 8, pngs.RGB_ALPHA)) == opaque


@pytest.mark.parametrize("action", ["error", "ignore"])
def test_a_palette_with_transparency_is_a_picture_whatever_is_done_with_warnings(action):
    chunks = [pngs.palette(COLOUR.reshape(-1, 3)[:256]), pngs.chunk(b"tRNS", bytes(range(256)))]
    with warnings.catch_warnings():
        warnings.simplefilter(action)
        _, stats = image_stats(pngs.encode(GREY, 8, pngs.PALETTE, chunks))
    assert stats.luma_mean == pytest.approx(KINDS["P"][1].mean(), abs=1)


# Lighting


@pytest.mark.parametrize(
    ("level", "lighting"), [(0, "night"), (59, "night"), (60, "dusk"), (84, "dusk"), (85, "day"), (255, "day")]
)
def test_lighting_follows_the_mean(level, lighting):
    assert image_stats(flat(level))[1].lighting == lighting


@pytest.mark.parametrize(
    ("share", "level"), [(0.09, DUSK_LUMA), (0.045, NIGHT_LUMA), (0.18 / 8, DARK_LUMA), (0.18 * 4, BRIGHT_LUMA)]
)
def test_the_bounds_are_stops_around_18_percent_grey(share, level):
    srgb = 255 * (1.055 * share ** (1 / 2.4) - 0.055)  # IEC 61966-2-1
    assert level == pytest.approx(srgb, abs=1)


@pytest.mark.parametrize(
    ("level", "dark", "bright"), [(40, 1, 0), (41, 0, 0), (220, 0, 0), (221, 0, 1), (0, 1, 0), (255, 0, 1)]
)
def test_dark_and_bright_pixels_are_counted_up_to_their_bounds(level, dark, bright):
    _, stats = image_stats(flat(level))
    assert (stats.dark_fraction, stats.bright_fraction) == (dark, bright)


# The perceptual hash


def scene(seed: int, size: tuple[int, int] = (128, 96)) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(30, 220, (8, 8), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC), dtype=float)


def hash_of(pixels: np.ndarray) -> int:
    return int(perceptual_hash(Image.fromarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))), 16)


def distance(first: np.ndarray, second: np.ndarray) -> int:
    return (hash_of(first) ^ hash_of(second)).bit_count()


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize(
    "change",
    [
        lambda pixels: pixels + np.random.default_rng(0).normal(0, 4, pixels.shape),
        lambda pixels: pixels * 0.8,
        lambda pixels: pixels * 0.7 + 30,
        lambda pixels: np.asarray(Image.fromarray(pixels.astype(np.uint8)).resize((64, 48)), dtype=float),
        lambda pixels: np.asarray(Image.fromarray(pixels.astype(np.uint8)).resize((300, 200)), dtype=float),
    ],
    ids=["noise", "darker", "contrast", "half-size", "stretched"],
)
def test_near_duplicates_have_near_hashes(seed, change):
    assert distance(scene(seed), change(scene(seed))) <= 6


def test_different_pictures_have_distant_hashes():
    distances = [distance(scene(a), scene(b)) for a in range(8) for b in range(a)]
    assert min(distances) >= 14
    assert 26 <= np.mean(distances) <= 38


def test_the_hash_is_16_digits_and_the_same_for_ever():
    ramp = Image.fromarray((np.add.outer(np.arange(96) * 2, np.arange(128)) % 256).astype(np.uint8))
    assert perceptual_hash(ramp) == "892349b76b52ad5a"


@pytest.mark.parametrize("level", [0, 1, 77, 128, 255])
def test_flat_pictures_share_one_hash_per_brightness_sign(level):
    _, stats = image_stats(flat(level))
    assert stats.phash == ("8000000000000000" if level else "0000000000000000")


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (31, 33)])
def test_pictures_of_any_size_have_a_hash(size):
    _, stats = image_stats(pngs.encode(np.full(size[::-1], 90), 8))
    assert stats.phash == "8000000000000000"


# Damage


@pytest.mark.parametrize("data", [b"", b"GIF89a" + bytes(50), bytes(300), pngs.SIGNATURE], ids=ascii)
def test_what_is_no_picture_is_unreadable(data):
    for read in (image_stats, read_image_header):
        with pytest.raises(DataFault) as caught:
            read(data)
        assert caught.value.status == "unreadable_image"
        assert f"{len(data)} bytes" in caught.value.detail


def test_other_formats_are_not_opened():
    with pytest.raises(DataFault, match="no PNG or JPEG"):
        image_stats(saved(Image.fromarray(GREY.astype(np.uint8)), "BMP"))


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("switch", [True, False])
def test_a_truncated_picture_is_refused_whatever_the_callers_switch_says(kind, switch, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    noise = Image.fromarray(RNG.integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = saved(noise, kind)
    with pytest.raises(DataFault) as caught:
        image_stats(data[: len(data) * 2 // 3])
    assert caught.value.status == "unreadable_image"
    assert ImageFile.LOAD_TRUNCATED_IMAGES is switch


@pytest.mark.parametrize("read", [image_stats, read_image_header])
@pytest.mark.parametrize("switch", [True, False])
def test_the_callers_switch_makes_no_damaged_chunk_acceptable(read, switch, monkeypatch):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", switch)
    gamma = pngs.chunk(b"gAMA", b"\0\0\x55\xf0")
    damaged = gamma[:-1] + bytes([gamma[-1] ^ 1])
    with pytest.raises(DataFault):
        read(pngs.encode(COLOUR, 8, pngs.RGB, [damaged]))


@pytest.mark.parametrize(
    ("width", "height"), [(8193, 8192), (10_000, 10_000), (20_000, 20_000), (2**31 - 1, 2**31 - 1)]
)
def test_a_picture_that_claims_too_many_pixels_is_refused_with_its_size(width, height):
    data = pngs.SIGNATURE + pngs.header(width, height, 8, pngs.RGB) + pngs.chunk(b"IDAT")
    with pytest.raises(DataFault) as caught:
        image_stats(data)
    assert caught.value.status == "unreadable_image"
    assert f"{width} x {height}" in caught.value.detail


def test_lack_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "convert", exhausted)
    with pytest.raises((MemoryError, OSError)):
        image_stats(KINDS["P"][0])


def test_an_error_without_words_is_named_by_its_kind(monkeypatch):
    def wordless(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr(Image.Image, "convert", wordless)
    with pytest.raises(DataFault, match="does not decode: AssertionError"):
        image_stats(KINDS["P"][0])
