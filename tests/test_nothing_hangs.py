"""Batched factorisations must not deadlock XLA's thread pool, in default settings."""

import os
import subprocess
import sys

import pytest

PROGRAM = """
import jax, jax.numpy as jnp
jax.config.update("jax_enable_x64", True)
import jaxou as ou

b, d = 1_000, 50
roots = jax.random.normal(jax.random.key(0), (2, b, d, d)) / d**0.5
s1, s0 = jnp.eye(d) + roots @ roots.mT
mean = jnp.zeros((b, d))

def kl(mean, s1, s0):
    law = ou.Gaussian(mean, ou.Dense(s1, check=False))
    return law.kl(ou.Gaussian(mean + 0.1, ou.Dense(s0, check=False)))

value = jax.jit(jax.vmap(kl))(mean, s1, s0)
gradient = jax.jit(jax.vmap(jax.grad(kl, argnums=(1, 2))))(mean, s1, s0)
assert jnp.isfinite(value).all() and jnp.isfinite(gradient[0]).all()
print("finished")
"""


@pytest.mark.multiprocess
@pytest.mark.parametrize(
    "attempt", [0, *(pytest.param(k, marks=pytest.mark.slow) for k in range(1, 10))]
)
def test_batched_kl_and_its_gradient_finish(attempt):
    defaults = {
        name: value
        for name, value in os.environ.items()
        if name not in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "NPROC", "XLA_FLAGS")
    }
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=defaults, timeout=60, capture_output=True, text=True
    )
    assert done.stdout.strip() == "finished", done.stderr[-2000:]
