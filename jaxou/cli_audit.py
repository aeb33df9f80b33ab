"""`jaxou audit FILE.csv`: do the certificates of a published table hold?

Columns are found by common names or named by flags. Every claim is recomputed from its own row; a
table shows those that fall short, a last line sums up. Exit codes: 0 all claims hold, 1 some are
below the exact value, 2 the file or the flags cannot be used.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxou._claims import COMMON, WORDS, choose, refuse_unpaid
from jaxou._table import Table, TableError, aligned, nearest, read_table
from jaxou.cli_parser import Parser
from jaxou.config import ConfigError

if TYPE_CHECKING:
    from jaxou.bounds import Audit

_FLAG = "--{}"
_EPILOG = """\
Columns that are not named are looked for under common names, and the ones taken are said. "none"
takes no column. A row that cannot be used is reported with its reason and the others go on.

With --draws the risk is a mean over that many draws of the weights, and its upper limit at
--delta-mc enters the bound. Where the published risk is that limit already, give --draws none.

A claim that was printed with k decimals and is below by less than half a unit of the last one is
counted apart: rounding explains it. --delta-both is for code that states delta and uses it for the
PAC-Bayes event and again for the Monte Carlo step; a claim that needs both is "overspent".

examples:
  jaxou audit results.csv --delta 0.05
  jaxou audit results.csv --risk err01 --kl-over-n "KL/n" --n 60000 --delta 0.025 \\
      --draws 150000 --delta-mc 0.01 --claimed cert01 --out audited.csv
