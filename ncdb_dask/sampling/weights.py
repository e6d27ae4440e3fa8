"""The weight table of the balanced strategy, from TOML, CSV or a mapping."""

import csv
import io
import os
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ncdb_dask.errors import SampleError
from ncdb_dask.sampling.strata import DEPTH_RANGE, MAX_CELLS, Cell, DepthBins, as_written, cell_name
from ncdb_dask.scanning.schema import SCENE_TYPES

WEIGHT = "weight"
# Values that are right although no frame of this data set has them.
VOCABULARY = {"scene_type": [name for name, _ in SCENE_TYPES], "lighting": ["day", "dusk", "night"]}


@dataclass(frozen=True)
class WeightTable:
    """How much of the set each cell is to have.

    Attributes
    ----------
    name : str
        The file, for messages.
    columns : tuple of str
        What the cells cross.
    weights : mapping of cell to Fraction
        Relative: they need not sum to 1. A cell of weight 0 gives no frames.
    """

    name: str
    columns: Cell
    weights: Mapping[Cell, Fraction]

    def check_cells(self, cells: Sequence[Cell], counts: Sequence[int]) -> None:
        """Check that every cell that holds frames has a weight, and that no weight is for a value that does not exist.

        Raises
        ------
        SampleError
            Where the table misses a cell, or names a value that is neither the scan's vocabulary nor any frame's.
        """
        for place, column in enumerate(self.columns):
            known = {*VOCABULARY.get(column, ()), *(cell[place] for cell in cells)}
            for cell, weight in self.weights.items():
                if weight and column != DEPTH_RANGE and cell[place] not in known:
                    raise SampleError(
                        f"{self.name}: names the {column} {cell[place]!r}, which no frame has; "
                        f"expected {', '.join(sorted(known))}"
                    )
        missing = [(cell, count) for cell, count in zip(cells, counts, strict=True) if cell not in self.weights]
        if missing:
            cell, count = missing[0]
            more = f" (and {len(missing) - 1} cells more)" if len(missing) > 1 else ""
            raise SampleError(
                f"{self.name}: has no weight for {cell_name(cell)}, which holds {count} frames{more}; "
                "add it, 0 to take none of them"
            )


def read_weights(
    given: str | os.PathLike[str] | Mapping[Any, Any], columns: Sequence[str], bins: DepthBins
) -> WeightTable:
    """Read a weight table.

    Parameters
    ----------
    given : path or mapping
        A TOML file of nested tables (``[near]``, then ``indoor = 0.2``), a CSV file with a column for each of
        `columns` and one named ``weight``, or a mapping nested as in TOML.
    columns : sequence of str
        What the cells cross, in the order of the nesting.
    bins : DepthBins
        Whose names the depth ranges must have.

    Raises
    ------
    SampleError
        A file that cannot be read, a weight that is no number from 0 on, an unknown depth range.
    """
    if isinstance(given, Mapping):
        name, pairs = "weights", list(_nested("weights", given, len(columns)))
    else:
        name = os.fspath(given)
        text = _read(name)
        pairs = list(_from_csv(name, text, columns) if name.endswith(".csv") else _from_toml(name, text, len(columns)))
    weights: dict[Cell, Fraction] = {}
    for cell, value in pairs:
        if cell in weights:
            raise SampleError(f"{name}: gives the weight of {cell_name(cell)} twice")
        weights[cell] = _weight(name, cell, value)
        if DEPTH_RANGE in columns and (found := cell[list(columns).index(DEPTH_RANGE)]) not in bins.names:
            raise SampleError(f"{name}: names the depth range {found!r}; expected one of {', '.join(bins.names)}")
    if len(weights) > MAX_CELLS:
        raise SampleError(f"{name}: has {len(weights)} cells; expected at most {MAX_CELLS}")
    if not any(weights.values()):
        raise SampleError(f"{name}: has no weight above 0; expected one for each cell of {' x '.join(columns)}")
    return WeightTable(name, tuple(columns), weights)


def _read(name: str) -> str:
    try:
        with open(os.path.expanduser(name), encoding="utf-8-sig") as file:
            return file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise SampleError(
            f"{name}: no weight table that can be read ({getattr(error, 'strerror', None) or error})"
        ) from error


def _from_toml(name: str, text: str, depth: int) -> Iterator[tuple[Cell, object]]:
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise SampleError(f"{name}: is no TOML ({error}); a CSV table must be named .csv") from error
    return _nested(name, table, depth)


def _nested(name: str, table: Mapping[Any, Any], depth: int, cell: Cell = ()) -> Iterator[tuple[Cell, object]]:
    for key, value in table.items():
        inner = (*cell, str(key))
        if len(inner) == depth:
            yield inner, value
        elif isinstance(value, Mapping):
            yield from _nested(name, value, depth, inner)
        else:
            raise SampleError(f"{name}: {cell_name(inner)} is {value!r}; expected tables nested {depth} deep")


def _from_csv(name: str, text: str, columns: Sequence[str]) -> Iterator[tuple[Cell, object]]:
    rows = csv.DictReader(io.StringIO(text), skipinitialspace=True)
    header = rows.fieldnames or []
    expected = {*columns, WEIGHT}
    if set(header) != expected or len(header) != len(expected):
        raise SampleError(
            f"{name}: has the columns {','.join(header)}; expected {','.join([*columns, WEIGHT])} (see --by)"
        )
    for row in rows:
        if None in row or None in row.values():
            raise SampleError(f"{name}: line {rows.line_num} has not {len(header)} fields")
        yield tuple(row[column].strip() for column in columns), row[WEIGHT].strip()


def _weight(name: str, cell: Cell, value: object) -> Fraction:
    try:
        weight = as_written(value)
    except ValueError:
        weight = Fraction(-1)
    if weight < 0:
        raise SampleError(f"{name}: the weight of {cell_name(cell)} is {value!r}; expected a number, 0 or more")
    return weight
