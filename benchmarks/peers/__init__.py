"""The engines beside jaxou's: read from peers.toml, imported only when they run."""

import importlib
import importlib.metadata
import importlib.util
import tomllib
from dataclasses import dataclass, field
from pathlib import Path

FILE = Path(__file__).parent.parent / "peers.toml"
ENGINE = ("jaxou", "jaxou, SGD()", "jaxou, Exact()")
"""The names that are ours: ratios are taken to the first of them in a case."""


@dataclass(frozen=True)
class Peer:
    """One engine with its frozen settings; the fields are explained in peers.toml."""

    name: str
    package: str
    version: str
    module: str
    build: str
    cases: list[str]
    dtype: str
    generator: str
    step: str
    settings: dict = field(default_factory=dict)
    limit: float = float("inf")

    def installed(self) -> str | None:
        """The version that is here, or None."""
        if importlib.util.find_spec(self.package) is None:
            return None
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:  # run from a source tree
            return self.version

    def prepare(self, problem):
        """A function of a seed that runs the problem and returns when the result is there."""
        module = importlib.import_module(f".{self.module}", __package__)
        return getattr(module, self.build)(problem, **self.settings)


def load() -> list[Peer]:
    """All engines of peers.toml, in its order."""
    return [Peer(**entry) for entry in tomllib.loads(FILE.read_text())["peer"]]
