"""PAC-Bayes: the kl inverse, the catalogue of bounds, and the bound over two stages."""

from .bernoulli import binary_kl
from .inversion import kl_inverse, kl_inverse_lower

__all__ = ["binary_kl", "kl_inverse", "kl_inverse_lower"]
