"""From a network and data to the Hessian A and the gradient noise C of a stage."""

from .bootstrap import Bootstrap as Bootstrap
from .bootstrap import bootstrap as bootstrap
from .errors import sampling_errors as sampling_errors
from .estimate import Curvature as Curvature
from .estimate import estimate as estimate
from .estimate import measure as measure
from .estimate import relative_commutator as relative_commutator
from .fisher import fisher as fisher
from .fisher import fisher_product as fisher_product
from .fit import Fit as Fit
from .fit import fit as fit
from .ggn import ggn as ggn
from .ggn import ggn_product as ggn_product
from .hessian import hessian as hessian
from .hessian import hessian_product as hessian_product
from .low_rank import LeadingPairs as LeadingPairs
from .low_rank import leading_pairs as leading_pairs
from .noise import gradient_noise as gradient_noise
from .noise import noise_product as noise_product
from .parameters import from_vector as from_vector
from .parameters import to_vector as to_vector
from .spectrum import Spectrum as Spectrum
from .spectrum import spectrum as spectrum
