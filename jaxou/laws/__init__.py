"""Laws: what a stage starts from, is at, and converges to."""

from .divergence import GaussianDivergence as GaussianDivergence
from .gaussian import Gaussian as Gaussian
from .gibbs import Gibbs as Gibbs
from .maxwell_boltzmann import MaxwellBoltzmann as MaxwellBoltzmann
