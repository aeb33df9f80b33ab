"""What long jobs share: phases that show their progress, and the versions that made a result."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from importlib.metadata import PackageNotFoundError, version
from typing import Any

Step = Callable[[str], AbstractContextManager[Any]]
"""`step(title)` surrounds a phase and may give a function that takes sentences about it."""

NO_FIGURES = "No figures: matplotlib is not installed; pip install 'jaxou[plot]' brings it."

PACKAGES = ("jaxou", "jax", "jaxlib", "equinox", "numpy", "scikit-learn", "mlxtend", "matplotlib")


def silent(title: str) -> AbstractContextManager[Any]:
    """The `Step` that shows nothing."""
    return nullcontext()


def drawn(draw: Callable[[], dict[str, bytes]]) -> tuple[dict[str, bytes], str]:
    """The figures, or none and the sentence that says how to get them."""
    try:
        return draw(), ""
    except ImportError as error:
        if "matplotlib" not in str(error):
            raise
        return {}, NO_FIGURES


def versions() -> dict[str, str]:
    """Python's version and that of every package that has a part in the numbers.

    >>> versions()["matplotlib"] != "" and "jax" in versions()
    True
    """
    import platform

    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "absent" if name != "jaxou" else "source tree"
    return found
