"""PAC-Bayes: the kl inverse, the catalogue of bounds, and the bound over two stages."""

from .audit import audit
from .audited import Audit
from .bernoulli import binary_kl
from .best_posterior import BestPosterior, best_posterior
from .catalogue import Applicable, BoundRow, Catalogue, applicable, catalogue
from .discrepancies import Discrepancy, discrepancy
from .dominance import Dominance, dominance, dominance_of
from .grid import BoundGrid, bound_grid
from .inversion import kl_inverse, kl_inverse_lower
from .ledger import Ledger, Receipt
from .losses import (
    Bounded,
    BoundedVariance,
    GaussianResidual,
    Loss,
    SubGaussian,
    Unbounded,
    ZeroOne,
)
from .objective import TargetBound
from .path import BoundPath, bound_path
from .prior_scales import PriorScale, ScaleGrid, best_scale, scale_grid
from .risk import SaturatedRisk
from .rows import (
    catoni_linear,
    catoni_phi,
    chi_square,
    emp_bernstein,
    find_row,
    gaussian_residual,
    harel_simplified,
    lambda_grid,
    majority_vote,
    maurer_pinsker,
    mcallester_2003,
    mcallester_he,
    mcallester_loose,
    on_lambda_grid,
    quadratic,
    row_names,
    second_moment,
    seeger,
    single_draw,
    sub_gaussian,
    thiemann,
    thiemann_lambda,
    tolstikhin_seldin_simple,
)
from .sensitivity import Sensitivities, sensitivities
from .stage_bound import StageBound
from .stopping import BestStopping, best_stopping
from .terms import BoundTerms
from .transfer_value import CheckpointPrior, ExpectedLosses, checkpoint_prior, expected_losses
from .tuning import Tuned, tune
from .two_stage import TwoStageBound, two_stage_bound
from .weights import Geometric, Given, TwoSided, Uniform, Weights, Zeta

__all__ = [
    "Applicable",
    "Audit",
    "BestPosterior",
    "BestStopping",
    "BoundGrid",
    "BoundPath",
    "BoundRow",
    "BoundTerms",
    "Bounded",
    "BoundedVariance",
    "Catalogue",
    "CheckpointPrior",
    "Discrepancy",
    "Dominance",
    "ExpectedLosses",
    "GaussianResidual",
    "Geometric",
    "Given",
    "Ledger",
    "Loss",
    "PriorScale",
    "Receipt",
    "SaturatedRisk",
    "ScaleGrid",
    "Sensitivities",
    "StageBound",
    "SubGaussian",
    "TargetBound",
    "Tuned",
    "TwoSided",
    "TwoStageBound",
    "Unbounded",
    "Uniform",
    "Weights",
    "ZeroOne",
    "Zeta",
    "applicable",
    "audit",
    "best_posterior",
    "best_scale",
    "best_stopping",
    "binary_kl",
    "bound_grid",
    "bound_path",
    "catalogue",
    "catoni_linear",
    "catoni_phi",
    "checkpoint_prior",
    "chi_square",
    "discrepancy",
    "dominance",
    "dominance_of",
    "emp_bernstein",
    "expected_losses",
    "find_row",
    "gaussian_residual",
    "harel_simplified",
    "kl_inverse",
    "kl_inverse_lower",
    "lambda_grid",
    "majority_vote",
    "maurer_pinsker",
    "mcallester_2003",
    "mcallester_he",
    "mcallester_loose",
    "on_lambda_grid",
    "quadratic",
    "row_names",
    "scale_grid",
    "second_moment",
    "seeger",
    "sensitivities",
    "single_draw",
    "sub_gaussian",
    "thiemann",
    "thiemann_lambda",
    "tolstikhin_seldin_simple",
    "tune",
    "two_stage_bound",
]
