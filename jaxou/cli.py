"""The command `jaxou`.

`jaxou run [config.toml] [--finetune.learning-rate 0.02] [--out DIR] [--quick]`
`jaxou run diabetes [--replicas 4000] ...`, `jaxou run network [--layers last] ...`
`jaxou audit FILE.csv [--risk COL] [--kl COL] [--delta 0.05] ...`
`jaxou verify DIR`
`jaxou study run STUDY.toml --out DIR`, `jaxou study list`, ...
`jaxou claims [--quick] [--only CLAIM ...]`

Exit codes: 0 done; 1 the run failed, or a claim under audit or a certificate does not hold; 2 a
wrong key, type, value or file (one line on stderr says which and why); 130 interrupted. jax is
imported only once the settings are known to be good, so that `--help` and every complaint are
instant.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import typing
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from jaxou import config as _config
from jaxou.cli_parser import unknown_option
from jaxou.config import ConfigError, RunConfig


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    name, rest = (arguments[0], arguments[1:]) if arguments else ("--help", [])
    if name in ("-h", "--help"):
        print(_overview())
        return 0
    if name in ("-V", "--version"):
        print(f"jaxou {_version()}")
        return 0
    if name not in COMMANDS:
        return _complain("jaxou", f"unknown command {name!r}; there are {', '.join(COMMANDS)}")
    try:
        code = COMMANDS[name][0](rest)
        sys.stdout.flush()  # here, where a reader that has gone can be seen
        return code
    except BrokenPipeError:  # `jaxou audit ... | head`: nobody reads on, and nobody saw a verdict
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ConfigError as error:
        return _complain(f"jaxou {name}", str(error))
    except ImportError as error:
        if "jaxou[" not in str(error):  # not an extra: something is broken, and its trace helps
            raise
        print(f"jaxou {name}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"jaxou {name}: interrupted; the same command resumes", file=sys.stderr)
        return 130


def parse_run(arguments: Sequence[str]) -> RunConfig:
    """The settings of `jaxou run`: defaults < TOML file < flags, all checked, or `ConfigError`.

    >>> parse_run(["--finetune.learning-rate", "0.02"]).finetune.learning_rate
    0.02
    """
    first, files = _tyro(arguments, RunConfig())
    if len(files) > 1:
        raise ConfigError(f"unexpected argument {files[1]!r}: one configuration file at most")
    base = (
        RunConfig.from_toml(Path(files[0]), first.quick)
        if files
        else RunConfig.defaults(first.quick)
    )
    settings, _ = _tyro(arguments, base)
    return settings.validate()


def parse_experiment(name: str, arguments: Sequence[str]) -> Any:
    """The settings of `jaxou run NAME`: defaults < flags, all checked, or `ConfigError`.

    >>> parse_experiment("diabetes", ["--batch-size", "4"]).batch_size
    4
    """
    kind = _config.EXPERIMENTS[name]
    first, files = _tyro(arguments, kind(), f"jaxou run {name}")
    if files:
        raise ConfigError(f"unexpected argument {files[0]!r}: jaxou run {name} takes flags only")
    settings, _ = _tyro(arguments, kind.defaults(first.quick), f"jaxou run {name}")
    return _config.check(settings)


def _experiment(name: str, arguments: Sequence[str]) -> int:
    settings = parse_experiment(name, arguments)
    _prepare_process()
    from jaxou.report.experiments.builtin import BUILT_IN

    with _progress() as progress:
        report = BUILT_IN[name](settings, progress)
    print(report)
    return 0


def _run(arguments: Sequence[str]) -> int:
    if arguments and arguments[0] in _config.EXPERIMENTS:
        return _experiment(arguments[0], arguments[1:])
    settings = parse_run(arguments)
    _prepare_process()
    from jaxou.report import run_and_write

    with _progress() as progress:
        summary = run_and_write(settings, progress)
    print(summary)
    return 0


def _audit(arguments: Sequence[str]) -> int:
    from jaxou import cli_audit

    return cli_audit.run(arguments, _prepare_process)


def _verify(arguments: Sequence[str]) -> int:
    from jaxou import cli_verify

    return cli_verify.run(arguments, _prepare_process)


def _study(arguments: Sequence[str]) -> int:
    from jaxou import cli_study

    return cli_study.run(arguments, _prepare_process)


def _claims(arguments: Sequence[str]) -> int:
    from jaxou import cli_claims

    return cli_claims.run(arguments, _prepare_process, _progress)


COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "run": (
        _run,
        "pre-train on MNIST, fine-tune on UCI digits, test the theory, certify the result",
    ),
    "audit": (_audit, "recompute the certificates of a published table and say which hold"),
    "verify": (_verify, "recompute a saved certificate from its factors and the data"),
    "study": (_study, "run an experiment over a design of its settings, resume, collect, plot"),
    "claims": (_claims, "test the sentences of the paper's abstract, each with a verdict"),
}


def _prepare_process() -> None:
    """For this process only: one BLAS thread (faster and calmer on few cores), float64, and
    compiled programs kept for the next command."""
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    import jax

    jax.config.update("jax_enable_x64", True)
    programs = _programs_folder()
    if programs is not None:
        jax.config.update("jax_compilation_cache_dir", str(programs))
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.3)


def _programs_folder() -> Path | None:
    """Where compiled programs are kept: one folder per kind of processor, or None if not at all.

    JAX_COMPILATION_CACHE_DIR names another folder, JAX_ENABLE_COMPILATION_CACHE=0 keeps nothing.
    """
    if os.environ.get("JAX_COMPILATION_CACHE_DIR"):
        return None  # jax reads it itself
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = root / "jaxou" / f"programs-{_processor()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


def _processor() -> str:
    """Eight digits that differ where machine code may: a home folder can serve many machines."""
    import hashlib
    import platform

    text = platform.machine() + platform.processor()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        text += next((line for line in lines if line.startswith(("flags", "Features"))), "")
    return hashlib.sha256(text.encode()).hexdigest()[:8]


# ---- parsing with tyro, but with errors of one line


def _tyro(
    arguments: Sequence[str], default: Any, prog: str = "jaxou run [CONFIG.TOML]"
) -> tuple[Any, list[str]]:
    """The settings after the flags, and the words that are not flags."""
    flags = {_flag(name): (name, spec) for name, _, (spec, _) in _config.leaves(default)}
    for argument in arguments:
        name, equals, value = argument.partition("=")
        # tyro would take the value of `--quick=no` for the configuration file
        if equals and name in flags and flags[name][1] is bool:
            raise ConfigError(f"{argument}: {name} takes no value; write {name} or --no-{name[2:]}")
    caught = io.StringIO()
    try:
        with contextlib.redirect_stderr(caught):
            parsed, unknown = tyro.cli(
                type(default),
                prog=prog,
                args=list(arguments),
                default=default,
                return_unknown_args=True,
            )
    except SystemExit as stop:
        if not stop.code:  # --help
            raise
        raise ConfigError(_explain(arguments, flags, caught.getvalue())) from None
    for word in unknown:
        if word.startswith("-"):
            raise ConfigError(unknown_option(word, flags, "jaxou run"))
    return parsed, unknown


def _explain(arguments: Sequence[str], flags: dict[str, tuple[str, Any]], said: str) -> str:
    """The first flag whose value is missing or unreadable, in a sentence; else tyro's own words."""
    for i, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        name = name.replace("_", "-")
        kind = flags[name][1] if name in flags else bool
        if kind is bool:
            continue
        wanted = f"it must be {_config.describe(kind)}"
        following = arguments[i + 1 : i + 2]
        if not equals and (not following or following[0].startswith("--")):
            return f"{name} has no value: {wanted}"
        value = value if equals else following[0]
        if not _readable(value, kind):
            return f"{name} {value!r}: {wanted}"
    # what tyro printed, without its frame
    return " ".join(re.sub(r"[^\x20-\x7e]|[-+|]{2,}|[+|]", " ", said).split()) or "not understood"


