"""The main job's output, and the same for your own model and data: `jaxou.report.run(...)`."""

from .run import run_and_write as run_and_write  # isort: skip

# after the module of that name, which it hides here
from .experiments import Report as Report  # isort: skip
from .experiments import run as run  # isort: skip
