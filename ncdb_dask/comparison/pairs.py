"""Evaluations that can be set beside each other, and their frames in pairs."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from ncdb_dask.errors import EvaluationError
from ncdb_dask.evaluation import table
from ncdb_dask.evaluation.metrics import METRICS
from ncdb_dask.evaluation.protocol import FIELDS
from ncdb_dask.evaluation.schema import RANGES, SCAN_GROUPS, of_range
from ncdb_dask.sampling.neighbours import frame_numbers
from ncdb_dask.store.folder import Folder

if TYPE_CHECKING:
    import pandas as pd

Values = npt.NDArray[np.float64]

KEY = ["dataset_root", "filename"]
RECORDING = "dataset_root"
GROUPS = (*SCAN_GROUPS, "depth_variant")
FIGURES = (*METRICS, *(of_range(metric, name) for name in RANGES.names for metric in METRICS))
TRUTH = ("valid_pixels", *(of_range("valid_pixels", name) for name in RANGES.names))
NO_DEPTH = ("nan_pixels", "infinite_pixels", "nonpositive_pixels")
EXAMPLES = 3


@dataclass(frozen=True)
class Evaluated:
    """A finished evaluation.

    Attributes
    ----------
    label : str
        What it is called.
    place : str
        Its folder.
    settings, inputs : mapping
        Of its plan.
    rows : DataFrame
        A row a frame, in the order of recordings and of frames within them.
    """

    label: str
    place: str
    settings: Mapping[str, Any]
    inputs: Mapping[str, str]
    rows: "pd.DataFrame"

    @classmethod
    def read(cls, folder: Folder, label: str) -> "Evaluated":
        """Read a finished evaluation.

        Raises
        ------
        PlanError
            Where the folder holds none.
        """
        plan = table.published(folder).plan
        rows = table.read_table(folder, [*KEY, "status", *GROUPS, *TRUTH, *NO_DEPTH, *FIGURES])
        numbers = frame_numbers(rows["filename"].fillna(""))
        rows = rows.assign(number=numbers).sort_values([RECORDING, "number", "filename"], kind="stable")
        return cls(label, folder.url, plan.settings, plan.inputs, rows.reset_index(drop=True))

    @property
    def measured(self) -> "pd.DataFrame":
        """The rows of status ``ok``."""
        return self.rows[self.rows["status"] == "ok"]

    @property
    def abs_rel(self) -> float:
        """Mean over its own frames; NaN where it has none."""
        return float(_numbers(self.measured, ["abs_rel"]).mean()) if len(self.measured) else float("nan")

    def predictor(self) -> str:
        """Say in a few words what predicted."""
        made = self.settings.get("predictor", {})
        where = made.get("model") or made.get("folder") or "unknown"
        return f"{made.get('kind', 'unknown')} {where}"

    def rules(self) -> dict[str, Any]:
        """Return what must be the same for figures to be comparable; the name of a protocol is no rule."""
        protocol = self.settings["protocol"]
        return {"depth_scale": self.settings.get("depth_scale"), **{name: protocol.get(name) for name in FIELDS}}


@dataclass(frozen=True)
class Pairs:
    """Frames that two evaluations measured against the same truth.

    Attributes
    ----------
    frames : DataFrame
        `KEY` and `GROUPS` of each frame; n rows.
    baseline, other : ndarray of float64, shape (n, len(FIGURES))
        NaN for a depth range without pixels.
    pixels : ndarray of float64, shape (n, len(TRUTH))
        Of the truth: all, and by depth range.
    only_baseline, only_other : Missing
        Frames that one of them measured alone.
    """

    frames: "pd.DataFrame"
    baseline: Values
    other: Values
    pixels: Values
    only_baseline: "Missing"
    only_other: "Missing"

    @classmethod
    def of(cls, baseline: Evaluated, other: Evaluated) -> "Pairs":
        """Pair frames by key.

        Raises
        ------
        EvaluationError
            Other rules, no common frame, or another truth.
        """
        import pandas as pd

        check_alike(baseline, other)
        left, right = baseline.measured, other.measured
        keys, others = (pd.MultiIndex.from_frame(rows[KEY]) for rows in (left, right))
        place = others.get_indexer(keys)
        found = place >= 0
        if not found.any():
            counts = f"{len(left)} and {len(right)} frames"
            raise EvaluationError(
                f"{baseline.label} and {other.label} measured {counts}, none of them in both; "
                "evaluate both over the same split"
            )
        left_only, right_only = left[~found], right[~others.isin(keys)]
        left, right = left[found], right.iloc[place[found]]
        _check_truth(baseline, other, left, right)
        groups, more = (rows[list(GROUPS)].reset_index(drop=True) for rows in (left, right))
        return cls(
            pd.concat([left[KEY].reset_index(drop=True), groups.where(groups.notna(), more)], axis=1),
            _numbers(left, FIGURES),
            _numbers(right, FIGURES),
            _numbers(left, TRUTH),
            Missing.of(left_only, other),
            Missing.of(right_only, baseline),
        )

    def differences(self, metric: str = "abs_rel") -> Values:
        """Return other minus baseline of each frame, shape (n,)."""
        column = FIGURES.index(metric)
        return self.other[:, column] - self.baseline[:, column]


@dataclass(frozen=True, slots=True)
class Missing:
    """Frames that one evaluation measured and the other one did not.

    Attributes
    ----------
    frames : int
        How many.
    examples : tuple of str
        The first of them.
    reasons : mapping of str to int
        Their status in the other evaluation; ``absent`` where it has no such row.
    """

    frames: int
    examples: tuple[str, ...]
    reasons: Mapping[str, int]

    @classmethod
    def of(cls, rows: "pd.DataFrame", other: Evaluated) -> "Missing":
        """Look up what the other evaluation says of frames that it did not measure."""
        named = other.rows.dropna(subset=KEY).drop_duplicates(KEY)
        statuses = rows[KEY].merge(named[[*KEY, "status"]], on=KEY, how="left")["status"].fillna("absent")
        names = tuple(f"{root}/{stem}" for root, stem in rows[KEY].head(EXAMPLES).itertuples(index=False))
        return cls(len(rows), names, dict(Counter(statuses.tolist()).most_common()))

    def text(self, holder: str, other: str) -> str:
        """Say it in a sentence."""
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.reasons.items())
        more = ", ..." if self.frames > len(self.examples) else ""
        verb = "is" if self.frames == 1 else "are"
        what = f"{self.frames} frame{'s' * (self.frames != 1)} only in {holder} {verb} not compared"
        return f"{what} ({', '.join(self.examples)}{more}; in {other}: {reasons})"


def check_alike(baseline: Evaluated, other: Evaluated) -> None:
    """Refuse evaluations whose figures are not of the same kind.

    Raises
    ------
    EvaluationError
        Names each rule that differs, with both values.
    """
    first, second = baseline.rules(), other.rules()
    differing = [f"{name} {first[name]!r} and {second[name]!r}" for name in first if first[name] != second[name]]
    if differing:
        raise EvaluationError(
            f"{baseline.label} and {other.label} were evaluated with different rules ({'; '.join(differing)}); "
            "evaluate one of them again with those of the other"
        )


def _check_truth(baseline: Evaluated, other: Evaluated, left: "pd.DataFrame", right: "pd.DataFrame") -> None:
    one, two = (rows["depth_variant"].to_numpy(dtype=object) for rows in (left, right))
    if (one != two).any():
        row = int(np.flatnonzero(one != two)[0])
        raise EvaluationError(
            f"{'/'.join(left[KEY].iloc[row])}: its depth is that of {one[row]} in {baseline.label} and of {two[row]} "
            f"in {other.label}; evaluate both with the same --variants"
        )
    first, second = _numbers(left, TRUTH), _numbers(right, TRUTH)
    differs = first != second
    if not differs.any():
        return
    row, column = (int(place) for place in np.argwhere(differs)[0])
    name = "/".join(left[KEY].iloc[row])
    counts = f"{first[row, column]:.0f} in {baseline.label} and {second[row, column]:.0f} in {other.label}"
    raise EvaluationError(
        f"{name}: {TRUTH[column]} is {counts}, so the two had another truth "
        f"({int(differs.any(axis=1).sum())} of {len(left)} frames); evaluate both on the same depth maps"
    )


def _numbers(rows: "pd.DataFrame", columns: Sequence[str]) -> Values:
    # Counts are nullable integers, and a null is no number to NumPy.
    return np.stack([rows[name].to_numpy(dtype=np.float64, na_value=np.nan) for name in columns], axis=1)


def no_depth(evaluated: Evaluated) -> tuple[int, int]:
    """Return how many predicted pixels were no depth, and in how many frames."""
    bad = _numbers(evaluated.measured, NO_DEPTH).sum(axis=1)
    return int(bad.sum()), int((bad > 0).sum())
