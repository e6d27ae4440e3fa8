"""What a study can say of its sets: by seeds together, because one draw more or less is chance."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import sqrt
from typing import Any

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.pairs import Evaluated
from ncdb_dask.evaluation.bootstrap import LEVEL, student


@dataclass(frozen=True)
class Group:
    """The sets of one kind and size in one way to quantize, over all seeds.

    Attributes
    ----------
    name : str
        Of the kind.
    size : int
        Frames of a set.
    quantizer : str
        What the way is called.
    abs_rel : float
        The mean over seeds.
    draws : tuple of float
        That of each seed.
    fixed : bool
        Whether the strategy draws nothing, so that there is no other draw.
    allowed : bool or None
        Whether the NPU can run it; None where that is not known.
    against_fp32 : Figure or None
        The difference to FP32: of each frame the mean over seeds, then paired.
    evaluated : Evaluated or None
        The mean over seeds, frame by frame.
    """

    name: str
    size: int
    quantizer: str
    abs_rel: float
    draws: tuple[float, ...]
    fixed: bool = False
    allowed: bool | None = None
    against_fp32: Figure | None = None
    evaluated: Evaluated | None = field(default=None, repr=False, compare=False)

    @property
    def set(self) -> str:
        """The kind with its size, such as ``random 100``."""
        return f"{self.name} {self.size}"

    @property
    def label(self) -> str:
        """What it is called."""
        return f"{self.set}, {self.quantizer}"

    @property
    def seeds(self) -> int:
        """How many draws there are."""
        return len(self.draws)

    @property
    def spread(self) -> float:
        """From the least to the greatest of its draws."""
        return max(self.draws) - min(self.draws)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        names = ("name", "size", "quantizer", "abs_rel", "draws", "fixed", "allowed")
        against = None if self.against_fp32 is None else self.against_fp32.as_dict()
        return {**{name: getattr(self, name) for name in names}, "against_fp32": against}


# (baseline, other, how many such figures are asked at once) -> their paired difference.
Beside = Callable[[Group, Group, int], Figure]


def is_better(figure: Figure) -> bool:
    """Whether the other one is visibly better, in a metric of which less is better."""
    return figure.seen and figure.difference < 0


def is_worse(figure: Figure) -> bool:
    """Whether the other one is visibly worse, in a metric of which less is better."""
    return figure.seen and figure.difference > 0


def is_known(figure: Figure | None) -> bool:
    """Whether a difference has an interval: without one, nothing is known of it."""
    return figure is not None and figure.low is not None


BETTER, WORSE = "better", "worse"


@dataclass(frozen=True)
class Comparer:
    """Tells groups from each other: by their frames and beyond what another draw of the sets would change.

    Intervals tell how far a difference would move with other frames to judge on. How far it would move with other draws
    of the sets is told by their seeds: by Student's t with the variance over seeds, pooled over all sets of a way to
    quantize. Where no set was drawn twice, nothing is known of it, and the intervals alone decide.

    Attributes
    ----------
    beside : callable
        Compares two groups by their frames.
    variances : mapping of str to (float, int)
        Way to quantize -> the variance of abs_rel over draws, and its degrees of freedom.
    """

    beside: Beside
    variances: Mapping[str, tuple[float, int]]

    @classmethod
    def of(cls, groups: Iterable[Group], beside: Beside) -> "Comparer":
        """Pool the draws of all groups."""
        sums = dict[str, tuple[float, int]]()
        for group in groups:
            total, freedom = sums.get(group.quantizer, (0.0, 0))
            mean = sum(group.draws) / group.seeds
            total += sum((value - mean) ** 2 for value in group.draws)
            sums[group.quantizer] = total, freedom + group.seeds - 1
        return cls(beside, {name: (total / freedom, freedom) for name, (total, freedom) in sums.items() if freedom})

    def better(self, baseline: Group, other: Group, asked: int) -> Figure | None:
        """Return the difference where the other group is visibly better; `asked` such questions hold together."""
        figure, word = self.change(baseline, other, asked)
        return figure if word == BETTER else None

    def change(self, baseline: Group, other: Group, asked: int) -> tuple[Figure, str]:
        """Return the difference, and ``better`` or ``worse`` where the other group visibly is."""
        figure = self.beside(baseline, other, asked)
        word = BETTER if is_better(figure) else WORSE if is_worse(figure) else ""
        return figure, word if word and self._apart(baseline, other, asked) else ""

    def _apart(self, one: Group, other: Group, asked: int) -> bool:
        known = [
            (group, *self.variances[group.quantizer]) for group in (one, other) if group.quantizer in self.variances
        ]
        variance = sum(variance / group.seeds for group, variance, _ in known if not group.fixed)
        if not variance:
            return True
        freedom = min(freedom for *_, freedom in known)
        return abs(one.abs_rel - other.abs_rel) > student(1 - (1 - LEVEL) / 2 / max(1, asked), freedom) * sqrt(variance)


@dataclass(frozen=True)
class Curve:
    """One kind of sets in one way to quantize, by size.

    Attributes
    ----------
    groups : tuple of Group
        By rising size.
    enough : int or None
        The smallest size that no larger one is visibly better than; None where intervals are missing.
    more : tuple of (Group, Figure)
        Each size below `enough`, and what the first one that is visibly better gains.
    harm : tuple of (Group, Figure)
        Each size above `enough` that is visibly worse than it, and by how much.
    """

    groups: tuple[Group, ...]
    enough: int | None
    more: tuple[tuple[Group, Figure], ...] = ()
    harm: tuple[tuple[Group, Figure], ...] = ()

    @classmethod
    def of(cls, groups: Iterable[Group], comparer: Comparer) -> "Curve":
        """Find the size that no larger one is visibly better than; all pairs of sizes hold together (Bonferroni)."""
        ordered = tuple(sorted(groups, key=lambda group: group.size))
        pairs = len(ordered) * (len(ordered) - 1) // 2
        more = list[tuple[Group, Figure]]()
        for place, group in enumerate(ordered):
            found = [(larger, *comparer.change(group, larger, pairs)) for larger in ordered[place + 1 :]]
            if not all(is_known(figure) for _, figure, _ in found):
                return cls(ordered, None)
            better = next((figure for _, figure, word in found if word == BETTER), None)
            if better is None:
                harm = tuple((larger, figure) for larger, figure, word in found if word == WORSE)
                return cls(ordered, group.size, tuple(more), harm)
            more.append((group, better))
        raise AssertionError("no size is larger than the largest")

    @property
    def name(self) -> str:
        """The kind of the sets."""
        return self.groups[0].name

    @property
    def quantizer(self) -> str:
        """What the way to quantize is called."""
        return self.groups[0].quantizer

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sizes that were tried."""
        return tuple(group.size for group in self.groups)


