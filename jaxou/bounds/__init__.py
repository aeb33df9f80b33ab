"""PAC-Bayes: the kl inverse, the catalogue of bounds, and the bound over two stages."""

from .audit import audit
from .audited import Audit
from .bernoulli import binary_kl
from .best_posterior import BestPosterior, best_posterior
from .discrepancies import Discrepancy, discrepancy
from .dominance import Dominance, dominance, dominance_of
from .inversion import kl_inverse, kl_inverse_lower
from .objective import TargetBound
from .path import BoundPath, bound_path
from .risk import SaturatedRisk
from .rows import (
    catoni_linear,
    catoni_phi,
    chi_square,
    emp_bernstein,
    find_row,
    harel_simplified,
    majority_vote,
    maurer_pinsker,
    mcallester_2003,
    mcallester_he,
    mcallester_loose,
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

__all__ = [
    "Audit",
    "BestPosterior",
    "BestStopping",
    "BoundPath",
    "BoundTerms",
    "CheckpointPrior",
    "Discrepancy",
    "Dominance",
    "ExpectedLosses",
    "SaturatedRisk",
    "Sensitivities",
    "StageBound",
    "TargetBound",
    "Tuned",
    "TwoStageBound",
    "audit",
    "best_posterior",
    "best_stopping",
    "binary_kl",
    "bound_path",
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
    "harel_simplified",
    "kl_inverse",
    "kl_inverse_lower",
    "majority_vote",
    "maurer_pinsker",
    "mcallester_2003",
    "mcallester_he",
    "mcallester_loose",
    "quadratic",
    "row_names",
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
