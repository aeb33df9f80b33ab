"""The argument parser of the commands that are not parsed from a dataclass."""

import argparse
from typing import NoReturn

from jaxou.config import ConfigError


class Parser(argparse.ArgumentParser):
    """argparse, complaining in the way of the house: one line, `ConfigError`."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)