def curves(groups: Sequence[Group], comparer: Comparer) -> tuple[Curve, ...]:
    """Return the curve of each kind in each way, in the order of the groups."""
    kinds = dict[tuple[str, str], list[Group]]()
    for group in groups:
        kinds.setdefault((group.quantizer, group.name), []).append(group)
    return tuple(Curve.of(kind, comparer) for kind in kinds.values())


@dataclass(frozen=True)
class Choice:
    """What to take.

    Attributes
    ----------
    best : Group
        Of least abs_rel, of those that the NPU can run.
    chosen : Group
        The smallest of those that cannot be told from it; of equal ones, the best. The best itself where intervals are
        missing: what is not known is no equality.
    worse : tuple of Group
        Those of the best's way to quantize that are visibly worse.
    same_way : tuple of Group
        All of the best's way to quantize.
    known : bool
        Whether all differences to the best, and its own to FP32, have intervals.
    """

    best: Group
    chosen: Group
    worse: tuple[Group, ...]
    same_way: tuple[Group, ...]
    known: bool = True

    @classmethod
    def of(cls, groups: Sequence[Group], comparer: Comparer) -> "Choice":
        """Choose among groups, at least one; all comparisons with the best hold together (Bonferroni)."""
        best = min(groups, key=lambda group: (group.abs_rel, group.size))
        others = [group for group in groups if group is not best]
        found = [(group, *comparer.change(best, group, len(others))) for group in others]
        worse = [group for group, _, word in found if word == WORSE]
        known = is_known(best.against_fp32) and all(is_known(figure) for _, figure, _ in found)
        alike = [best, *(group for group, _, word in found if word != WORSE)]
        chosen = min(alike, key=lambda group: (group.size, group.abs_rel)) if known else best
        same = tuple(group for group in groups if group.quantizer == best.quantizer)
        return cls(best, chosen, tuple(group for group in same if group in worse), same, known)


def runnable(groups: Sequence[Group], profile: str) -> list[Group]:
    """Return the groups that the NPU can run; all where none is named."""
    return [group for group in groups if group.allowed or not profile]


EFFECTS: Mapping[str, str] = {
    "seed": "another seed of the draw",
    "strategy": "another strategy, at the same size",
    "size": "another size, by the same strategy",
    "quantizer": "another way to quantize, with the same set",
}


def effects(groups: Sequence[Group]) -> dict[str, float | None]:
    """Return by how much each choice moves abs_rel at most, all others alike; None where nothing varies."""
    seeds = [group.spread for group in groups if group.seeds > 1]
    return {
        "seed": max(seeds, default=None),
        "strategy": _most(groups, lambda group: (group.size, group.quantizer)),
        "size": _most(groups, lambda group: (group.name, group.quantizer)),
        "quantizer": _most(groups, lambda group: (group.name, group.size)),
    }


def _most(groups: Sequence[Group], alike: Callable[[Group], tuple[Any, ...]]) -> float | None:
    parts = dict[tuple[Any, ...], list[float]]()
    for group in groups:
        parts.setdefault(alike(group), []).append(group.abs_rel)
    return max((max(values) - min(values) for values in parts.values() if len(values) > 1), default=None)
