"""Every shape of the theory, named once.

`d` is the number of parameters of a model and `particles` the number of copies that are followed.
"""

from typing import Any

from jaxtyping import Array, Float, PRNGKeyArray  # noqa: F401  (re-exported vocabulary)

Scalar = Float[Array, ""]
"""A 0-d floating array: a learning rate, a time, a bound."""

Vector = Float[Array, " d"]
"""A point of parameter space."""

Matrix = Float[Array, "d d"]
"""A Hessian, a noise covariance, the covariance of a law."""

Particles = Float[Array, "particles d"]
"""A cloud of parameter vectors, the particle axis first."""

Times = Float[Array, " times"]
"""Flow times, s = learning rate x steps."""

ScalarLike = Any
"""A number, a 0-d array or a tracer; converted by `jaxou._check.as_float`."""

MatrixLike = Any
"""A structured matrix of `jaxou.linalg`, or a 0-d, 1-d or 2-d array that is wrapped into one."""

StageLike = Any
"""A stage of a chain: its number, or its name."""
