"""The sections of a recipe, with their defaults; docs/reference/recipe.md explains every key."""

from collections.abc import Mapping
from dataclasses import dataclass, field

OWN, SHIPPED, RANDOM = "ncdb_dask.training.network:resnet_unet", "shipped", "random"


@dataclass(frozen=True, slots=True)
class NetworkRecipe:
    """What is trained.

    Attributes
    ----------
    factory : str
        ``package.module:function``, which returns a ``torch.nn.Module``.
    arguments : mapping
        Keyword arguments of the factory.
    checkpoint : str
        Path of its weights; ``shipped`` for those of this package, ``random`` for what the factory returns.
    prefix : str
        In front of the names in the checkpoint, to be taken off; names without it are not the network's.
    trust_checkpoint : bool
        Whether a checkpoint may hold more than tensors: reading it then runs whatever code it brings along.
    output : tuple of str
        Where in what the network returns its outputs are, such as ``inv_depths.0``; empty for a network that returns
        a tensor, or a list or tuple whose first one counts.
    model_spec : str
        Path of the model file; ``shipped`` for that of this package's network.
    """

    factory: str = OWN
    arguments: Mapping[str, object] = field(default_factory=dict)
    checkpoint: str = SHIPPED
    prefix: str = ""
    trust_checkpoint: bool = False
    output: tuple[str, ...] = ()
    model_spec: str = SHIPPED


@dataclass(frozen=True, slots=True)
class DataRecipe:
    """What it is trained with.

    Attributes
    ----------
    root : str
        The data set.
    allow_root : tuple of str
        Further folders in which frames may lie.
    train, validation : tuple of str
        Split files, looked for beside the recipe and then under `root`.
    variants : tuple of str
        Depth folders in the order in which they are tried; empty for the usual ones.
    depth_scale : float or None
        Raw units a metre; None for 256, and 16-bit maps only.
    stretch : bool
        Whether picture and depth may differ in aspect.
    batch_size : int
        Pictures a step.
    workers : int
        Processes that read pictures; 0 reads in the training's own.
    flip : bool
        Whether half of the pictures, drawn anew each epoch, are mirrored.
    """

    root: str = ""
    allow_root: tuple[str, ...] = ()
    train: tuple[str, ...] = ("train_split.json",)
    validation: tuple[str, ...] = ("val_split.json",)
    variants: tuple[str, ...] = ()
    depth_scale: float | None = None
    stretch: bool = False
    batch_size: int = 8
    workers: int = 2
    flip: bool = False


@dataclass(frozen=True, slots=True)
class LossRecipe:
    """What a prediction costs: ``silog``, ``l1`` or ``berhu``, and the weight of edge-aware smoothness."""

    kind: str = "silog"
    smoothness: float = 0.0


@dataclass(frozen=True, slots=True)
class PenaltyRecipe:
    """What weights cost.

    Attributes
    ----------
    kind : str
        ``channel-mean`` is the guide's; ``channel-range``, ``branch-range``, ``none``.
    lambdas : tuple of float
        Its factors; the network is trained once for each, always from the same beginning.
    include, exclude : tuple of str
        Patterns of names: of parameters for ``channel-mean``, of layers for ``channel-range``.
    report : str
        For ``branch-range``: the report of a quantization, which tells what equalization could not balance.
    """

    kind: str = "channel-mean"
    lambdas: tuple[float, ...] = (1e-8,)
    include: tuple[str, ...] = ("*",)
    exclude: tuple[str, ...] = ()
    report: str = ""


@dataclass(frozen=True, slots=True)
class TrainingRecipe:
    """How it is trained, with AdamW.

    Attributes
    ----------
    epochs : int
        At most.
    learning_rate, weight_decay : float
        Of AdamW.
    schedule : str
        ``constant``, or ``cosine`` from `learning_rate` to 0.
    clip_norm : float
        Largest norm of all gradients together; 0 for no limit.
    patience : int
        Epochs without a better validation abs_rel after which it ends; 0 for never.
    freeze_batch_norm : bool
        Whether BatchNorm keeps its means and variances: those of small batches would be worse.
    seed : int
        Of order, mirroring and dropout.
    device : str
        ``auto`` takes CUDA where there is any; ``cpu``, ``cuda``, ``cuda:1``.
    amp : bool
        Whether CUDA computes in half precision where that is safe.
    """

    epochs: int = 5
    learning_rate: float = 1e-6
    weight_decay: float = 0.01
    schedule: str = "constant"
    clip_norm: float = 1.0
    patience: int = 3
    freeze_batch_norm: bool = True
    seed: int = 42
    device: str = "auto"
    amp: bool = True


@dataclass(frozen=True, slots=True)
class ExportRecipe:
    """The ONNX file: its opset, and whether batch, height and width are left open."""

    opset: int = 18
    dynamic: bool = False


@dataclass(frozen=True, slots=True)
class QuantizationRecipe:
    """The INT8 networks.

    Attributes
    ----------
    split : tuple of str
        The calibration set; empty for `size` frames drawn from the training split.
    size : int
        Of a drawn set; the guide begins with 100 random frames.
    backend : str
        A backend whose networks ONNX Runtime runs.
    skip_bad : bool
        Whether frames that cannot be read are left out; of a drawn set they are.
    options : mapping
        Of the backend, as keywords of ``ncdb_dask.quantize``.
    """

    split: tuple[str, ...] = ()
    size: int = 100
    backend: str = "onnxruntime"
    skip_bad: bool = False
    options: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EvaluationRecipe:
    """The table at the end: its frames, those of validation if empty, and how often they are drawn for intervals."""

    split: tuple[str, ...] = ()
    resamples: int = 10_000
