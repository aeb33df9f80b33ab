"""The public names, for type checkers and editors; `__init__.py` imports them when first used."""

from . import bounds as bounds
from . import convergence as convergence
from . import curvature as curvature
from . import kernels as kernels
from . import laws as laws
from . import linalg as linalg
from . import particles as particles
from . import plots as plots
from . import report as report
from . import stages as stages
from . import transfer as transfer
from ._status import Status as Status
from .bounds import SaturatedRisk as SaturatedRisk
from .bounds import discrepancy as discrepancy
from .bounds import tune as tune
from .bounds import two_stage_bound as two_stage_bound
from .convergence import Verdict as Verdict
from .convergence import verdict as verdict
from .kernels import AffineGaussianKernel as AffineGaussianKernel
from .laws import Gaussian as Gaussian
from .laws import GaussianDivergence as GaussianDivergence
from .linalg import AbstractMatrix as AbstractMatrix
from .linalg import Dense as Dense
from .linalg import Diagonal as Diagonal
from .linalg import Isotropic as Isotropic
from .linalg import LowRankPlusDiagonal as LowRankPlusDiagonal
from .particles import BAOAB as BAOAB
from .particles import SGD as SGD
from .particles import AbstractObserver as AbstractObserver
from .particles import Diffrax as Diffrax
from .particles import Energy as Energy
from .particles import EulerMaruyama as EulerMaruyama
from .particles import Exact as Exact
from .particles import Heun as Heun
from .particles import Histogram as Histogram
from .particles import Mahalanobis as Mahalanobis
from .particles import Moments as Moments
from .particles import Paths as Paths
from .particles import Run as Run
from .particles import Snapshots as Snapshots
from .particles import Statistic as Statistic
from .particles import addressed_normals as addressed_normals
from .particles import read_snapshots as read_snapshots
from .particles import simulate as simulate
from .stages import Chain as Chain
from .stages import Diffusion as Diffusion
from .stages import LinearSDE as LinearSDE
from .stages import PotentialStage as PotentialStage
from .stages import Stage as Stage
from .stages import Temperature as Temperature
from .stages import TwoStage as TwoStage
from .transfer import Certificate as Certificate
from .transfer import certify as certify

__version__: str
__all__: list[str]
