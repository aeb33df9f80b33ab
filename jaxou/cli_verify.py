"""`jaxou verify DIR`: recompute a saved certificate from its factors and the data.

Works for the built-in experiments, whose data can be loaded again; for others it says how to do it
from Python. Exit codes: 0 everything agrees, 1 something does not, 2 the folder cannot be used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from jaxou.config import ConfigError

HELP = """\
usage: jaxou verify DIR

Recompute the certificate that cert.save(DIR) wrote: ledger, prior scale, KL, weight draws, bound.
Exit code 0: everything agrees; 1: something does not; 2: DIR cannot be used.

Two promises cannot be checked from a folder: that the prior had not seen the target examples of the
bound, and that grid and delta were fixed before they were seen."""

FROM_PYTHON = (
    "{folder} is of no built-in experiment, so its data are not at hand: in Python, "
    "jaxou.transfer.verify({folder!r}, model, loss01, target_data) recomputes it"
)


def run(arguments: Sequence[str], prepare: Callable[[], None]) -> int:
    """Verify the folder that `arguments` name and print what was found; the exit code.

    `prepare` sets up the process for float64 before jax is used.
    """
    if any(word in ("-h", "--help") for word in arguments):
        print(HELP)
        return 0
    for word in arguments:
        if word.startswith("-"):
            raise ConfigError(f"unknown option {word}; see jaxou verify --help")
    if len(arguments) != 1:
        raise ConfigError("one folder is needed: jaxou verify DIR")
    folder = Path(arguments[0])
    if not folder.is_dir():
        raise ConfigError(f"{folder}: no such folder")
    prepare()
    from jaxou.transfer import headline, loss01, verify
    from jaxou.transfer.store import CertificateError, read_record

    try:
        experiment = read_record(folder)[0].get("experiment")
        if experiment is None:
            raise ConfigError(FROM_PYTHON.format(folder=str(folder)))
        model, target = headline.recorded(experiment)
        found = verify(folder, model, loss01, target)
    except CertificateError as error:
        raise ConfigError(str(error)) from None
    except (KeyError, TypeError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"{folder} cannot be verified: {' '.join(str(error).split())}") from None
    print(found)
    return 0 if found.ok else 1
