"""Matrices of the theory: structures, equations that are diagonal in an eigenbasis, flows, powers.

Nothing here draws random numbers, and nothing differentiates an eigenvector.
"""

from .algebra import as_matrix as as_matrix
from .equations import solve_lyapunov as solve_lyapunov
from .factor import eigh as eigh
from .factor import logabsdet as logabsdet
from .factor import solve as solve
from .factor import svd as svd
from .flow import flow_dense as flow_dense
from .flow import flow_symmetric as flow_symmetric
from .matrices import AbstractMatrix as AbstractMatrix
from .matrices import Dense as Dense
from .matrices import Diagonal as Diagonal
from .matrices import General as General
from .matrices import Isotropic as Isotropic
from .matrices import LowRankPlusDiagonal as LowRankPlusDiagonal
from .roots import logdet as logdet
from .roots import pinv as pinv
from .roots import sqrtm as sqrtm
from .spectral import solve_spectral as solve_spectral
from .stein import solve_stein as solve_stein
