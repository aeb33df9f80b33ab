"""Strict settings for every test: float64, no silent broadcasting or promotion, no warnings."""

import atexit
import os
import shutil
import sys
import tempfile
from pathlib import Path

# OpenBLAS's own threads fight with XLA's over two cores; one BLAS thread is faster and calmer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# What one process compiles, the others (workers, commands under test) need not compile again. The
# first process makes the folder, and the ones that it starts inherit the name.
if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
    cache = tempfile.mkdtemp(prefix="jaxou-tests-")
    atexit.register(shutil.rmtree, cache, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = cache
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
    os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"
# problems, oracles and other shared cases live beside this file and beside the tests
sys.path.insert(0, str(Path(__file__).parent))
sys.path.insert(0, str(Path(__file__).parent / "particles"))

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


SLOW_EXAMPLES = {
    "jaxou.convergence.control_variate.control_variate",
    "jaxou.convergence.escape.escape_times",
    "jaxou.convergence.log_normaliser.log_normaliser",
    "jaxou.convergence.prediction.particles_to_notice",
    "jaxou.convergence.prediction.predict_power",
}
"""Examples in docstrings that take a quarter of a minute each, most of it compilation."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.name in SLOW_EXAMPLES:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def key():
    """A fixed key: a test that fails today fails tomorrow."""
    return jax.random.key(20220831)


@pytest.fixture
def p07():
    """The worked two-stage case in two dimensions."""
    import problems

    return problems.p07()


@pytest.fixture
def p10():
    """The worked two-stage case in fifty dimensions."""
    import problems

    return problems.p10()


@pytest.fixture
def process():
    """Two stages that do not commute."""
    import particle_cases

    return particle_cases.two_stages()
