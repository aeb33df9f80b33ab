"""The whole question on real data, from images to a certificate: what `jaxou run` computes."""

from .run import Experiment as Experiment
from .run import run_experiment as run_experiment
