"""Monte Carlo particles: addressed noise, methods, observers and the run."""

from .methods import BAOAB as BAOAB
from .methods import SGD as SGD
from .methods import AbstractMethod as AbstractMethod
from .methods import Diffrax as Diffrax
from .methods import EulerMaruyama as EulerMaruyama
from .methods import Exact as Exact
from .methods import Heun as Heun
from .observe import AbstractObserver as AbstractObserver
from .observe import Energy as Energy
from .observe import Histogram as Histogram
from .observe import Mahalanobis as Mahalanobis
from .observe import MomentRecord as MomentRecord
from .observe import Moments as Moments
from .observe import Paths as Paths
from .observe import Snapshots as Snapshots
from .observe import Statistic as Statistic
from .observe import read_snapshots as read_snapshots
from .random import addressed_normals as addressed_normals
from .run import Run as Run
from .simulate import simulate as simulate
