"""One model that is drawn from the posterior and kept, with a certificate of its own."""

import hashlib
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._typing import PRNGKeyArray, Vector
from ..bounds import single_draw
from ..curvature.batching import example_count
from ..curvature.parameters import from_vector
from .certificate import Certificate
from .risk import losses_at
from .store import bound_examples, data_digest, factors


class Deployed(eqx.Module):
    """The `model` with parameters `vector` (d,) has true risk at most `bound`,

    with probability at least 1 - `delta` over the `n` target examples and the one draw. `risk` is
    its empirical risk and `log_ratio` log dQ/dP at the draw, nats. This statement is its own:
    together with the certificate of the randomised predictor both hold with 1 - 2 delta.
    """

    model: Any
    vector: Vector
    bound: float
    risk: float
    log_ratio: float
    n: int
    delta: float


def deploy(
    certificate: Certificate,
    model: Any,
    loss01: Callable[..., Any],
    target_data: Any,
    *,
    trainable: Any = None,
) -> Deployed:
    """Draw one model h ~ Q by a key that nobody chose, and bound its risk, without Monte Carlo.

        kl(r(h) || R(h)) <= (log dQ/dP_j(h) + log(2 sqrt(n) / (delta pi_j))) / n

    (Rivasplata et al. 2020; Catoni 2007.) `target_data` are those of the certificate. The key is
    a hash of posterior, prior and data, so the same certificate always deploys the same model and a
    lucky draw cannot be looked for. Whoever makes many certificates and keeps the one with the
    luckiest draw has drawn many times: the probability is then spent as often.
    """
    data = bound_examples(target_data, certificate.n_prior)
    if data_digest(data) != certificate.data_sha256:
        raise ValueError(
            "target_data are not the examples of this certificate (their digests differ): pass the "
            "same arrays in the same order"
        )
    law = certificate.law
    noise = jax.random.normal(draw_key(certificate), (law.width,))
    vector = law.draw(noise[None, :])[0]
    risk = float(jnp.mean(losses_at(model, loss01, data, vector[None, :], trainable)))
    log_ratio = float(law.log_ratio(noise, certificate.prior_variance))
    n = example_count(data)
    outward = log_ratio + 1e-10 * (1.0 + abs(log_ratio))
    delta = certificate.delta * certificate.prior_weight
    bound = float(single_draw(risk, outward, float(n), delta))
    return Deployed(
        from_vector(model, vector, trainable), vector, bound, risk, log_ratio, n, certificate.delta
    )


def draw_key(certificate: Certificate) -> PRNGKeyArray:
    """The key of the deployed draw: two words of a SHA-256 over everything that could vary it."""
    digest = hashlib.sha256(certificate.data_sha256.encode())
    digest.update(f"{certificate.delta!r} {certificate.prior_variance!r}".encode())
    for name, array in sorted(factors(certificate).items()):
        digest.update(f"{name}{array.shape}".encode())
        digest.update(np.ascontiguousarray(array, dtype="<f8").tobytes())
    words = np.frombuffer(digest.digest()[:8], dtype=">u4").astype(np.uint32)
    return jax.random.wrap_key_data(jnp.asarray(words), impl="threefry2x32")