"""


def run(arguments: Sequence[str], prepare: Callable[[], None]) -> int:
    """Audit the file that `arguments` name and print what was found; the exit code.

    `prepare` sets up the process for float64 before jax is used.
    """
    options, asked = _parse(arguments)
    try:
        table = read_table(options.file)
        chosen = choose(table.names, asked, _FLAG)
        refuse_unpaid(chosen, options.delta_both, _FLAG)
        columns = {
            choice.column: table.column(choice.column)
            for choice in chosen.values()
            if choice.column is not None
        }
        prepare()
        found = _audit(columns, table, asked, options)
    except TableError as error:
        raise ConfigError(str(error)) from None
    _print(found, table, options.rows)
    if options.out is not None:
        _write(options.out, table, found)
    if len(found.reasons) == len(found):
        row, reason = next(iter(found.reasons.items()))
        raise ConfigError(f"no row of {options.file} can be used; row {row + 1}: {reason}")
    wrong = not found.all_hold or (options.strict and found.count("rounding") > 0)
    return 1 if wrong else 0


def _parse(arguments: Sequence[str]) -> tuple[argparse.Namespace, dict[str, str | None]]:
    parser = Parser(
        prog="jaxou audit",
        usage="jaxou audit FILE.csv [OPTIONS]",
        description=(
            "Recompute the PAC-Bayes certificates of a published table and report the claims that "
            "are below the exact value."
        ),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("file", metavar="FILE.csv", nargs="?", type=Path)
    sources = parser.add_argument_group("where the numbers are")
    for role, words in WORDS.items():
        number = role in ("n", "delta", "draws", "delta_mc")
        sources.add_argument(
            f"--{role.replace('_', '-')}", metavar="COL|NUMBER" if number else "COL", help=words
        )
    how = parser.add_argument_group("how they are read")
    how.add_argument(
        "--delta-both",
        action="store_true",
        help="the claim states delta and spent it on both steps",
    )
    how.add_argument(
        "--bound",
        default="seeger",
        metavar="NAME",
        help="row of the catalogue: seeger (default), maurer_pinsker, mcallester_he, ...",
    )
    how.add_argument(
        "--percent",
        action=argparse.BooleanOptionalAction,
        help="risks and claims are per cent",
    )
    how.add_argument(
        "--rounded-inputs",
        action="store_true",
        help="take risk and KL at the favourable end of what would be printed alike",
    )
    output = parser.add_argument_group("what is written")
    output.add_argument(
        "--rows", type=int, default=20, metavar="K", help="rows to show, the worst first (20)"
    )
    output.add_argument(
        "--out", type=Path, metavar="FILE.csv", help="the table again with the recomputed values"
    )
    output.add_argument(
        "--strict", action="store_true", help="exit 1 for claims below by rounding as well"
    )
    options, unknown = parser.parse_known_args(list(arguments))
    parser.refuse_unknown(unknown, "one file at a time")
    if options.file is None:
        raise ConfigError("no file: jaxou audit FILE.csv; see jaxou audit --help")
    if options.rows < 0:
        raise ConfigError(f"--rows {options.rows}: it must be 0 or more")
    if options.out is not None and options.out.resolve() == options.file.resolve():
        raise ConfigError(f"--out {options.out} is the audited file itself: give another name")
    return options, {role: getattr(options, role) for role in COMMON}


def _audit(
    columns: dict[str, list[str]],
    table: Table,
    asked: dict[str, str | None],
    options: argparse.Namespace,
) -> Audit:
    from jaxou.bounds import audit, row_names

    if options.bound not in row_names():
        hint = nearest(options.bound, row_names())
        raise ConfigError(f"--bound {options.bound!r} is not a row without parameters{hint}")
    try:
        return audit(
            columns,
            **asked,
            delta_both=options.delta_both,
            bound=options.bound,
            percent=options.percent,
            rounded_inputs=options.rounded_inputs,
            defects=table.defects,
        )
    except ValueError as error:  # its advice is written for Python: spell it as flags
        words = str(error).replace("percent=True", "--percent")
        raise ConfigError(words.replace("percent=False", "--no-percent")) from None


# ---- what is shown and written


def _print(found: Audit, table: Table, rows: int) -> None:
    small = len(found) <= rows
    shown = (
        [i for i in range(len(found)) if i not in found.reasons]
        if small
        else found.worst(rows).tolist()
    )
    if shown:
        title = "all claims" if small else f"the {len(shown)} that fall short most"
        _print_table(title, *_cells(found, shown))
    for i, reason in list(found.reasons.items())[: max(rows, 5)]:
        print(f"row {i + 1} (line {table.lines[i]}) is unusable: {reason}")
    if (more := len(found.reasons) - max(rows, 5)) > 0:
        print(f"{more} more rows are unusable")
    head, spent, *_ = str(found).splitlines()
    print("\n".join([head, spent, *found.remarks(), found.summary()]))


def _cells(found: Audit, shown: Sequence[int]) -> tuple[list[str], list[list[str]]]:
    drawn = bool((found.draws[shown] > 0).any())
    header = ["row", "risk", *(["risk at most"] if drawn else []), "KL", "n", "claimed", "exact"]
    over = bool((found.exact_as_stated[shown] != found.exact[shown]).any())
    header += [*(["as stated"] if over else []), "short by", "verdict"]
    digits = lambda x: f"{x:.7g}"
    body = []
    for i in shown:
        cells = [str(i + 1), digits(found.risk[i])]
        cells += [digits(found.risk_upper[i])] if drawn else []
        cells += [f"{found.kl[i]:.6g}", f"{found.n[i]:.10g}"]
        cells += [digits(found.claimed[i]), digits(found.exact[i])]
        cells += [digits(found.exact_as_stated[i])] if over else []
        short = found.short[i]
        body.append([*cells, f"{short:.2g}" if short else "", str(found.verdict[i])])
    return header, body


def _print_table(title: str, header: list[str], body: list[list[str]]) -> None:
    """Coloured on a terminal, columns of plain text elsewhere."""
    if not sys.stdout.isatty():
        print(aligned([header, *body], ">" * len(header)), end="\n\n")
        return
    from rich import box
    from rich.console import Console
    from rich.table import Table as RichTable

    console = Console(highlight=False)
    header, body, dropped = _fit(header, body, console.width)
    if dropped:
        title += f"; a wider terminal shows {', '.join(dropped)} as well"
    styles = {"below": "bold red", "overspent": "yellow", "rounding": "cyan", "holds": ""}
    view = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in header:
        view.add_column(name, justify="left" if name == "verdict" else "right", no_wrap=True)
    for line in body:
        view.add_row(*line, style=styles[line[-1]])
    console.print(view)


def _fit(
    header: list[str], body: list[list[str]], width: int
) -> tuple[list[str], list[list[str]], list[str]]:
    """The columns that fit side by side, and those left out: a number that is cut is a wrong one.

    >>> _fit(["row", "n", "exact"], [["1", "5000", "0.115"]], 18)
    (['row', 'exact'], [['1', '0.115']], ['n'])
    """
    columns = list(zip(header, *body, strict=True))
    dropped = []
    for name in ("n", "KL", "risk at most", "risk", "as stated"):
        if sum(max(map(len, column)) + 3 for column in columns) + 2 <= width:
            break
        dropped += [name for column in columns if column[0] == name]
        columns = [column for column in columns if column[0] != name]
    names, *lines = map(list, zip(*columns, strict=True))
    return names, lines, dropped


def _write(path: Path, table: Table, found: Audit) -> None:
    """The old cells as they were and the recomputed values beside them."""
    new = ("risk_upper", "exact", "exact_as_stated", "spent", "short")
    header = [*table.names, *(f"audit_{name}" for name in (*new, "verdict", "reason"))]
    columns: list[list[Any]] = [getattr(found, name).tolist() for name in new]
    text = io.StringIO(newline="")
    out = csv.writer(text, delimiter=table.delimiter, lineterminator="\n")
    out.writerow(header)
    for i, cells in enumerate(table.rows):
        unusable = i in found.reasons
        numbers = ["" if unusable else repr(column[i]) for column in columns]
        out.writerow([*cells, *numbers, found.verdict[i], found.reasons.get(i, "")])
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        os.replace(temporary, path)
    except OSError as error:
        raise ConfigError(f"--out {path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()
