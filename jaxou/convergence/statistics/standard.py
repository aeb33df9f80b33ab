"""The whole family, in the order in which a reader asks."""

from .base import AbstractStatistic
from .bures import BuresW2
from .covariance import Covariance
from .edges import ExtremeEigenvalues
from .energy_distance import EnergyDistance
from .equipartition import Equipartition
from .kl import MomentsKL
from .mardia import MardiaKurtosis, MardiaSkewness
from .mean import MeanChi2
from .mmd import MMD
from .shape import MahalanobisKS
from .sliced_w1 import SlicedW1
from .stein import SteinDiscrepancy
from .total_variance import TotalVariance


def standard(pairs: bool = True) -> tuple[AbstractStatistic, ...]:
    """All statistics of one cloud of draws; without `pairs`, those in linear time only.

    Not among them: lag covariances, which need two times (`LagCovariance`).

    >>> [s.name for s in standard(pairs=False)][:3]
    ['mean', 'total variance', 'covariance']
    """
    moments = (MeanChi2(), TotalVariance(), Covariance(), ExtremeEigenvalues(), MomentsKL())
    linear = (*moments, BuresW2(), Equipartition(), MahalanobisKS(), SlicedW1(), MardiaKurtosis())
    if not pairs:
        return linear
    return (*linear, EnergyDistance(), MMD(), SteinDiscrepancy(), MardiaSkewness())
