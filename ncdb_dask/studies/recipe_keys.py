"""The keys of a study's recipe: what each may hold."""

import re
from collections.abc import Mapping
from math import inf

from ncdb_dask.evaluation.blocks import WHOLE
from ncdb_dask.model.values import Reader, Sections, choice, flag, many_texts, many_wholes, number, quoted, text, whole
from ncdb_dask.sampling.request import KEEP, LEAVE_OUT, NEAREST

LARGEST = 1e6
MOST_FRAMES = 10_000_000
MOST_RESAMPLES = 1_000_000
SETS, QUANTIZERS = "sets", "quantizers"
COVERAGE = "coverage"


def whole_or(words: Reader, named: str, low: int, high: int) -> Reader:
    """Return a reader of a whole number, or of what another reader takes; `named` says what that is."""
    one = whole(low, high)

    def read(value: object) -> int | str:
        try:
            found: int | str = words(value) if isinstance(value, str) else one(value)
        except ValueError as error:
            raise ValueError(f"a whole number from {low} to {high}, or {named}") from error
        return found

    return read


def word(value: object) -> str:
    """Read a name that files can have, too."""
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9_-]+", value):
        raise ValueError("a name of letters, digits, - and _")
    return value


def names_of(value: object) -> str | tuple[str, ...]:
    """Read names: a string that holds them with commas between, or a list."""
    if isinstance(value, str) and value:
        return value
    if not isinstance(value, list | tuple) or not value or not all(isinstance(each, str) and each for each in value):
        raise ValueError("a string, or a list of them")
    return tuple(value)


def numbers_of(value: object) -> str | tuple[float, ...]:
    """Read numbers: a string that holds them with commas between, or a list."""
    if isinstance(value, str) and value:
        return value
    fits = isinstance(value, list | tuple) and value and all(type(each) in (int, float) for each in value)
    if not fits or not all(abs(each) <= LARGEST or each == inf for each in value):  # type: ignore[attr-defined]
        raise ValueError(f"a list of numbers, up to {LARGEST:g} or inf")
    return tuple(value)  # type: ignore[arg-type]


def weights_of(value: object) -> object:
    """Read the path of a weight table, or the table itself."""
    if not (isinstance(value, str) and value) and not (isinstance(value, Mapping) and value):
        raise ValueError("the path of a weight table, or a table of weights")
    return value


KEYS: Sections = {
    "network": {"model": text, "model_spec": text, "provider": text, "threads": whole(1, 1024)},
    "data": {
        "scan": text,
        "root": text,
        "allow_root": many_texts,
        "exclude": many_texts,
        "min_gap": whole(0, MOST_FRAMES),
        "min_valid": whole_or(text, 'a share such as "1%"', 0, 2**53),
        "ambiguous": choice(KEEP, LEAVE_OUT),
        "synthetic": choice(KEEP, LEAVE_OUT),
        "beyond": choice(NEAREST, LEAVE_OUT),
    },
    "evaluation": {
        "split": many_texts,
        "protocol": text,
        "variants": many_texts,
        "depth_scale": number(1e-3, LARGEST),
        "stretch": flag,
        "resamples": whole(100, MOST_RESAMPLES),
        "seed": whole(0, 2**63 - 1),
        "block": whole_or(choice(WHOLE), quoted(WHOLE), 1, MOST_FRAMES),
    },
    "npu": {"profile": text},
    "guide": {"before": text, "after": text},
}
# Tables that may be there several times.
MANY: Sections = {
    SETS: {
        "strategy": word,
        "sizes": many_wholes(1, MOST_FRAMES),
        "name": word,
        "seeds": many_wholes(0, 2**63 - 1),
        "candidates": whole(0, MOST_FRAMES),
        "bins": numbers_of,
        "names": names_of,
        "ratios": numbers_of,
        "by": names_of,
        "weights": weights_of,
    },
    QUANTIZERS: {"name": text, "backend": text},
}
STRATEGY_OPTIONS = ("bins", "names", "ratios", "by", "weights")
