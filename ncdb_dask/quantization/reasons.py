"""Why a node lets no scale through, in words."""

CURVED = "f(s x) is not s f(x)"
MET = "what meets there does not have the same channels, or has no scale"
NORMALISED = "it takes any scale out again"
MIXED = "channels cannot be followed through it"
WEIGHTS = "its weights are computed, or what it takes has its channels on another axis"
RESIZED = "it resizes the channels too, or fills with a value that would have to be scaled"
ACROSS = "it works across the channels"
PADDED = "it pads the channels too, or with a value that would have to be scaled"
FIXED = "it must stay as it is"
UNKNOWN = "no rule says how a scale passes it"
_REASONS = {
    **dict.fromkeys(
        (
            *(
                "Clip",
                "Elu",
                "Selu",
                "Celu",
                "Gelu",
                "Sigmoid",
                "HardSigmoid",
                "HardSwish",
                "Mish",
                "Softplus",
                "Softsign",
            ),
            *("Softmax", "LogSoftmax", "Tanh", "Erf", "Exp", "Log", "Pow", "Sqrt", "Reciprocal"),
        ),
        CURVED,
    ),
    **dict.fromkeys(("Add", "Sub", "Sum", "Mean", "Max", "Min", "Concat", "Where"), MET),
    **dict.fromkeys(("Conv", "ConvTranspose"), WEIGHTS),
    **dict.fromkeys(("Resize", "Upsample"), RESIZED),
    **dict.fromkeys(
        (
            *("MaxPool", "AveragePool", "LpPool", "GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"),
            *("ReduceMax", "ReduceMin", "ReduceMean", "ReduceSum", "ReduceL1", "ReduceL2"),
        ),
        ACROSS,
    ),
    "Pad": PADDED,
    **dict.fromkeys(("Mul", "Div", "MatMul", "Gemm"), "it multiplies what would be scaled on both sides"),
    **dict.fromkeys(
        ("LayerNormalization", "InstanceNormalization", "GroupNormalization", "BatchNormalization", "LpNormalization"),
        NORMALISED,
    ),
    **dict.fromkeys(
        (
            "Reshape",
            "Flatten",
            "Transpose",
            "Squeeze",
            "Unsqueeze",
            "Slice",
            "Split",
            "Gather",
            "DepthToSpace",
            "SpaceToDepth",
        ),
        MIXED,
    ),
}


def why_held(holder: str) -> str:
    """Return why channels are held.

    Parameters
    ----------
    holder : str
        As `ncdb_dask.model.channels.Channels.reason` returns it: kind and name of a node, or what of the network it is.
    """
    return FIXED if holder.startswith("the network") else _REASONS.get(holder.partition(" ")[0], UNKNOWN)
