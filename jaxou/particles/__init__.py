"""Monte Carlo particles: addressed noise, methods, observers and the run."""

from .diffrax_method import Diffrax as Diffrax
from .euler_maruyama import EulerMaruyama as EulerMaruyama
from .exact import Exact as Exact
from .method import AbstractMethod as AbstractMethod
from .observe import MomentRecord as MomentRecord
from .observe import Moments as Moments
from .observe import Paths as Paths
from .run import Run as Run
from .sgd import SGD as SGD
from .simulate import simulate as simulate
