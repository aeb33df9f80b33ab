"""The main job's output: result.json, report.html, figures, tables and the manifest."""

from .run import run_and_write as run_and_write
