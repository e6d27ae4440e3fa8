"""Preprocessing against an oracle that goes pixel by pixel, and the same bytes from the same bytes."""

import hashlib
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from helpers import pngs
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from ncdb_dask.errors import DataFault
from ncdb_dask.model.preprocess import FILTERS, normalised, preprocess, resized
from ncdb_dask.model.spec import InputSpec

RNG = np.random.default_rng(11)
COLOUR = RNG.integers(0, 256, (6, 8, 3), dtype=np.uint8)
EPSILON = float(np.finfo(np.float32).eps)
ORIENTATION = 0x0112  # EXIF tag

SPECS = st.builds(
    InputSpec,
    width=st.integers(1, 6),
    height=st.integers(1, 6),
    resize=st.sampled_from(sorted(FILTERS)),
    channels=st.sampled_from(["rgb", "bgr"]),
    scale=st.floats(1e-6, 1e6),
    mean=st.tuples(*[st.floats(-1e6, 1e6)] * 3),
    std=st.tuples(*[st.floats(1e-6, 1e6)] * 3),
    layout=st.sampled_from(["nchw", "nhwc"]),
)


def png(pixels: np.ndarray) -> bytes:
    return pngs.encode(np.asarray(pixels), 8, pngs.RGB)


def pixels_for(spec: InputSpec, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (spec.height, spec.width, 3), dtype=np.uint8)


def at(values: np.ndarray, spec: InputSpec, y: int, x: int, channel: int) -> float:
    return values[channel, y, x] if spec.layout == "nchw" else values[y, x, channel]


def triangle(row: list[float], size: int) -> list[float]:
    """Shrink a row by the antialiased triangle filter: weights fall linearly to 0 one new pixel from the centre."""
    factor = len(row) / size
    shrunk = []
    for place in range(size):
        centre = (place + 0.5) * factor
        weights = [max(0.0, 1 - abs((x + 0.5 - centre) / factor)) for x in range(len(row))]
        shrunk.append(sum(w * value for w, value in zip(weights, row, strict=True)) / sum(weights))
    return shrunk


# Normalisation


@settings(deadline=None, max_examples=150)
@given(SPECS, st.integers(0, 9))
def test_every_value_is_the_formula_with_one_float32_rounding_an_operation(spec, seed):
    pixels = pixels_for(spec, seed)
    values = normalised(pixels, spec)
    assert values.dtype == np.float32
    assert values.flags.c_contiguous
    assert values.shape == ((3, spec.height, spec.width) if spec.layout == "nchw" else (spec.height, spec.width, 3))
    for y, x, channel in np.ndindex(*pixels.shape):
        pixel = pixels[y, x, 2 - channel if spec.channels == "bgr" else channel]
        mean, std = np.float32(spec.mean[channel]), np.float32(spec.std[channel])
        assert at(values, spec, y, x, channel) == (np.float32(pixel) / np.float32(spec.scale) - mean) / std


@settings(deadline=None, max_examples=150)
@given(SPECS, st.integers(0, 9))
def test_every_value_is_near_the_formula_in_float64(spec, seed):
    pixels = pixels_for(spec, seed)
    values = normalised(pixels, spec)
    for y, x, channel in np.ndindex(*pixels.shape):
        pixel = int(pixels[y, x, 2 - channel if spec.channels == "bgr" else channel])
        exact = (pixel / spec.scale - spec.mean[channel]) / spec.std[channel]
        bound = 4 * EPSILON * (pixel / spec.scale + abs(spec.mean[channel])) / spec.std[channel]
        assert abs(float(at(values, spec, y, x, channel)) - exact) <= bound + 1e-37  # where float32 runs out


def test_without_mean_and_std_a_value_is_the_quotient_rounded_once():
    spec = InputSpec(256, 1)
    ramp = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)
    expected = [np.float32(pixel / 255) for pixel in range(256)]  # float64, then once: exact for so few bits
    assert normalised(ramp, spec)[0, 0].tolist() == expected


