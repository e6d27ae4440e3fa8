"""Expressions that choose rows of a scan: comparisons of its columns, and nothing that a program could do besides."""

import ast
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ncdb_dask.errors import EvaluationError

if TYPE_CHECKING:
    import pandas as pd

# pandas evaluates any attribute and any call, so that an expression from a file or a form could run a program.
_NODES = (
    ast.Expression,
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.Name,
    ast.Load,
    ast.Constant,
    ast.List,
    ast.Tuple,
)
_METHODS = ("abs", "between", "isin", "isna", "notna")
_TEXT_METHODS = ("contains", "endswith", "fullmatch", "len", "lower", "match", "startswith", "upper")
SHOWN = 100  # characters of an expression that a message repeats
EXAMPLE = "depth_range == 'far' and lighting != 'night'"


def columns_of(where: str, known: Sequence[str]) -> set[str]:
    """Return the columns that an expression names.

    Raises
    ------
    EvaluationError
        Where it is no expression, names something else than the known columns, or holds something else than
        comparisons, arithmetic and a few methods.
    """
    try:
        tree = ast.parse(where.strip(), mode="eval")
        methods = {id(node) for call in ast.walk(tree) for node in _method(call)}
        for node in ast.walk(tree):
            if not isinstance(node, _NODES) and id(node) not in methods:
                usable = ", ".join((*_METHODS, *(f"str.{name}" for name in _TEXT_METHODS)))
                raise ValueError(f"{ast.unparse(node)[:SHOWN]!r} cannot be used; the methods are {usable}")
    except SyntaxError as error:
        raise _unfit(where, f"{error.msg}; equality is written ==") from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise _unfit(where, error) from error
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    if not names <= {*known}:
        raise _unfit(where, f"{min(names - {*known})!r} is no column; there are {', '.join(known)}")
    return names


def _method(node: ast.AST) -> list[ast.AST]:
    """Return what belongs to the call of a known method; nothing for any other node."""
    if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return []
    owner = node.func.value
    if isinstance(owner, ast.Attribute) and owner.attr == "str" and node.func.attr in _TEXT_METHODS:
        return [node, node.func, owner, *node.keywords]
    return [node, node.func, *node.keywords] if node.func.attr in _METHODS else []


def fitting(rows: "pd.DataFrame", where: str) -> "pd.DataFrame":
    """Return the rows for which an expression is true, as ``pandas.DataFrame.query`` reads it.

    Raises
    ------
    EvaluationError
        Where it cannot be used (`columns_of`), or is neither true nor false.
    """
    columns_of(where, [str(name) for name in rows.columns])
    try:
        # No name of this program is to be found from the expression.
        found: Any = rows.eval(where.strip(), engine="python", local_dict={}, global_dict={})
    except Exception as error:  # pandas lets through whatever the values raise
        raise _unfit(where, error) from error
    kind = getattr(found, "dtype", None)  # of a single value, which is no column
    if str(kind) not in ("bool", "boolean"):
        raise _unfit(where, f"it gives {kind or 'a single value'}, not true or false for each row")
    chosen: pd.DataFrame = rows[found.fillna(False).astype(bool)]
    return chosen


def _unfit(where: str, reason: object) -> EvaluationError:
    shown = where if len(where) <= SHOWN else f"{where[:SHOWN]}..."
    why = " ".join(str(reason).split()) or type(reason).__name__
    expected = f"expected comparisons of the scan's columns and depth_range, such as: {EXAMPLE}"
    return EvaluationError(f"where {shown!r}: cannot be evaluated ({why}); {expected}")
