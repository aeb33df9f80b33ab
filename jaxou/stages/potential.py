"""A stage of training on any differentiable loss, with noise that may depend on the parameters."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float

from .._check import as_count, as_number, as_point, is_concrete, refuse_unless, show_value
from .._typing import ScalarLike
from ..kernels import as_step_count
from ..laws import Gibbs
from ..laws.gaussian import require_positive
from ..laws.gibbs import refuse_bad_potential
from ..linalg.algebra import add, as_matrix, with_dimension
from ..linalg.matrices import AbstractMatrix, Isotropic
from . import words
from .arguments import noise_with_dimension
from .noise import Diffusion, Temperature


class PotentialStage(eqx.Module):
    """SGD on a loss U that need not be quadratic, in the diffusion approximation:

        dx = -grad U(x) ds + N^(1/2) dW,    N = (learning_rate / batch_size) C + 2 T I,

    s = learning_rate x steps. Laws in closed form exist for quadratic losses only (`Stage`); this
    one is followed by particles: `EulerMaruyama`, `Heun`, `BAOAB`, `Diffrax`.

    Arguments (keyword-only but for the first):

    - `potential`: U, a JAX-differentiable function of x (d,) to a number. Numbers that change
      between calls belong in a module's fields (an `equinox.Module` with `__call__`, or
      `equinox.Partial`), so that they do not recompile.
    - `dimension`: d.
    - `noise`: C, the covariance of ONE example's gradient, or `Diffusion(D)`, or `Temperature(T)`
      (with it the steady law is exp(-U / T)); or a function x -> B(x), C(x) = B B^T in the sense
      of Ito: a vector (d,) of standard deviations, or a matrix (d, r).
    - `learning_rate`, `batch_size`, `steps`: numbers.
    - `langevin_temperature`: T of extra noise; not with a function as noise.
    - `centre`: a point (d,) near which the particles are, from which they are measured; float32
      then resolves a narrow law there. The origin by default.

    >>> import jax.numpy as jnp
    >>> well = PotentialStage(
    ...     lambda x: jnp.sum((x**2 - 1.0) ** 2) / 4, dimension=1, noise=Temperature(0.1),
    ...     learning_rate=0.01, steps=500,
    ... )
    >>> float(well.duration)
    5.0
    """

    potential: Callable
    noise: Any
    learning_rate: Float[Array, ""]
    batch_size: Float[Array, ""]
    steps: Float[Array, ""]
    langevin_temperature: Float[Array, ""]
    centre: Float[Array, " d"]
    columns: int | None = eqx.field(static=True)

    def __init__(
        self,
        potential: Any,
        *,
        dimension: Any,
        noise: Any,
        learning_rate: ScalarLike,
        steps: ScalarLike,
        batch_size: ScalarLike = 1,
        langevin_temperature: ScalarLike = 0.0,
        centre: Any = None,
    ):
        dimension = as_count(dimension, "dimension")
        self.centre = as_point(0.0 if centre is None else centre, dimension, "centre")
        refuse_bad_potential(potential, self.centre)
        self.potential = potential
        self.learning_rate = _positive(learning_rate, "learning_rate")
        self.batch_size = _positive(batch_size, "batch_size", least=1)
        self.steps = as_step_count(steps, "steps")
        self.langevin_temperature = as_number(langevin_temperature, "langevin_temperature")
        refuse_unless(
            self.langevin_temperature >= 0,
            f"langevin_temperature={show_value(self.langevin_temperature)} must be >= 0",
        )
        self.columns = _columns(noise, self.centre) if _is_function(noise) else None
        if _is_function(noise):
            if not is_concrete(self.langevin_temperature) or self.langevin_temperature > 0:
                raise ValueError(
                    "langevin_temperature cannot be combined with noise given as a function: put "
                    "the extra columns sqrt(2 T batch_size / learning_rate) I into B(x)"
                )
            self.noise = noise
        else:
            if not isinstance(noise, Diffusion | Temperature):
                noise = as_matrix(noise, "noise")
                require_positive(noise, "noise")
            self.noise = noise_with_dimension(noise, dimension)

    def __str__(self) -> str:
        return words.of_potential_stage(self) or repr(self)

    @property
    def dimension(self) -> int:
        """d, the number of parameters."""
        return self.centre.shape[0]

    @property
    def state_dimension(self) -> int:
        """d: the state is the position."""
        return self.dimension

    @property
    def has_momentum(self) -> bool:
        """Never; see `Stage`."""
        return False

    @property
    def scheduled(self) -> bool:
        """Never; see `Stage`."""
        return False

    @property
    def preconditioner(self) -> None:
        """None; see `Stage`."""
        return None

    @property
    def state_dependent(self) -> bool:
        """Whether the noise is a function of the parameters."""
        return not isinstance(self.noise, AbstractMatrix | Diffusion | Temperature)

    @property
    def effective_minimum(self) -> Float[Array, " d"]:
        """The point from which particles are measured; not a minimum that anything has computed."""
        return self.centre

    @property
    def duration(self) -> Float[Array, ""]:
        """The flow time that the stage lasts: learning_rate x steps."""
        return self.learning_rate * self.steps

    @property
    def ratio(self) -> Float[Array, ""]:
        """eps = learning_rate / batch_size."""
        return self.learning_rate / self.batch_size

    @property
    def temperature(self) -> Float[Array, ""]:
        """T of the Gibbs law exp(-U / T): half the noise rate, where that is isotropic.

        Refused for other noise, with which the steady law is no Gibbs law of U.
        """
        if not self.state_dependent:
            rate = self.noise_rate()
            if isinstance(rate, Isotropic) or self.dimension == 1:
                return rate.diagonal_part()[0] / 2
        raise ValueError(
            "this stage has no temperature: its noise is not isotropic, so that its steady law is "
            "not exp(-U / T). Use noise=ou.Temperature(T)"
        )

    def noise_rate(self) -> AbstractMatrix:
        """N, the noise's covariance per unit of flow time; not for noise given as a function."""
        if self.state_dependent:
            raise ValueError("noise_rate needs noise that does not depend on the parameters")
        extra = Isotropic(2 * self.langevin_temperature, self.dimension, check=False)
        if isinstance(self.noise, AbstractMatrix):
            return add(self.noise.scale(self.ratio), extra)
        rate = self.noise.rate()
        return add(with_dimension(rate, self.dimension, "noise"), extra)

    def replace(self, **changes) -> "PotentialStage":
        """The same stage with some arguments changed, checked again."""
        names = ("noise", "learning_rate", "batch_size", "steps", "langevin_temperature", "centre")
        known = ("potential", "dimension", *names)
        unknown = set(changes) - set(known)
        if unknown:
            raise TypeError(
                f"a PotentialStage has no argument {sorted(unknown)[0]!r}; its arguments are "
                + ", ".join(known)
            )
        arguments = {name: getattr(self, name) for name in names} | changes
        potential = arguments.pop("potential", self.potential)
        return PotentialStage(potential, **{"dimension": self.dimension} | arguments)

    def _no_law(self, name: str):
        raise ValueError(
            f"{name} needs a quadratic loss: the laws of a PotentialStage have no closed form. "
            "Follow particles with ou.simulate(..., method=ou.EulerMaruyama()), ou.Heun() or "
            "ou.BAOAB(friction), or approximate the loss by ou.Stage at its minimum"
        )

    def kernel(self, steps=1):
        """Refused: a loss that is not quadratic has no such law in closed form."""
        self._no_law("kernel")

    def flow(self, time):
        """Refused: a loss that is not quadratic has no such law in closed form."""
        self._no_law("flow")

    def sde(self):
        """Refused: a loss that is not quadratic has no such law in closed form."""
        self._no_law("sde")

    def stationary(self, *args, **keywords):
        """Refused: a loss that is not quadratic has no such law in closed form."""
        self._no_law("stationary")

    def gibbs(self) -> Gibbs:
        """The steady law exp(-U / T), where the noise is isotropic; refused for other noise.

        In one and two dimensions it is normalised, at the cost that `laws.Gibbs` states.
        """
        return Gibbs(self.potential, self.temperature, self.dimension, centre=self.centre)


def _is_function(noise) -> bool:
    return callable(noise) and not isinstance(noise, AbstractMatrix | Diffusion | Temperature)


def _positive(value, name, least=None):
    value = as_number(value, name)
    good = value > 0 if least is None else value >= least
    wanted = "positive" if least is None else f"at least {least}"
    refuse_unless(good, f"{name}={show_value(value)} must be {wanted}")
    return value


def _columns(noise, point) -> int | None:
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        shape = getattr(jax.eval_shape(noise, point), "shape", None)
    d = point.shape[0]
    if shape == (d,):
        return None
    if shape is not None and len(shape) == 2 and shape[0] == d:
        return int(np.asarray(shape[1]))
    raise ValueError(
        f"noise as a function must return B(x) of shape ({d},) or ({d}, r), it returns shape "
        f"{shape}"
    )
