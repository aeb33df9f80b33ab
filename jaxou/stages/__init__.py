"""Stages of training: SGD's dictionary to kernels, flows and steady laws; one stage, two, many."""

from .averages import AverageLaw as AverageLaw
from .averages import average_law as average_law
from .averages import exponential_average as exponential_average
from .averages import long_run_covariance as long_run_covariance
from .averages import tail_average as tail_average
from .chain import AbstractChain as AbstractChain
from .chain import Chain as Chain
from .chain import TwoStage as TwoStage
from .irreversibility import Irreversibility as Irreversibility
from .noise import Diffusion as Diffusion
from .noise import Temperature as Temperature
from .potential import PotentialStage as PotentialStage
from .stage import Stage as Stage
from .transition import LinearSDE as LinearSDE
from .transition import integrator_kernel as integrator_kernel
