"""The guide's table: a smaller random set before, a larger stratified one after, with its verdicts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ncdb_dask.comparison.figures import Figure
from ncdb_dask.comparison.request import CompareRequest
from ncdb_dask.studies.groups import Comparer, Group

BEFORE, AFTER = "random 100", "stratified 300"
# What the guide expects of 300 stratified frames in place of 100 random ones. Nobody has measured it: the repository
# that the guide comes from records 0.1139 after, where it had 0.1133 before.
PREDICTED = 0.085


@dataclass(frozen=True)
class BeforeAfter:
    """Both sets in one way to quantize, and whether the later one is visibly ``better`` or ``worse``."""

    before: Group
    after: Group
    difference: Figure
    change: str

    @property
    def verdicts(self) -> tuple[str, str]:
        """What the guide says of both."""
        judge = CompareRequest().verdict
        return judge(self.before.abs_rel), judge(self.after.abs_rel)

    def as_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        before, after = self.verdicts
        return {
            "quantizer": self.before.quantizer,
            "before": {"set": self.before.set, "abs_rel": self.before.abs_rel, "verdict": before},
            "after": {"set": self.after.set, "abs_rel": self.after.abs_rel, "verdict": after},
            "difference": self.difference.as_dict(),
            "change": self.change,
        }


def before_after(groups: Sequence[Group], before: str, after: str, comparer: Comparer) -> tuple[BeforeAfter, ...]:
    """Return the table: a row each way to quantize in which both sets are there."""
    found = {(group.set, group.quantizer): group for group in groups}
    ways = [
        way for way in dict.fromkeys(group.quantizer for group in groups) if {(before, way), (after, way)} <= {*found}
    ]
    pairs = [(found[before, way], found[after, way]) for way in ways]
    return tuple(BeforeAfter(one, other, *comparer.change(one, other, len(pairs))) for one, other in pairs)
