"""`jaxou study`: run grids of experiments, look at how far they are, collect and plot them.

Exit codes: 0 done (single cells may have failed: the table says which and why), 1 the disk or the
workers failed, 2 a file, flag or folder cannot be used, 130 interrupted. jax is imported only to
run cells.
"""

from __future__ import annotations

import argparse
import difflib
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxou.cli_parser import Parser
from jaxou.config import ConfigError

_EPILOG = """\
examples:
  jaxou study list
  jaxou study show theory                          what a study of this experiment may name
  jaxou study run target_size --out sizes          a study that comes along
  jaxou study run my.toml --out mine               a study of one's own
  jaxou study run my.toml --out mine --shard 0/2   its even cells, for job arrays
  jaxou study run my.toml --out mine --executor dask=tcp://host:8786
  jaxou study resume mine                          what is missing; the same after any crash
  jaxou study collect mine && jaxou study plot mine
"""


def run(arguments: Sequence[str], prepare: Callable[[], None]) -> int:
    """Do what `arguments` say; the exit code. `prepare` sets up the process before jax is used."""
    from jaxou.studies.cells import StudyError

    options = _parse(arguments)
    try:
        return ACTIONS[options.action][0](options, prepare)
    except StudyError as error:
        print(f"jaxou study {options.action}: {error}", file=sys.stderr)
        return 1


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = Parser(
        prog="jaxou study",
        usage="jaxou study ACTION [OPTIONS]",
        description="Studies: an experiment over a design of its settings, cell by cell.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    actions = parser.add_subparsers(
        dest="action", metavar="ACTION", parser_class=Parser, prog="jaxou study"
    )
    for name, (_, words) in ACTIONS.items():
        sub = actions.add_parser(
            name, help=words, description=words.capitalize() + ".", allow_abbrev=False
        )
        if name == "run":
            sub.add_argument(
                "study", metavar="STUDY", help="a TOML file, or the name of a ready one"
            )
            sub.add_argument("--out", type=Path, metavar="DIR", help="folder (jaxou-NAME)")
        elif name == "show":
            sub.add_argument("study", metavar="NAME", help="a ready study, or an experiment")
        elif name != "list":
            sub.add_argument("out", metavar="DIR", type=Path, help="the folder of a study")
        if name in ("run", "resume"):
            sub.add_argument(
                "--executor",
                metavar="WHERE",
                help="processes=N, dask=ADDRESS, slurm[=PARTITION] or local (here if not given)",
            )
            sub.add_argument("--shard", metavar="I/N", help="only the cells I, I + N, I + 2N, ...")
            sub.add_argument(
                "--devices", type=int, default=1, metavar="N", help="local devices (1)"
            )
            sub.add_argument(
                "--retry-failed", action="store_true", help="run cells again that raised an error"
            )
            sub.add_argument("--quiet", action="store_true", help="no progress")
    words = list(arguments)
    if words and not words[0].startswith("-") and words[0] not in ACTIONS:
        close = difflib.get_close_matches(words[0], ACTIONS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are {', '.join(ACTIONS)}"
        raise ConfigError(f"unknown action {words[0]!r}; {hint}")
    options, unknown = parser.parse_known_args(words)
    of_action = parser if options.action is None else actions.choices[options.action]
    of_action.refuse_unknown(unknown)
    if options.action is None:
        raise ConfigError(f"no action; there are {', '.join(ACTIONS)}")
    return options


def _run(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    study = _study(options.study)
    out = options.out or Path(f"jaxou-{study.name}")
    return _compute(study, out, options, prepare)


def _resume(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies.cells import Folder

    _, study = Folder.open(options.out)
    return _compute(study, options.out, options, prepare)


def _compute(study: Any, out: Path, options: argparse.Namespace, prepare: Any) -> int:
    from jaxou.studies import collect, write_tables
    from jaxou.studies import run as run_study

    shard = _shard(options.shard)
    prepare()
    try:
        summary = run_study(
            study,
            out,
            executor=options.executor,
            shard=shard,
            devices=options.devices,
            retry_failed=options.retry_failed,
            progress=not options.quiet,
        )
    except KeyboardInterrupt:
        print(
            f"jaxou study: interrupted; {_saved(out)} are saved, jaxou study resume {out} goes on",
            file=sys.stderr,
        )
        return 130
    print(summary)
    table = collect(out)
    for row in table.failed[:3]:
        print(f"  failed, row {row + 1}: {table.columns['error'][row][:160]}")
    if table.missing:
        print(f"{len(table.missing):,} of {len(table):,} cells are still missing")
    else:
        print("  ".join(map(str, write_tables(out, table))))
    return 0


def _saved(out: Path) -> str:
    from jaxou.studies.cells import Folder

    return f"{len(Folder(out).present()):,} cells"


def _status(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import collect

    table = collect(options.out)
    failed, missing = len(table.failed), len(table.missing)
    print(f"{table.study.name}: {table.study.experiment}, {len(table):,} cells")
    print(f"  computed  {len(table) - missing:,}")
    print(f"  failed    {failed:,}")
    print(f"  missing   {missing:,}")
    marks = Counter(s for s in table.columns["status"] if s and s != "not computed")
    for words, count in marks.most_common(5):
        print(f"  {count:,} x  {words}")
    for words, count in Counter(filter(None, table.columns["error"])).most_common(5):
        print(f"  {count:,} x  {words[:200]}")
    if table.damaged:
        print(f"  {len(table.damaged)} files cannot be used: {', '.join(table.damaged[:5])}")
    if missing:
        print(f"jaxou study resume {options.out} computes what is missing")
    return 0


def _collect(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import collect, write_tables

    table = collect(options.out)
    for path in write_tables(options.out, table):
        print(path)
    if table.missing:
        print(f"{len(table.missing):,} of {len(table):,} cells are missing", file=sys.stderr)
    return 0


def _plot(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import collect
    from jaxou.studies.drawing import draw

    for path in draw(collect(options.out), options.out):
        print(path)
    return 0


def _report(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import collect, write_tables
    from jaxou.studies.page import write_report

    results = collect(options.out)
    write_tables(options.out, results)
    print(write_report(results, options.out))
    return 0


def _list(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import ready

    names = ready.names()
    width = max(map(len, names))
    for name in names:
        study = ready.load(name)
        first = study.reading.strip().split("\n")[0]
        print(f"{name:<{width}}  {study.experiment:<8}  {len(study.cells()):>6,} cells  {first}")
    return 0


def _show(options: argparse.Namespace, prepare: Callable[[], None]) -> int:
    from jaxou.studies import kinds, ready

    if options.study in kinds.MODULES:
        print(kinds.about(options.study))
    else:
        print(ready.text(options.study), end="")
    return 0


def _study(name: str) -> Any:
    """The study of a file, or a ready one."""
    from jaxou.studies import Study, ready

    if name in ready.names() and not Path(name).is_file():
        return ready.load(name)
    if not name.endswith(".toml") and not Path(name).exists():
        ready.text(name)  # says which there are
    return Study.from_toml(name)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, slash, second = text.partition("/")
    if not (slash and first.isdecimal() and second.isdecimal() and int(first) < int(second)):
        raise ConfigError(f"--shard {text!r}: it must be I/N with 0 <= I < N, as in 0/2 and 1/2")
    return int(first), int(second)


ACTIONS: dict[str, tuple[Callable[[argparse.Namespace, Callable[[], None]], int], str]] = {
    "run": (_run, "compute the cells of a study that DIR does not have yet"),
    "resume": (_resume, "the same, for a folder that a study was started in"),
    "status": (_status, "say what is computed, what failed and why, what is missing"),
    "collect": (_collect, "write all cells as one table, CSV and Parquet"),
    "plot": (_plot, "draw the study's figures into DIR/figures"),
    "report": (_report, "write DIR/report.html: figures, a table that can be sorted, settings"),
    "list": (_list, "name the studies that come along"),
    "show": (_show, "print the TOML of a ready study, or what an experiment lets a study name"),
}
