"""The sentences of He and Tao's abstract as experiments with verdicts.

>>> from jaxou.claims import ClaimsConfig
>>> ClaimsConfig(only=("rate",)).chosen()
('rate',)
"""

from typing import TYPE_CHECKING, Any

from .config import NAMES as NAMES
from .config import ClaimsConfig as ClaimsConfig

if TYPE_CHECKING:
    from .claim import Claim as Claim
    from .run import run_claims as run_claims

__all__ = ["NAMES", "Claim", "ClaimsConfig", "run_claims"]


def __getattr__(name: str) -> Any:
    # the settings alone must not import jax: --help is instant
    from importlib import import_module

    module = {"Claim": "claim", "run_claims": "run"}.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{module}"), name)
