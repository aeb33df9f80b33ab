"""A table of published certificates as arrays, with a reason for every row that cannot be used."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .._claims import COMMON, WORDS, Choice
from .._table import half_unit, number_in

_SEPARATED = re.compile(r"\d{1,3}([.,]\d{3})+")
_DEFAULTS = {"draws": 0.0, "delta_mc": 0.0}


def as_columns(table: Any) -> dict[str, Any]:
    """Columns of one length, whether columns or rows were given; one value serves every row."""
    if isinstance(table, Mapping):
        columns = {
            str(name): _cells(values, isinstance(values, str) or np.ndim(values) == 0)
            for name, values in table.items()
        }
    else:
        rows = list(table) if isinstance(table, Iterable) else [table]
        if not all(isinstance(row, Mapping) for row in rows):
            raise ValueError(
                "a table is columns {name: values} or a list of rows {name: value}, got "
                f"{type(table).__name__}"
            )
        names = dict.fromkeys(str(name) for row in rows for name in row)
        columns = {name: [row.get(name) for row in rows] for name in names}
    lengths = {name: len(cells) for name, cells in columns.items() if not isinstance(cells, _One)}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns have different lengths: {lengths}")
    length = next(iter(lengths.values()), 1 if columns else 0)
    if length == 0:
        raise ValueError("the table has no rows: give columns {name: values} or a list of rows")
    return {
        name: [cells.value] * length if isinstance(cells, _One) else cells
        for name, cells in columns.items()
    }


@dataclass(frozen=True)
class _One:
    value: Any


def _cells(values: Any, one: bool) -> Any:
    if one:
        return _One(values if isinstance(values, str) or values is None else float(values))
    if isinstance(values, list | tuple):
        return list(values)
    array = np.asarray(values)
    if array.ndim != 1:
        raise ValueError(f"a column has shape {array.shape}: it must be a list of values")
    return array if array.dtype.kind == "f" else array.tolist()


@dataclass
class Published:
    """What was read: `values[role]` (rows,), `cells[role]` as given, `reasons` for bad rows."""

    length: int
    values: dict[str, np.ndarray] = field(default_factory=dict)
    cells: dict[str, Any] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)

    @property
    def good(self) -> np.ndarray:
        """Which rows can be used, (rows,)."""
        good = np.ones(self.length, bool)
        good[list(self.reasons)] = False
        return good

    def half_units(self, role: str, where: np.ndarray) -> np.ndarray:
        """What rounding in print can have moved a quantity by, in the cells' own unit; 0 elsewhere.

        Arrays of less than 64 bits are rounded by their type, text and numbers by their digits.
        """
        halves = np.zeros(self.length)
        cells = self.cells.get(role)
        if isinstance(cells, np.ndarray) and cells.dtype.itemsize < 8:
            halves[where] = np.spacing(np.abs(cells[where])).astype(float) / 2.0
        elif cells is not None:
            halves[where] = [half_unit(cells[i]) for i in np.flatnonzero(where)]
        return halves


def read(
    table: Mapping[str, Any], chosen: Mapping[str, Choice], defects: Mapping[int, str]
) -> Published:
    """The chosen columns as float64; NaN and a reason where a cell is no number."""
    length = len(next(iter(table.values())))
    found = Published(length, reasons=dict(defects))
    for role in COMMON:
        choice = chosen.get(role)
        if choice is None or choice.column is None:
            number = _DEFAULTS.get(role, np.nan) if choice is None else choice.number
            found.values[role] = np.full(length, number)
            continue
        cells = table[choice.column]
        found.cells[role] = cells
        found.values[role] = _numbers(cells, choice.column, found.reasons)
        if role in ("n", "draws") and not isinstance(cells, np.ndarray):
            _refuse_separators(cells, choice.column, found.reasons)
    return found


def _numbers(cells: Any, name: str, reasons: dict[int, str]) -> np.ndarray:
    if isinstance(cells, np.ndarray):
        values = cells.astype(np.float64)
    else:
        values = np.full(len(cells), np.nan)
        for i, cell in enumerate(cells):
            try:
                values[i] = number_in(cell)
            except ValueError as error:
                reasons.setdefault(i, f"{name} {error}")
    for i in np.flatnonzero(np.isnan(values)).tolist():
        reasons.setdefault(i, f"{name} is NaN")
    return values


def _refuse_separators(cells: Sequence[Any], name: str, reasons: dict[int, str]) -> None:
    """A count such as `60.000` means 60 in one country and 60000 in another."""
    for i, cell in enumerate(cells):
        if isinstance(cell, str) and _SEPARATED.fullmatch(cell.strip()):
            reasons.setdefault(i, f"{name} is {cell.strip()!r}: write whole numbers without points")


def find_defects(found: Published) -> None:
    """Set aside the rows whose numbers no bound admits, with advice."""
    v = found.values
    whole = lambda x: (x >= 1) & np.isfinite(x) & (x == np.floor(x))
    tests = (
        ("risk", (v["risk"] >= 0) & (v["risk"] <= 1), "a bounded loss has it in [0, 1]"),
        ("n", whole(v["n"]), "it must be a whole number of at least 1"),
        ("kl", v["kl"] >= 0, "it is never negative; posterior first, KL(posterior || prior)"),
        (
            "delta",
            (v["delta"] > 0) & (v["delta"] <= 0.5),
            "it must lie in (0, 0.5], 0.05 for a confidence of 95 %",
        ),
        (
            "draws",
            (v["draws"] == 0) | whole(v["draws"]),
            "it must be a whole number, 0 for a risk that is no estimate",
        ),
        (
            "delta_mc",
            (v["delta_mc"] >= 0) & (v["delta"] + v["delta_mc"] < 1),
            "it is positive and below 1 together with the other one",
        ),
        (
            "draws",
            (v["draws"] == 0) | (v["delta_mc"] > 0),
            "a Monte Carlo step needs a failure probability of its own",
        ),
        ("claimed", np.isfinite(v["claimed"]), "it must be finite"),
    )
    for role, fine, advice in tests:
        for i in np.flatnonzero(~fine & found.good).tolist():
            found.reasons[i] = f"the {WORDS[role]} is {v[role][i]:.6g}: {advice}"
