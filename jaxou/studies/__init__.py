"""Studies: designs over the settings of an experiment, run in batches, resumed, collected.

>>> from jaxou.studies import Study, ready
>>> study = ready.load("target_size")
>>> study.axes
('bound.n_target', 'problem.shift')
"""

from ..config import ConfigError as ConfigError
from .cells import StudyError as StudyError
from .collect import Table as Table
from .collect import collect as collect
from .collect import write_tables as write_tables
from .engine import Summary as Summary
from .engine import run as run
from .study import Cell as Cell
from .study import Study as Study

__all__ = [
    "Cell",
    "ConfigError",
    "Study",
    "StudyError",
    "Summary",
    "Table",
    "collect",
    "run",
    "write_tables",
]
