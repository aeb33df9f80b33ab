"""Relaxation to a stage's steady law: exact lines, rates, times, and particles' points."""

from .clock import CHAIN as CHAIN
from .clock import SDE as SDE
from .clock import Clock as Clock
from .clock import clock_of as clock_of
from .clock import stage_rows as stage_rows
from .directions import Direction as Direction
from .fit import Fit as Fit
from .lines import Line as Line
from .lines import dissipation as dissipation
from .lines import reach as reach
from .points import Points as Points
from .rates import Rates as Rates
from .rates import rates as rates
from .relaxation import Relaxation as Relaxation
from .relaxation import StageRelaxation as StageRelaxation
from .relaxation import relaxation as relaxation
