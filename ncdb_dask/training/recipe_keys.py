"""The keys of a recipe: what each may hold."""

from collections.abc import Mapping

from ncdb_dask.model.values import Reader, Sections, choice, number, text, whole

LARGEST = 1e6
PENALTIES = ("none", "channel-mean", "channel-range", "branch-range")


def flag(value: object) -> bool:
    """Read true or false."""
    if not isinstance(value, bool):
        raise ValueError("true or false")
    return value


def many_texts(value: object) -> tuple[str, ...]:
    """Read a string, or a list of at least one."""
    names = list(value) if isinstance(value, list | tuple) else [value]
    found = tuple(name for name in names if isinstance(name, str) and name)
    if not found or len(found) < len(names):
        raise ValueError("a string, or a list of them")
    return found


def many_numbers(low: float, high: float) -> Reader:
    """Return a reader of a number that is not negative, or a list of different ones."""
    one = number(low, high)

    def read(value: object) -> tuple[float, ...]:
        values = list(value) if isinstance(value, list | tuple) else [value]
        try:
            found = tuple(map(one, values))
        except ValueError as error:
            raise ValueError(f"{error}, or a list of them") from error
        # Six digits, because folders are named by them.
        if not found or len({f"{abs(one):g}" for one in found}) < len(found):
            raise ValueError("at least one number, each once (to six digits)")
        return found

    return read


def table(value: object) -> Mapping[str, object]:
    """Read a table, whatever it holds."""
    if not isinstance(value, Mapping):
        raise ValueError("a table such as { name = 1 }")
    return dict(value)


KEYS: Sections = {
    "network": {
        "factory": text,
        "arguments": table,
        "checkpoint": text,
        "prefix": text,
        "trust_checkpoint": flag,
        "output": many_texts,
        "model_spec": text,
    },
    "data": {
        "root": text,
        "allow_root": many_texts,
        "train": many_texts,
        "validation": many_texts,
        "variants": many_texts,
        "depth_scale": number(1e-3, LARGEST),
        "stretch": flag,
        "batch_size": whole(1, 4096),
        "workers": whole(0, 1024),
        "flip": flag,
    },
    "loss": {"kind": choice("silog", "l1", "berhu"), "smoothness": number(0, LARGEST)},
    "penalty": {
        "kind": choice(*PENALTIES),
        "lambda": many_numbers(0, LARGEST),
        "include": many_texts,
        "exclude": many_texts,
        "report": text,
    },
    "training": {
        "epochs": whole(1, 100_000),
        "learning_rate": number(0, LARGEST),
        "weight_decay": number(0, LARGEST),
        "schedule": choice("constant", "cosine"),
        "clip_norm": number(0, LARGEST),
        "patience": whole(0, 100_000),
        "freeze_batch_norm": flag,
        "seed": whole(0, 2**63 - 1),
        "device": text,
        "amp": flag,
    },
    "export": {"opset": whole(18, 24), "dynamic": flag},
    "quantization": {
        "split": many_texts,
        "size": whole(1, 100_000),
        "backend": text,
        "skip_bad": flag,
        "options": table,
    },
    "evaluation": {"split": many_texts, "resamples": whole(100, 1_000_000)},
}
