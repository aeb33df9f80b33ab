"""How far apart two domains are, in the eyes of the two laws that training on them leaves.

    D(T||S) = tr(S_S^-1 S_T) - d - log det(S_S^-1 S_T) + D^T S_S^-1 D = 2 KL(Q_T || Q_S),

D the shift of the minimum. Zero iff the laws coincide, invariant under affine changes of
parameters, not symmetric, and dominated by the flattest, least noisy directions of the source.
Source: reconstructed from He and Tao 2022 (arXiv 2208.14092).
"""

import equinox as eqx
from jaxtyping import Array, Float

from .._check import holds_numbers, show
from .._status import Status, first_failure, poison, raise_unless_ok
from ..laws import Gaussian
from ..stages import AbstractChain
from .stage_laws import laws_of


class Discrepancy(eqx.Module):
    """2 KL(Q_T || Q_S) and its parts; `trace + logdet + dimension + shift == value`.

    `dimension` is -d, `logdet` log det S_S - log det S_T. The values cost nothing more; the
    properties `reverse_kl`, `jeffreys` and `w2` are computed when asked for.
    """

    value: Float[Array, ""]
    trace: Float[Array, ""]
    logdet: Float[Array, ""]
    dimension: Float[Array, ""]
    shift: Float[Array, ""]
    source: Gaussian
    target: Gaussian
    status: Status

    def __str__(self) -> str:
        if not holds_numbers(self) or self.value.ndim:
            return repr(self)
        if not bool(self.status == Status.ok):
            return f"no discrepancy: {Status[self.status]}"
        return (
            f"discrepancy 2 KL(Q_T || Q_S) = {show(self.value)}: trace {show(self.trace)}, logdet "
            f"{show(self.logdet)}, dimension {show(self.dimension)}, shift {show(self.shift)}"
        )

    @property
    def kl(self) -> Float[Array, ""]:
        """KL(Q_T || Q_S), half of the discrepancy."""
        return self.value / 2

    @property
    def covariance_part(self) -> Float[Array, ""]:
        """What is left without a shift: sum of rho - 1 - log rho over generalised eigenvalues."""
        return self.trace + self.logdet + self.dimension

    @property
    def reverse_kl(self) -> Float[Array, ""]:
        """KL(Q_S || Q_T)."""
        return poison(self.source.kl(self.target), self.status)

    @property
    def jeffreys(self) -> Float[Array, ""]:
        """KL(Q_T || Q_S) + KL(Q_S || Q_T)."""
        return self.kl + self.reverse_kl

    @property
    def w2(self) -> Float[Array, ""]:
        """The Wasserstein-2 distance of the two laws; dense matrices, refused at large d."""
        return poison(self.target.w2(self.source), self.status)


def discrepancy(process: AbstractChain, *, law: str = "gibbs", throw: bool = True) -> Discrepancy:
    """The domain discrepancy 2 KL(Q_T || Q_S) between the two stages of `process`.

    `law` says which laws: "gibbs", "stationary" or "finite" (see `stage_laws`). A stage without a
    steady law raises; with `throw=False`, or inside `jit`, it gives NaN and a `status`. Singular
    laws with different ranges give inf. Cost O(d^3) dense, O(d r^2) structured.

    >>> from jaxou import Gaussian, Stage, TwoStage
    >>> source = Stage(
    ...     hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=10, steps=9
    ... )
    >>> process = TwoStage(source, source.replace(minimum=0.1), Gaussian(0.0, 1.0))
    >>> D = discrepancy(process)
    >>> round(float(D.value), 4), round(float(D.shift), 4), round(float(D.w2), 4)
    (2.0, 2.0, 0.1)
    """
    source, target = laws_of(process, law, throw)
    terms = target.kl_terms(source)
    status = first_failure(source.status, target.status, terms.status)
    raise_unless_ok(status, throw)
    return Discrepancy(
        value=poison(2 * terms.value, status),
        trace=poison(terms.trace, status),
        logdet=poison(terms.logdet, status),
        dimension=terms.dimension,
        shift=poison(terms.shift, status),
        source=source,
        target=target,
        status=status,
    )
