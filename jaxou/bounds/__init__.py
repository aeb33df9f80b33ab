"""PAC-Bayes: the kl inverse, the catalogue of bounds, and the bound over two stages."""

from .bernoulli import binary_kl
from .discrepancies import Discrepancy, discrepancy
from .inversion import kl_inverse, kl_inverse_lower
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
from .stage_bound import StageBound
from .terms import BoundTerms
from .tuning import Tuned, tune
from .two_stage import TwoStageBound, two_stage_bound

__all__ = [
    "BoundPath",
    "BoundTerms",
    "Discrepancy",
    "SaturatedRisk",
    "StageBound",
    "Tuned",
    "TwoStageBound",
    "binary_kl",
    "bound_path",
    "catoni_linear",
    "catoni_phi",
    "chi_square",
    "discrepancy",
    "emp_bernstein",
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
    "single_draw",
    "sub_gaussian",
    "thiemann",
    "thiemann_lambda",
    "tolstikhin_seldin_simple",
    "tune",
    "two_stage_bound",
]