def _readable(text: str, kind: Any) -> bool:
    if typing.get_origin(kind) is Literal:
        return text in map(str, typing.get_args(kind))
    try:
        kind(text)
    except ValueError:
        return False
    return True


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


# ---- words and progress


def _complain(command: str, message: str) -> int:
    print(f"{command}: {' '.join(message.split())}", file=sys.stderr)
    return 2


def _overview() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  jaxou {name:<{width}}  {words}" for name, (_, words) in COMMANDS.items()]
    return "\n".join(
        [
            "usage: jaxou COMMAND [OPTIONS]",
            "",
            "Pre-training and fine-tuning as Ornstein-Uhlenbeck processes.",
            "",
            *lines,
            "",
            "  jaxou COMMAND --help  says what can be set;  jaxou --version",
        ]
    )


def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("jaxou")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "(not installed)"


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str], Any]]:
    """Yield `step(title)`, a context manager: a spinner on a terminal, plain lines elsewhere.

    It gives a function that takes sentences about what was found, shown when the step is done.
    """
    import time

    from rich.console import Console

    console = Console(stderr=True, highlight=False)

    @contextlib.contextmanager
    def step(title: str) -> Iterator[Callable[[str], None]]:
        start, found = time.perf_counter(), []
        if console.is_terminal:
            with console.status(f"{title} ..."):
                yield found.append
            console.print(
                f"[green]✓[/green] {title} [dim]{time.perf_counter() - start:.1f} s[/dim]"
            )
        else:
            print(f"{title} ...", file=sys.stderr, flush=True)
            yield found.append
            print(f"    {time.perf_counter() - start:.1f} s", file=sys.stderr, flush=True)
        for sentence in found:
            console.print(f"    {sentence}", markup=False)

    yield step
