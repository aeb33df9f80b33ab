"""Structured matrices: one type, and one file, per structure."""

from .base import DENSE_LIMIT as DENSE_LIMIT
from .base import AbstractMatrix as AbstractMatrix
from .dense import Dense as Dense
from .dense import General as General
from .diagonal import Diagonal as Diagonal
from .isotropic import Isotropic as Isotropic
from .low_rank import LowRankPlusDiagonal as LowRankPlusDiagonal