def test_vector_23():
    spec = InputSpec(3, 1)
    pixels = np.repeat(np.array([[0, 127, 255]], dtype=np.uint8)[:, :, None], 3, axis=2)
    assert normalised(pixels, spec)[1, 0] == pytest.approx([0, 0.498039216, 1], abs=1e-9 + EPSILON / 4)
    inside = normalised(pixels, replace(spec, mean=(0.45,) * 3, std=(0.225,) * 3))
    assert inside[2, 0] == pytest.approx([-2, 0.213507625, 2.444444444], abs=4 * EPSILON)


@pytest.mark.parametrize(("channels", "place"), [("rgb", 0), ("bgr", 2)])
def test_a_red_picture_is_red(channels, place):
    red = png(np.full((4, 5, 3), [255, 0, 0]))
    values = preprocess(red, InputSpec(3, 2, channels=channels))
    assert [plane.tolist() for plane in values] == [[[float(n == place)] * 3] * 2 for n in range(3)]


@settings(deadline=None, max_examples=60)
@given(SPECS)
def test_bgr_is_rgb_with_the_channels_reversed(spec):
    pixels = pixels_for(spec)
    rgb = replace(spec, channels="rgb", layout="nchw")
    bgr = replace(rgb, channels="bgr", mean=spec.mean[::-1], std=spec.std[::-1])
    np.testing.assert_array_equal(normalised(pixels, bgr), normalised(pixels, rgb)[::-1])


@settings(deadline=None, max_examples=60)
@given(SPECS)
def test_nhwc_is_nchw_transposed(spec):
    pixels = pixels_for(spec)
    chw, hwc = (normalised(pixels, replace(spec, layout=layout)) for layout in ("nchw", "nhwc"))
    np.testing.assert_array_equal(chw.transpose(1, 2, 0), hwc)


@settings(deadline=None, max_examples=60)
@given(SPECS, st.integers(-8, 8))
def test_twice_the_scale_and_half_the_mean_and_std_are_the_same(spec, power):
    pixels = pixels_for(spec)
    spec = replace(spec, scale=1 + spec.scale / 1e6, mean=tuple(m / 1e6 for m in spec.mean), std=(1.0, 0.5, 0.3))
    spec = replace(spec, mean=tuple(m if abs(m) > 1e-3 else 0.0 for m in spec.mean))  # no subnormal numbers
    factor = 2.0**power
    scaled = replace(
        spec,
        scale=spec.scale * factor,
        mean=tuple(m / factor for m in spec.mean),
        std=tuple(s / factor for s in spec.std),
    )
    np.testing.assert_array_equal(normalised(pixels, scaled), normalised(pixels, spec))


def test_the_pixels_stay_as_they_are():
    before = COLOUR.copy()
    normalised(COLOUR, InputSpec(8, 6, mean=(0.5,) * 3))
    np.testing.assert_array_equal(COLOUR, before)


@pytest.mark.parametrize("pixels", [COLOUR.astype(float), COLOUR[:, :, :1], COLOUR[:5], COLOUR.transpose(2, 0, 1)])
def test_pixels_of_another_type_or_shape_are_refused(pixels):
    with pytest.raises(ValueError, match=r"found .*; expected uint8 of shape \(6, 8, 3\)"):
        normalised(pixels, InputSpec(8, 6))


# Decoding and resizing


@settings(deadline=None, max_examples=60)
@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3))),
    st.sampled_from(sorted(FILTERS)),
)
def test_a_picture_of_the_right_size_is_left_as_it_is(pixels, resize):
    spec = InputSpec(pixels.shape[1], pixels.shape[0], resize=resize, channels="bgr")
    np.testing.assert_array_equal(resized(png(pixels), spec), pixels)


@settings(deadline=None, max_examples=40)
@given(st.tuples(*[st.integers(0, 255)] * 3), SPECS)
def test_a_picture_of_one_colour_keeps_it_under_every_filter(colour, spec):
    pixels = resized(png(np.full((7, 9, 3), colour)), spec)
    assert pixels.shape == (spec.height, spec.width, 3)
    assert (pixels == colour).all()


