"""Convergence: statistics whose null laws are known, verdicts, relaxation, irreversibility."""

from .irreversibility import IrreversibilityReport as IrreversibilityReport
from .irreversibility import irreversibility as irreversibility
from .null_laws import chi2_tail as chi2_tail
from .null_laws import kolmogorov_tail as kolmogorov_tail
from .null_laws import noncentral_chi2_below as noncentral_chi2_below
from .plug_in_kl import PlugInKL as PlugInKL
from .plug_in_kl import null_moments as null_moments
from .plug_in_kl import plug_in_kl as plug_in_kl
from .record import Verdict as Verdict
from .relaxation import Relaxation as Relaxation
from .relaxation import relaxation as relaxation
from .statistics import energy_chi2 as energy_chi2
from .statistics import holm as holm
from .statistics import mahalanobis_ks as mahalanobis_ks
from .statistics import mean_chi2 as mean_chi2
from .verdict import own_laws as own_laws
from .verdict import verdict as verdict
from .whitening import whiten as whiten
