"""ONNX Runtime's execution providers: their short names, and whether this machine has one."""

from ncdb_dask.errors import SpecError
from ncdb_dask.model.values import quoted

SUFFIX = "ExecutionProvider"
# Without the suffix, as ONNX Runtime writes them. Another build's are given by their full name.
KNOWN = (
    "CPU",
    "CUDA",
    "Tensorrt",
    "NvTensorRTRTX",
    "OpenVINO",
    "CoreML",
    "Dml",
    "ROCM",
    "MIGraphX",
    "QNN",
    "VitisAI",
    "CANN",
    "Dnnl",
    "Xnnpack",
    "WebGpu",
)
# On PyPI; others are built from source or come with the vendor's tools.
PACKAGES = {
    "CUDAExecutionProvider": "onnxruntime-gpu",
    "TensorrtExecutionProvider": "onnxruntime-gpu",
    "OpenVINOExecutionProvider": "onnxruntime-openvino",
    "CoreMLExecutionProvider": "onnxruntime for macOS",
    "DmlExecutionProvider": "onnxruntime-directml",
    "ROCMExecutionProvider": "onnxruntime-rocm",
    "MIGraphXExecutionProvider": "onnxruntime-migraphx",
    "QNNExecutionProvider": "onnxruntime-qnn",
    "CANNExecutionProvider": "onnxruntime-cann",
}


def full_name(provider: str) -> str:
    """Return ONNX Runtime's name of an execution provider, which this machine need not have.

    Parameters
    ----------
    provider : str
        Such as ``cuda`` or ``CUDAExecutionProvider``, in capitals or not.

    Raises
    ------
    SpecError
        For a short name that is unknown.
    """
    short = provider.lower().removesuffix(SUFFIX.lower())
    for known in KNOWN:
        if short == known.lower():
            return known + SUFFIX
    if short and provider.endswith(SUFFIX):  # of a build that is newer, or somebody's own
        return provider
    raise SpecError(
        f"the execution provider {quoted(provider)} is unknown; expected one of {', '.join(KNOWN).lower()}, "
        f"or a full name such as CUDA{SUFFIX}"
    )


def check_available(provider: str) -> None:
    """Refuse a provider that the ONNX Runtime of this machine was not built with.

    Parameters
    ----------
    provider : str
        Full name.

    Raises
    ------
    SpecError
        Names what there is, and the package that brings the one asked for.
    """
    import onnxruntime

    available = onnxruntime.get_available_providers()
    if provider in available:
        return
    package = PACKAGES.get(provider, "a build of onnxruntime that has it")
    raise SpecError(
        f"onnxruntime {onnxruntime.__version__} on this machine has no {provider} (it has {', '.join(available)}); "
        f"install {package} in its place, or choose another provider"
    )
