"""Strict settings for every test: float64, no silent broadcasting or promotion, no warnings."""

import os

# OpenBLAS's own threads fight with XLA's over two cores; one BLAS thread is faster and calmer.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


@pytest.fixture
def key():
    """A fixed key: a test that fails today fails tomorrow."""
    return jax.random.key(20220831)
