"""The argument parser of the commands that are not parsed from a dataclass."""

import argparse
import difflib
from collections.abc import Iterable, Sequence
from typing import NoReturn

from jaxou.config import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse, complaining in the way of the house: one line, `ConfigError`."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)

    @property
    def flags(self) -> list[str]:
        """The long options."""
        return sorted(flag for flag in self._option_string_actions if flag.startswith("--"))

    def refuse_unknown(self, words: Sequence[str], advice: str = "") -> None:
        """Complain about the first of the words that no option took; `advice` is on bare words."""
        for word in words:
            if word.startswith("-"):
                raise ConfigError(unknown_option(word, self.flags, self.prog))
            raise ConfigError(
                f"unexpected argument {word!r}: {advice or f'see {self.prog} --help'}"
            )


def unknown_option(word: str, flags: Iterable[str], command: str) -> str:
    """What to say about an option that does not exist.

    >>> unknown_option("--shart=0/2", ["--shard", "--quiet"], "jaxou study run")
    'unknown option --shart; did you mean --shard?'
    """
    name = word.partition("=")[0]
    close = difflib.get_close_matches(name.replace("_", "-"), list(flags), n=1, cutoff=0.5)
    hint = f"did you mean {close[0]}?" if close else f"see {command} --help"
    return f"unknown option {name}; {hint}"
