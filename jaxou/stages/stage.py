"""One stage of training: SGD on a quadratic bowl, as a kernel, a flow and a steady law."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .._check import (
    as_count,
    as_float,
    as_number,
    as_point,
    is_concrete,
    refuse_unless,
    show_value,
)
from .._status import Status, status_if
from .._typing import MatrixLike, ScalarLike
from ..kernels import AffineGaussianKernel, as_step_count
from ..laws import Gaussian
from ..laws.gaussian import mean_energy, require_law, require_positive
from ..linalg.algebra import add, as_matrix, with_dimension
from ..linalg.inverse import solve_matrix
from ..linalg.matrices import AbstractMatrix, General, Isotropic
from . import irreversibility, steady, transition, words
from .arguments import common_dimension, noise_with_dimension, recognised
from .noise import Diffusion, Temperature
from .schedule import as_hyper_parameter

RANGES = {
    "learning_rate": "must be > 0",
    "batch_size": "must be at least 1, the number of examples per step",
    "momentum": "must lie in [0, 1); 0.9 is usual",
    "weight_decay": "must be >= 0: a negative one repels from anchor",
    "langevin_temperature": "must be >= 0",
    "population": (
        "must be at least 2 and at least batch_size={batch_size}: a batch drawn without "
        "replacement cannot be larger than the data set"
    ),
}
"""What each number must be, in words."""


class Stage(eqx.Module):
    """SGD near a minimum, in the quadratic model with Gaussian gradient noise.

        theta <- theta - learning_rate g,   g = A (theta - minimum) + N(0, C / batch_size)

    and its continuous limit in flow time s = learning_rate x steps, with eps = learning_rate /
    batch_size:  d theta = -A (theta - minimum) ds + sqrt(eps) C^1/2 dW.

    Arguments (all keyword-only; every one may be traced, and a new number does not recompile):

    - `hessian`: A, symmetric (d, d), or its structure (a number, a vector, `LowRankPlusDiagonal`).
    - `noise`: C, the covariance of ONE example's gradient, or `Diffusion(D)`, or `Temperature(T)`.
    - `minimum`: theta*, shape (d,); a number is broadcast.
    - `learning_rate`, `batch_size`: numbers, or arrays (steps,), or optax schedules.
    - `steps`: how long the stage lasts.
    - `momentum`: beta of optax's buffer, m <- beta m + g, theta <- theta - learning_rate m.
    - `weight_decay`, `anchor`: adds weight_decay (theta - anchor) to g; anchor None is 0 (L2,
      L2-SP).
    - `preconditioner`: constant symmetric positive P in theta <- theta - learning_rate P g.
    - `langevin_temperature`: T of extra noise, 2 T P per unit flow time (P = I without
      preconditioner); with C = 0 the steady law is the Gibbs law at T.
    - `population`: N, if batches are drawn without replacement from N examples and C is over 1/N:
      the noise is C / b (N - b) / (N - 1).

    Source: Mandt, Hoffman, Blei 2017 (arXiv 1704.04289); Liu, Ziyin, Ueda 2021 (arXiv 2012.03636).

    >>> stage = Stage(
    ...     hessian=2.5, noise=0.8, minimum=0.7, learning_rate=0.1, batch_size=16, steps=12
    ... )
    >>> round(float(stage.gibbs().covariance[0, 0]), 12)
    0.001
    >>> round(float(stage.stationary().covariance[0, 0]), 12)
    0.001142857143
    """

    hessian: AbstractMatrix
    noise: AbstractMatrix | Diffusion | Temperature
    minimum: Float[Array, " d"]
    learning_rate: Float[Array, "..."]
    batch_size: Float[Array, "..."]
    steps: Float[Array, ""]
    momentum: Float[Array, ""]
    weight_decay: Float[Array, ""]
    anchor: Float[Array, " d"] | None
    preconditioner: AbstractMatrix | None
    langevin_temperature: Float[Array, ""]
    population: Float[Array, ""] | None
    schedule_length: int | None = eqx.field(static=True)
    has_momentum: bool = eqx.field(static=True)
    has_weight_decay: bool = eqx.field(static=True)

    def __init__(
        self,
        *,
        hessian: MatrixLike,
        noise: MatrixLike,
        minimum,
        learning_rate,
        batch_size,
        steps: ScalarLike,
        momentum: ScalarLike = 0.0,
        weight_decay: ScalarLike = 0.0,
        anchor=None,
        preconditioner: MatrixLike | None = None,
        langevin_temperature: ScalarLike = 0.0,
        population: ScalarLike | None = None,
    ):
        hessian = as_matrix(hessian, "hessian")
        if isinstance(hessian, General):
            raise ValueError("hessian must be symmetric, got a General matrix: ou.Dense(M) is one")
        if not isinstance(noise, Diffusion | Temperature):
            noise = as_matrix(noise, "noise")
            require_positive(noise, "noise")
        minimum = as_float(minimum, "minimum")
        d = common_dimension(minimum, hessian, noise, preconditioner)
        self.hessian = with_dimension(recognised(hessian), d, "hessian")
        self.noise = noise_with_dimension(noise, d)
        self.minimum = as_point(minimum, d, "minimum")
        self.anchor = None if anchor is None else as_point(anchor, d, "anchor")
        self.preconditioner = None
        if preconditioner is not None:
            preconditioner = as_matrix(preconditioner, "preconditioner")
            require_positive(preconditioner, "preconditioner", definite=True)
            self.preconditioner = with_dimension(preconditioner, d, "preconditioner")

        self.learning_rate, self.batch_size, self.steps, self.schedule_length = as_hyper_parameter(
            learning_rate, batch_size, steps
        )
        self.momentum = as_number(momentum, "momentum")
        self.weight_decay = as_number(weight_decay, "weight_decay")
        self.langevin_temperature = as_number(langevin_temperature, "langevin_temperature")
        self.population = None if population is None else as_number(population, "population")
        self.has_momentum = not _is_zero(momentum)
        self.has_weight_decay = not _is_zero(weight_decay)
        self._refuse_bad_values()

    def _refuse_bad_values(self):
        for name, fine in self._in_range().items():
            value = getattr(self, name)
            advice = RANGES[name].format(batch_size=show_value(self.batch_size))
            refuse_unless(fine, f"{name}={show_value(value)} {advice}")

    def _in_range(self):
        """Whether each number is in its range, by name; elementwise."""
        fine = {
            "learning_rate": self.learning_rate > 0,
            "batch_size": self.batch_size >= 1,
            "momentum": (self.momentum >= 0) & (self.momentum < 1),
            "weight_decay": self.weight_decay >= 0,
            "langevin_temperature": self.langevin_temperature >= 0,
        }
        if self.population is not None:
            fine["population"] = (self.population >= 2) & (self.population >= self.batch_size)
        return fine

    def __str__(self) -> str:
        return words.of_stage(self) or repr(self)

    # --- facts -------------------------------------------------------------------------------

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.minimum.shape[0]

    @property
    def state_dimension(self) -> int:
        """d; 2d with momentum: (position, buffer) of the chain, (position, velocity) of the SDE."""
        return self.dimension * (2 if self.has_momentum else 1)

    @property
    def state_dependent(self) -> bool:
        """Whether the noise is a function of the parameters: never here, see `PotentialStage`."""
        return False

    @property
    def scheduled(self) -> bool:
        """Whether learning rate or batch size changes from step to step."""
        return self.schedule_length is not None

    @property
    def duration(self) -> Float[Array, ""]:
        """The flow time that the stage lasts: learning_rate x steps, or the schedule's sum."""
        return self.learning_rate.sum() if self.scheduled else self.learning_rate * self.steps

    @property
    def noise_ratio(self) -> Float[Array, "..."]:
        """eps = learning_rate / batch_size."""
        return self.learning_rate / self.batch_size

    @property
    def effective_hessian(self) -> AbstractMatrix:
        """A + weight_decay I, the Hessian of the loss with its penalty."""
        if not self.has_weight_decay:
            return self.hessian
        return add(self.hessian, Isotropic(self.weight_decay, self.dimension, check=False))

    @property
    def effective_minimum(self) -> Float[Array, " d"]:
        """(A + w I)^-1 (A minimum + w anchor), w = weight_decay: flat directions go to anchor."""
        if not self.has_weight_decay:
            return self.minimum
        anchor = jnp.zeros_like(self.minimum) if self.anchor is None else self.anchor
        pull = self.weight_decay * (anchor - self.minimum)
        return self.minimum + solve_matrix(self.effective_hessian, pull)

    @property
    def temperature(self) -> Float[Array, "..."]:
        """(eps / 2) tr(C) / d + langevin_temperature: the mean temperature, a scalar summary.

        It is *the* temperature of a Gibbs law of the loss only where the noise is isotropic; see
        `irreversibility`.
        """
        return self.noise_rate().trace() / (2 * self.dimension)

    @property
    def status(self) -> Status:
        """ok, or bad_input where a hyper-parameter is out of its range; vmappable."""
        fine = (
            jnp.isfinite(self.learning_rate).all()
            & jnp.isfinite(self.batch_size).all()
            & (self.steps >= 0)
            & jnp.isfinite(self.minimum).all()
            & jnp.isfinite(self.hessian.trace())
        )
        for each in self._in_range().values():
            fine = fine & jnp.all(each)
        if isinstance(self.noise, Temperature):
            fine = fine & (self.noise.value >= 0)
        else:
            matrix = self.noise.matrix if isinstance(self.noise, Diffusion) else self.noise
            fine = fine & jnp.all(matrix.diagonal_part() >= 0)
        return status_if(~fine, Status.bad_input)

    def noise_rate(self) -> AbstractMatrix:
        """2 D: covariance per unit of flow time, eps C (N - b)/(N - 1) + 2 T I, before any P.

        Refused for a schedule with noise C, whose rate changes from step to step.
        """
        if isinstance(self.noise, AbstractMatrix):
            _constant(self, None, "noise_rate")
        return add(transition.gradient_noise_rate(self), transition.langevin_rate(self))

    def at_step(self, step: ScalarLike) -> "Stage":
        """The stage with the hyper-parameters that a schedule has at one step, held constant."""
        if not self.scheduled:
            return self
        index = as_count(step, "step", 0)
        if index >= self.schedule_length:
            raise ValueError(
                f"step={index} is not one of the {self.schedule_length} steps of this schedule; "
                f"the first is 0, the last {self.schedule_length - 1}"
            )
        return self.replace(
            learning_rate=self.learning_rate[index], batch_size=self.batch_size[index]
        )

    def replace(self, **changes) -> "Stage":
        """A stage with some arguments changed, checked like a new one."""
        names = (
            "hessian noise minimum learning_rate batch_size steps momentum weight_decay anchor "
            "preconditioner langevin_temperature population"
        ).split()
        unknown = set(changes) - set(names)
        if unknown:
            raise TypeError(
                f"a Stage has no argument {sorted(unknown)[0]!r}; its arguments are "
                + ", ".join(names)
            )
        new = Stage(**{name: getattr(self, name) for name in names} | changes)
        # A traced number cannot say whether it is zero: keep what was known when it was given.
        for name, flag in (("momentum", "has_momentum"), ("weight_decay", "has_weight_decay")):
            if name not in changes:
                object.__setattr__(new, flag, getattr(self, flag))
        return new

    # --- laws --------------------------------------------------------------------------------

    def gibbs(self, *, step: ScalarLike | None = None, throw: bool = True) -> Gaussian:
        """The steady law of the SDE: A S + S A = eps C; with momentum the position's marginal.

        Needs every eigenvalue of A + weight_decay I above zero. Structured inputs give structured
        laws. A schedule has one steady law per step: give `step`. Cost O(d^3) dense.
        """
        return steady.gibbs(_constant(self, step, "gibbs"), throw)

    def stationary(
        self, method=None, *, step: ScalarLike | None = None, throw: bool = True
    ) -> Gaussian:
        """The steady law of SGD itself, the discrete chain: A S + S A - eta A S A = eps C.

        Needs learning_rate < 2 (1 + momentum) / lambda_max. `method=` gives the steady law of a
        simulation method instead, such as `EulerMaruyama(substeps=4)`.
        """
        stage = _constant(self, step, "stationary")
        if method is None:
            return steady.stationary(stage, throw)
        if not hasattr(method, "steady_law"):
            raise TypeError(
                f"method={method!r} has no steady law: give a method of simulation, such as "
                "ou.EulerMaruyama(substeps=4), or None for SGD itself"
            )
        return method.steady_law(stage)

    def kernel(self, steps: ScalarLike = 1) -> AffineGaussianKernel:
        """SGD's kernel over n steps, exactly; on (position, buffer) with momentum.

        Of a schedule, over its first n steps and no more. Derivatives in everything but n.
        """
        count = as_step_count(steps, "steps")
        refuse_unless(
            transition.within(self, step=count),
            f"step {show_value(count)} is beyond the {self.schedule_length} steps of this stage's "
            "schedule",
        )
        return transition.kernel(self, count)

    def flow(self, time: ScalarLike) -> AffineGaussianKernel:
        """The SDE's kernel over flow time `time` >= 0, exactly, for any symmetric A.

        On (position, velocity per step) with momentum. Of a schedule, from its start, and not
        beyond its duration.
        """
        time = as_number(time, "time")
        refuse_unless(
            time >= 0,
            f"time={show_value(time)} must be >= 0: it is flow time, learning_rate x steps",
        )
        refuse_unless(
            transition.within(self, time=time),
            f"time={show_value(time)} is beyond this stage's schedule, which lasts "
            f"{show_value(self.duration)}: it is flow time, the sum of the learning rates",
        )
        return transition.flow(self, time)

    def sde(self) -> transition.LinearSDE:
        """Drift, fixed point and noise of the SDE on the state, in flow time."""
        return transition.sde(_constant(self, None, "sde"))

    # --- numbers -----------------------------------------------------------------------------

    def entropy_production(self) -> Float[Array, ""]:
        """Entropy production per unit flow time at the steady law: 0 exactly for Gibbs laws.

        e = tr(R^T D^-1 R S^-1) with R = (A S - S A) / 2; +inf if D is singular and R leaves its
        range. Per step multiply by the learning rate. Not defined here for momentum.
        """
        return irreversibility.entropy_production(_constant(self, None, "entropy_production"))

    def irreversibility(self) -> irreversibility.Irreversibility:
        """How far the steady law is from a Gibbs law of the loss, in five numbers and a matrix."""
        return irreversibility.irreversibility(_constant(self, None, "irreversibility"))

    def excess_loss(self, law: Gaussian) -> Float[Array, ""]:
        """E[L - L*] under `law`: tr(A S) / 2 + x^T A x / 2, x = mean - minimum; no penalty."""
        require_law(law, self.dimension, "the stage")
        return mean_energy(law, self.hessian, self.minimum)


def _constant(stage: Stage, step: ScalarLike | None, what: str) -> Stage:
    if stage.scheduled and step is None:
        raise ValueError(
            f"{what}() is undefined for a learning-rate or batch-size schedule, whose steady law "
            f"changes from step to step: ask for {what}(step=k), or for the law at a finite step"
            if what in ("gibbs", "stationary")
            else f"{what}() needs a constant learning rate and batch size: use stage.at_step(k)"
        )
    return stage if step is None else stage.at_step(step)


def _is_zero(value) -> bool:
    # in numpy: inside jit even an operation on known arrays is traced
    return is_concrete(value) and not np.any(np.asarray(value) != 0)
