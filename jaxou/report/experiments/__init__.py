"""Experiments beside the main job: `jaxou run diabetes`, `jaxou run network`, and your own."""

from .user import Report as Report
from .user import run as run
