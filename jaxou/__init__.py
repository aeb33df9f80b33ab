"""jaxou: pre-training and fine-tuning as Ornstein-Uhlenbeck processes, in JAX.

A training stage is a Markov kernel; its steady law is a fixed point; a generalisation bound is a
function of two laws. Names below are in the order of the theory. They are imported when first
used, so that `import jaxou` and `jaxou --help` stay fast.
"""

import importlib
from importlib.metadata import version as _version

_NAMES = {
    # matrices: the structure is the type
    "linalg": (
        "AbstractMatrix",
        "Isotropic",
        "Diagonal",
        "Dense",
        "LowRankPlusDiagonal",
    ),
    # laws and kernels
    "laws": ("Gaussian", "GaussianDivergence", "Gibbs", "MaxwellBoltzmann"),
    "kernels": ("AffineGaussianKernel",),
    # stages of training
    "stages": (
        "Stage",
        "PotentialStage",
        "Chain",
        "TwoStage",
        "Diffusion",
        "Temperature",
        "LinearSDE",
    ),
    # particles, and whether they have converged
    "particles": (
        "simulate",
        "SGD",
        "Exact",
        "EulerMaruyama",
        "Heun",
        "BAOAB",
        "Diffrax",
        "Moments",
        "Paths",
        "Histogram",
        "Statistic",
        "Energy",
        "Mahalanobis",
        "Snapshots",
        "read_snapshots",
        "AbstractObserver",
        "Run",
        "addressed_normals",
    ),
    "convergence": ("verdict", "Verdict", "agreement", "relaxation", "irreversibility"),
    # bounds
    "bounds": ("discrepancy", "two_stage_bound", "SaturatedRisk", "tune"),
    # from a network and data, or from its iterates
    "curvature": ("fit", "Fit"),
    "transfer": ("certify", "Certificate", "RealSGD"),
    "_status": ("Status",),
}
_MODULES = ("linalg", "laws", "kernels", "stages", "particles", "convergence", "bounds")
_MODULES += ("curvature", "transfer", "plots", "report", "studies", "claims")
_HOME = {name: module for module, names in _NAMES.items() for name in names}

__all__ = [*_HOME, *_MODULES]


def __getattr__(name: str):
    if name == "__version__":
        return _version("jaxou")
    if name in _HOME:
        value = getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return importlib.import_module(f".{name}", __name__)
    raise AttributeError(f"module 'jaxou' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
