"""Is a steady law a Gibbs law of the loss? From the law itself, and from particles' paths."""

from .current import SteadyCurrent as SteadyCurrent
from .current import steady_current as steady_current
from .irreversibility import IrreversibilityReport as IrreversibilityReport
from .irreversibility import irreversibility as irreversibility
from .pairs import PairDivergence as PairDivergence
from .pairs import pair_divergence as pair_divergence
from .pairs import reversal_divergence as reversal_divergence
from .reversal import Reversal as Reversal
