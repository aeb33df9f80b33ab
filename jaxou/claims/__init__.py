"""The sentences of He and Tao's abstract as experiments with verdicts.

>>> from jaxou.claims import ClaimsConfig
>>> ClaimsConfig(only=("rate",)).chosen()
('rate',)
"""

from ..config import ClaimsConfig as ClaimsConfig
from .claim import Claim as Claim
from .run import run_claims as run_claims
