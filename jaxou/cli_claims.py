"""`jaxou claims`: the sentences of the paper's abstract, each with its experiment and verdict.

Exit codes: 0 done, whatever the verdicts; 2 a flag or folder cannot be used; 130 interrupted (the
same command goes on). jax is imported only once the settings are known to be good.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from jaxou.cli_parser import Parser
from jaxou.config import CLAIMS, ClaimsConfig

_NUMBERS = {
    "particles": "particles of every run that is held against a law",
    "replicas": "real minibatch SGD runs on the diabetes data",
    "margin": "nats: nearer laws count as one",
    "level": "probability of any wrong statement of one claim",
    "strength": "rank correlation from which one quantity decides another",
    "problems": "random problems behind every cell of the map of dominance",
    "pairs": "random synthetic domain pairs",
    "samples": "target samples of every synthetic pair",
    "image_pairs": "random domain pairs of real images",
    "seed": "the only source of randomness",
}


def run(arguments: Sequence[str], prepare: Callable[[], None], progress: Any) -> int:
    """Do what `arguments` say; the exit code. `prepare` sets up the process before jax is used.

    `progress()` is a context manager that yields what shows a phase.
    """
    settings = parse(arguments)
    prepare()
    from jaxou.claims import run_claims

    with progress() as step:
        found = run_claims(settings, step)
    print(found)
    return 0


def parse(arguments: Sequence[str]) -> ClaimsConfig:
    """The settings of `jaxou claims`: defaults < flags, all checked, or `ConfigError`.

    >>> parse(["--quick", "--only", "rate", "dominance"]).only
    ('rate', 'dominance')
    """
    parser = Parser(
        prog="jaxou claims",
        description="Each sentence of the abstract with its experiment, figure, number, verdict.",
        allow_abbrev=False,
    )
    parser.add_argument("--quick", action="store_true", help="smaller sizes: under 3 minutes")
    parser.add_argument(
        "--only", nargs="+", metavar="CLAIM", default=(), help=f"some of: {', '.join(CLAIMS)}"
    )
    fields = {field.name: field for field in dataclasses.fields(ClaimsConfig)}
    for name, words in _NUMBERS.items():
        kind = float if isinstance(fields[name].default, float) else int
        flag = "--" + name.replace("_", "-")
        parser.add_argument(flag, type=kind, help=f"{words} ({fields[name].default:g})")
    parser.add_argument("--out", type=Path, help=f"folder ({fields['out'].default})")
    parser.add_argument("--no-resume", action="store_true", help="compute everything anew")
    parser.add_argument("--no-figures", action="store_true", help="draw nothing")
    options, unknown = parser.parse_known_args(list(arguments))
    parser.refuse_unknown(unknown)
    given = {name: getattr(options, name) for name in (*_NUMBERS, "out")}
    changes = {name: value for name, value in given.items() if value is not None}
    return dataclasses.replace(
        ClaimsConfig.defaults(options.quick),
        only=tuple(options.only),
        resume=not options.no_resume,
        figures=not options.no_figures,
        **changes,
    ).validate()
