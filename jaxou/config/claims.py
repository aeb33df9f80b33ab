"""What `jaxou claims` does, as a plain dataclass: no jax here, so that `--help` is instant."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .fields import (
    FRACTION,
    POSITIVE,
    ConfigError,
    between,
    check_value,
    did_you_mean,
    identity_of,
    leaves,
    setting,
)

CLAIMS = ("convergence", "transport", "rate", "dominance", "discrepancy")
"""The claims, in their order; `only` takes these names."""

LOGISTICS = frozenset({"out", "figures", "only", "resume"})
"""Settings that say where and which, not what: they do not change a claim's numbers."""


@dataclass(frozen=True)
class ClaimsConfig:
    """The sentences of the abstract as experiments with verdicts.

    Writes claims.json, claims.html, tables and figures into --out.
    """

    only: tuple[str, ...] = ()
    """Claims to examine; all of them if empty."""
    particles: int = setting(40_000, between(1000, 10_000_000))
    """Particles of every run that is held against a law."""
    replicas: int = setting(4000, between(500, 1_000_000))
    """Real minibatch SGD runs on the diabetes data."""
    margin: float = setting(0.02, POSITIVE)
    """Nats: two laws nearer than this count as one (by Pinsker's inequality no event's probability
    then differs by more than sqrt(margin / 2), a tenth at 0.02)."""
    level: float = setting(0.01, FRACTION)
    """Probability of any wrong statement among a claim's tests of one kind (Bonferroni)."""
    strength: float = setting(0.5, FRACTION)
    """Rank correlation above which one quantity is said to decide another."""
    problems: int = setting(4, between(1, 20))
    """Random problems behind every cell of the map of dominance."""
    pairs: int = setting(400, between(30, 10_000))
    """Random synthetic domain pairs."""
    samples: int = setting(32, between(2, 1000))
    """Target samples drawn anew for every synthetic pair; the measured gap is their mean."""
    image_pairs: int = setting(150, between(20, 5000))
    """Random domain pairs of real images."""
    seed: int = setting(0, between(0, 2**31 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes. Sizes given explicitly still win."""
    resume: bool = True
    """Take claims that an interrupted run with the same settings has finished."""
    figures: bool = True
    """Whether to draw."""
    out: Path = Path("jaxou-claims")
    """Folder for the results."""

    @classmethod
    def defaults(cls, quick: bool = False) -> ClaimsConfig:
        """The settings before any flag.

        >>> ClaimsConfig.defaults(quick=True).image_pairs < ClaimsConfig().image_pairs
        True
        """
        small = dict(particles=20_000, replicas=2000, problems=1, samples=8, image_pairs=36)
        return cls(**small, pairs=300, quick=True) if quick else cls()

    def validate(self) -> ClaimsConfig:
        """Return self, or raise `ConfigError` naming the first setting that cannot be used.

        >>> ClaimsConfig(only=("rates",)).validate()
        Traceback (most recent call last):
        ...
        jaxou.config.fields.ConfigError: only = 'rates'; did you mean rate?
        """
        for name in self.only:
            if name not in CLAIMS:
                raise ConfigError(f"only = {name!r}{did_you_mean(name, CLAIMS)}")
        for name, value, spec in leaves(self):
            if name != "only":
                check_value(name, value, spec)
        return self

    def chosen(self) -> tuple[str, ...]:
        """The claims to examine, in their order."""
        return tuple(name for name in CLAIMS if not self.only or name in self.only)

    def as_dict(self) -> dict[str, Any]:
        """The settings that decide the numbers."""
        full = dataclasses.asdict(self)
        return {name: value for name, value in full.items() if name not in LOGISTICS}

    def identity(self, *extra: str) -> str:
        """Twelve hex digits that name these settings (and `extra`): the key of the cache.

        >>> ClaimsConfig().identity() == ClaimsConfig(only=("rate",)).identity()
        True
        """
        return identity_of(self.as_dict(), *extra)
