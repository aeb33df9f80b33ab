"""Runs that are large, and runs that blow up."""

import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from byte_cases import environment

import jaxou as ou

PROGRAM = """
import json, resource, time
import jax, jaxou as ou
stage = ou.Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=4, steps=50)
chain = ou.Chain([stage], initial=ou.Gaussian([2.0], 0.0))
start = time.monotonic()
run = ou.simulate(chain, particles=PARTICLES, key=jax.random.key(0), method=ou.EulerMaruyama(),
                  save=2)
variance = float(run.moments.variance[-1, 0])
seconds = time.monotonic() - start
try:
    run.final
    advice = ""
except ValueError as refusal:
    advice = str(refusal)
with open("/proc/self/status") as status:
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
exact = float(chain.law(step=50).covariance[0, 0])
ratio, peak = variance / exact, peak / 2**20
print(json.dumps(dict(seconds=seconds, peak_gib=peak, advice=advice, ratio=ratio)))
"""


@pytest.mark.slow
@pytest.mark.multiprocess
def test_three_hundred_million_particles_fit(capsys):
    count = 300_000_000
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.replace("PARTICLES", str(count))],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=500,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    with capsys.disabled():
        print(found)
    assert found["peak_gib"] < 2
    assert abs(found["ratio"] - 1) < 1e-4 + 4.5 * (2 / count) ** 0.5
    assert "kept none of them" in found["advice"] and "Snapshots" in found["advice"]


@pytest.mark.slow
def test_divergence_is_told_and_nothing_else_breaks(key):
    well = ou.PotentialStage(
        lambda x: jnp.sum(x**4), dimension=1, noise=ou.Temperature(1.0), learning_rate=0.5, steps=40
    )
    chain = ou.Chain([well], initial=ou.Gaussian([3.0], 1.0), names=("steep",))
    with pytest.warns(UserWarning, match=r"no numbers any more from save point 2 on .*'steep'"):
        run = ou.simulate(
            chain,
            particles=3_000,
            key=key,
            method=ou.EulerMaruyama(),
            save=20,
            observe=(ou.Paths(2), ou.Histogram(bins=10, range=(-5.0, 5.0)), ou.Moments()),
        )
    assert np.isfinite(run.moments.variance[0]).all()
    assert not np.isfinite(run.moments.variance[-1]).any()
    assert run.final.shape == (3_000, 1) and jax.tree.leaves(run.observed)
