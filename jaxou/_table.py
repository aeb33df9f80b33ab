"""Tables as people publish them: CSV in its dialects, numbers as they were printed. No jax here."""

from __future__ import annotations

import csv
import difflib
import io
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from pathlib import Path

_DELIMITERS = ",;\t|"
_DECIMAL_COMMA = re.compile(r"[+-]?\d*,\d+([eE][+-]?\d+)?\s*%?")
_THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")


class TableError(ValueError):
    """A file or a column that cannot be used; the message is one line."""


@dataclass(frozen=True)
class Table:
    """The cells of a CSV file as text.

    - `names`: the header; `rows`: the lines below it, each as long as the header, blank ones gone.
    - `lines`: where in the file each row ends, from 1; `defects`: row (from 0) -> what is wrong.
    """

    names: tuple[str, ...]
    rows: list[list[str]]
    lines: list[int]
    delimiter: str = ","
    defects: dict[int, str] = field(default_factory=dict)

    def column(self, name: str) -> list[str]:
        """The cells under `name` with a point for the decimals and no thousands separators."""
        place = self.names.index(name)
        cells = [row[place].strip() for row in self.rows]
        return [self._with_point(cell) if "," in cell else cell for cell in cells]

    def _with_point(self, cell: str) -> str:
        if self.delimiter == ",":
            return cell.replace(",", "") if _THOUSANDS.fullmatch(cell) else cell
        return cell.replace(",", ".") if _DECIMAL_COMMA.fullmatch(cell) else cell


def read_table(path: Path) -> Table:
    """Read a CSV file: comma, semicolon, tab or bar; quoted fields; UTF-8 or UTF-16 with its mark.

    Rows of the wrong length stay, cut or filled, with a word in `defects`. `TableError` says in one
    line why a file cannot be read.
    """
    text = _text_of(path)
    if not text.strip():
        raise TableError(f"{path} is empty")
    delimiter = _delimiter_of(text)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    names: tuple[str, ...] | None = None
    rows: list[list[str]] = []
    lines: list[int] = []
    defects: dict[int, str] = {}
    try:
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            if names is None:
                names = tuple(cell.strip() for cell in cells)
                continue
            if len(cells) == len(names) + 1 and not cells[-1].strip():
                cells.pop()  # some programs end every line with a delimiter
            if len(cells) != len(names):
                defects[len(rows)] = f"has {len(cells)} fields, the header has {len(names)}"
                cells = cells[: len(names)] + [""] * (len(names) - len(cells))
            rows.append(cells)
            lines.append(reader.line_num)
    except csv.Error as error:
        raise TableError(f"{path}, line {reader.line_num}: {error}") from None
    assert names is not None  # the text is not blank
    if sum(map(_is_number, names)) * 2 > len(names):
        raise TableError(
            f"{path} begins with numbers ({delimiter.join(names)[:60]}): give the columns names in "
            "a first line"
        )
    if not rows:
        raise TableError(f"{path} has a header and no rows")
    if text.count('"') % 2 and any("\n" in cell for cell in rows[-1]):
        first = lines[-2] + 1 if len(lines) > 1 else 2
        raise TableError(
            f"{path}, line {first}: a quotation mark opens a field that is never closed, and the "
            "rest of the file is in it"
        )
    return Table(names, rows, lines, delimiter, defects)


def aligned(rows: Iterable[Sequence[str]], sides: str) -> str:
    """Rows of cells as columns of plain text; `sides` has < or > for each column.

    >>> print(aligned([("name", "value"), ("n", "5")], "<>"))
    name  value
    n         5
    """
    rows = list(rows)
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    shape = list(zip(sides, widths, strict=True))
    lines = [
        "  ".join(f"{cell:{side}{width}}" for cell, (side, width) in zip(row, shape, strict=True))
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise TableError(f"{path}: no such file") from None
    except IsADirectoryError:
        raise TableError(f"{path} is a folder, not a file") from None
    except OSError as error:
        raise TableError(f"{path} cannot be read: {error.strerror or error}") from None
    utf16 = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return content.decode("utf-16" if utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(
            f"{path} is not text in UTF-8 (byte {error.start}): save it as CSV UTF-8"
        ) from None


def _delimiter_of(text: str) -> str:
    """What splits the header into most fields; the comma wins ties."""
    header = next(line for line in text.splitlines() if line.strip())
    fields = lambda mark: len(next(csv.reader([header], delimiter=mark)))
    return max(_DELIMITERS, key=fields)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def nearest(name: str, names: Iterable[str]) -> str:
    """`; did you mean 'x'?` if something known is close to `name`, else the names that there are.

    >>> nearest("emprical", ["empirical", "kl"])
    "; did you mean 'empirical'?"
    >>> nearest("zzz", ["empirical", "kl"])
    '; there are empirical, kl'
    """
    known = list(names)
    plain = {simple(x): x for x in known}
    close = difflib.get_close_matches(simple(name), plain, n=1, cutoff=0.6)
    if close:
        return f"; did you mean {plain[close[0]]!r}?"
    return f"; there are {', '.join(known[:20])}" + (", ..." if len(known) > 20 else "")


def simple(name: str) -> str:
    """Lower case, with one underscore for whatever is neither letter nor digit.

    >>> simple(" KL / n "), simple("Empirical risk (0-1)")
    ('kl_n', 'empirical_risk_0_1')
    """
    return re.sub(r"[\W_]+", "_", name.strip().lower()).strip("_")


def number_in(cell: object) -> float:
    """The number in a cell, `12.4 %` being 0.124; `ValueError` whose text says what is wrong.

    >>> number_in("12.5 %"), number_in(" 3e-2 "), number_in(7)
    (0.125, 0.03, 7.0)
    """
    if isinstance(cell, str):
        text = cell.strip()
        if not text:
            raise ValueError("is empty")
        try:
            return float(text[:-1]) / 100.0 if text.endswith("%") else float(text)
        except ValueError:
            raise ValueError(f"is {text[:40]!r}, not a number") from None
    if cell is None:
        raise ValueError("is missing")
    try:
        return float(cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ValueError(f"is {str(cell)[:40]!r}, not a number") from None


def half_unit(cell: object) -> float:
    """Half a unit in the last printed place of a number: what rounding it may have moved it by.

    Numbers count as printed with all their digits, as Python does. Without any decimals nothing is
    taken to be rounded: 0 and 1 are then exact.

    >>> half_unit("0.115"), half_unit("0.1150"), half_unit("11.5 %"), half_unit(1.0)
    (0.0005, 5e-05, 0.0005, 0.0)
    """
    text = cell.strip() if isinstance(cell, str) else repr(float(cell))  # type: ignore[arg-type]
    percent = text.endswith("%")
    try:
        exponent = Decimal(text.rstrip("% ").replace("_", "")).as_tuple().exponent
    except InvalidOperation:
        return 0.0
    if not isinstance(exponent, int):  # NaN and infinity
        return 0.0
    if not isinstance(cell, str) and float(cell) == int(float(cell)):  # type: ignore[arg-type]
        return 0.0
    exponent -= 2 * percent
    return float(Decimal((0, (5,), exponent - 1))) if exponent < 0 else 0.0
