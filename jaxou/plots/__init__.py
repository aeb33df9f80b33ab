"""Figures as pure functions of arrays: each takes and returns `Axes` and changes nothing global.

One law keeps one colour in every figure (`COLOURS`); theory is black and dashed; the colours are
told apart by the colour-blind. Wrap calls in `with style():` for the house style. Needs
`pip install 'jaxou[plot]'`.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ImportError as _error:  # pragma: no cover - exercised in a subprocess
    raise ImportError(
        "jaxou.plots draws with matplotlib, which is not installed: pip install 'jaxou[plot]'"
    ) from _error

from jaxou.plots._bound import bound_decomposition as bound_decomposition
from jaxou.plots._bound_curves import bound_against_n as bound_against_n
from jaxou.plots._bound_curves import stopping as stopping
from jaxou.plots._bound_map import bound_map as bound_map
from jaxou.plots._bound_terms import bound_terms as bound_terms
from jaxou.plots._calibration import calibration as calibration
from jaxou.plots._calibration import chi_square_quantile as chi_square_quantile
from jaxou.plots._cloud import cloud as cloud
from jaxou.plots._current import current as current
from jaxou.plots._decay import decay as decay
from jaxou.plots._fan import trajectory_fan as trajectory_fan
from jaxou.plots._relaxation import relaxation as relaxation
from jaxou.plots._spectra import spectra as spectra
from jaxou.plots._study import study_lines as study_lines
from jaxou.plots._study import study_map as study_map
from jaxou.plots._study import study_scatter as study_scatter
from jaxou.plots._style import COLOURS as COLOURS
from jaxou.plots._style import mark_stage_change as mark_stage_change
from jaxou.plots._style import style as style
from jaxou.plots._verdict import p_values_of as p_values_of
from jaxou.plots._verdict import verdict as verdict
