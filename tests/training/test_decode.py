"""Decoding in torch against that of calibration and evaluation, which has tests of its own."""

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402
from hypothesis.extra.numpy import arrays  # noqa: E402

from ncdb_dask.errors import TrainingError  # noqa: E402
from ncdb_dask.model.decode import decode  # noqa: E402
from ncdb_dask.model.keys import DECODINGS  # noqa: E402
from ncdb_dask.model.spec import OutputSpec  # noqa: E402
from ncdb_dask.training.decode import FORMULAS, LEAST, decoded  # noqa: E402

UNIT = st.floats(0, 1, width=32)
PARAMETERS = {
    "linear": {"factor": st.floats(-20, 20), "offset": st.floats(-20, 20)},
    "reciprocal": {"factor": st.floats(0.1, 20), "offset": st.floats(0.1, 5), "gain": st.floats(0, 20)},
    "inverse-sigmoid": {"min": st.floats(0.1, 2), "max": st.floats(3, 100)},
    "log-sigmoid": {"min": st.floats(0.1, 2), "max": st.floats(3, 100)},
    "integer-fraction": {"max": st.floats(3, 100)},
}


def test_every_decoding_of_a_model_file_has_a_formula():
    assert {*FORMULAS} == {*DECODINGS} == {*PARAMETERS}


@pytest.mark.parametrize("kind", PARAMETERS)
@given(st.data())
def test_metres_are_those_of_an_evaluation(kind, data):
    number = 2 if kind == "integer-fraction" else 1
    drawn = {name: data.draw(each) for name, each in PARAMETERS[kind].items()}
    spec = OutputSpec(("integer", "fraction")[:number], kind, **drawn)
    shape = data.draw(st.sampled_from([(2, 3, 4), (2, 1, 3, 4), (2, 3, 4, 1)]))
    outputs = [data.draw(arrays(np.float32, shape, elements=UNIT)) for _ in range(number)]
    found = decoded([torch.from_numpy(output) for output in outputs], spec)
    assert found.shape == (2, 1, 3, 4)
    assert found.dtype == torch.float32
    for place, depth in enumerate(found):
        expected = decode([output[place] for output in outputs], spec)
        np.testing.assert_allclose(depth[0].numpy(), np.maximum(expected, LEAST), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", PARAMETERS)
def test_depth_can_be_learned_through_every_decoding(kind):
    spec = OutputSpec(decode=kind, min=0.5, max=20.0, offset=1.0)
    outputs = [torch.full((1, 1, 2, 2), 0.5, requires_grad=True) for _ in range(2 if kind == "integer-fraction" else 1)]
    decoded(outputs, spec).sum().backward()
    assert all((output.grad != 0).all() for output in outputs)


def test_half_precision_is_decoded_in_single_precision():
    found = decoded([torch.tensor([[[0.1]]], dtype=torch.float16)], OutputSpec(factor=1.0, offset=1000.0))
    assert found.dtype == torch.float32
    assert found.item() == pytest.approx(1000.1, abs=1e-3)


@pytest.mark.parametrize(("kind", "number"), [("linear", 2), ("linear", 0), ("integer-fraction", 1)])
def test_another_number_of_outputs(kind, number):
    with pytest.raises(TrainingError, match=f"returns {number} outputs; decode = '{kind}' takes"):
        decoded([torch.ones(1, 2, 2)] * number, OutputSpec(decode=kind, max=10.0))


@pytest.mark.parametrize("shape", [(2, 3, 4, 4), (4,), (1, 1, 1, 4, 4), (4, 4)])
def test_an_output_that_is_no_map(shape):
    with pytest.raises(TrainingError, match="expected one map a picture"):
        decoded([torch.ones(shape)], OutputSpec())