def test_bilinear_widens_with_the_factor_in_each_direction_by_itself():
    tall = RNG.integers(0, 256, (24, 10, 3), dtype=np.uint8)
    found = resized(png(tall), InputSpec(5, 4, resize="bilinear"))
    for channel in range(3):
        rows = [triangle(row, 5) for row in tall[:, :, channel].tolist()]
        columns = [triangle(list(column), 4) for column in zip(*rows, strict=True)]
        np.testing.assert_allclose(found[:, :, channel], np.transpose(columns), atol=1.01)  # two roundings to 8 bits


def test_nearest_takes_the_pixel_under_the_centre():
    found = resized(png(COLOUR), InputSpec(4, 2, resize="nearest"))
    np.testing.assert_array_equal(found, COLOUR[1::3, 1::2])


def test_the_filters_are_different_ones():
    data = png(RNG.integers(0, 256, (48, 64, 3), dtype=np.uint8))
    assert len({resized(data, InputSpec(20, 15, resize=name)).tobytes() for name in FILTERS}) == 4


GREY = RNG.integers(0, 256, (6, 8))
KINDS = {
    "grey": (pngs.encode(GREY, 8), np.dstack([GREY] * 3)),
    "16-bit grey": (pngs.encode(GREY * 256 + 99), np.dstack([GREY] * 3)),
    "alpha": (pngs.encode(np.dstack([COLOUR, GREY]), 8, pngs.RGB_ALPHA), COLOUR),
    "palette": (pngs.encode(GREY % 48, 8, pngs.PALETTE, [pngs.palette(COLOUR.reshape(-1, 3))]), None),
}
KINDS["palette"] = (KINDS["palette"][0], COLOUR.reshape(-1, 3)[GREY % 48])


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_picture_is_worth_its_rgb(kind):
    data, rgb = KINDS[kind]
    for spec in (InputSpec(8, 6), InputSpec(5, 4)):
        np.testing.assert_array_equal(preprocess(data, spec), preprocess(png(rgb), spec))


def test_a_jpeg_is_worth_what_it_decodes_to():
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).resize((40, 30)).save(buffer, "JPEG", quality=90)
    with Image.open(io.BytesIO(buffer.getvalue())) as image:
        decoded = np.asarray(image)
    np.testing.assert_array_equal(
        preprocess(buffer.getvalue(), InputSpec(16, 12)), preprocess(png(decoded), InputSpec(16, 12))
    )


def test_the_exif_orientation_turns_nothing():
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    buffer = io.BytesIO()
    Image.fromarray(COLOUR).save(buffer, "PNG", exif=exif)
    np.testing.assert_array_equal(resized(buffer.getvalue(), InputSpec(8, 6)), COLOUR)


@pytest.mark.parametrize("cut", [0, 20, 60, -30])
def test_a_truncated_picture_is_a_fault_of_the_data(cut):
    with pytest.raises(DataFault) as caught:
        preprocess(png(COLOUR)[:cut], InputSpec(8, 6))
    assert caught.value.status == "unreadable_image"


def test_lack_of_memory_is_no_fault_of_the_picture(monkeypatch):
    def exhausted(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(Image.Image, "resize", exhausted)
    with pytest.raises(OSError, match="out of memory"):
        resized(png(COLOUR), InputSpec(4, 3))


# The same bytes


def test_threads_and_repetition_change_no_bit():
    data = png(RNG.integers(0, 256, (120, 160, 3), dtype=np.uint8))
    spec = InputSpec(64, 48, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), channels="bgr")
    with ThreadPoolExecutor(8) as pool:
        found = {values.tobytes() for values in pool.map(lambda _: preprocess(data, spec), range(32))}
    assert found == {preprocess(data, spec).tobytes()}


def test_the_bytes_are_the_same_for_ever():
    # Bilinear, whose weights need no sine: Pillow adds up in whole numbers, and float32 rounds in one way everywhere.
    y, x = np.mgrid[0:96, 0:128]
    scene = np.dstack([(x * 2 + y) % 256, (x * y // 16) % 256, 255 - (x + y)])
    spec = InputSpec(40, 30, resize="bilinear", mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    digest = hashlib.sha256(preprocess(png(scene), spec).astype("<f4").tobytes()).hexdigest()
    assert digest == "79f028b7eb1c40d26ed42e12cb51a390aec9033059bfda9459e12282a4f53177"
