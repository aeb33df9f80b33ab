"""Averages of iterates: of the last m, of every c-th one (SWA), and with decaying weights (EMA).

An average is one more linear function of the past, so a stage's state and its average are together
an affine Gaussian chain, and their joint law is exact:

    sum:  x' = M x + c + n,   s' = s + x'                            average of m iterates = s / m
    EMA:  x' = M x + c + n,   a' = decay a + (1 - decay) x'

m steps are a power of the augmented kernel: at most 2 log2(m) products. With the learning rate
constant the average's law forgets the learning rate (Polyak and Ruppert): m Cov -> A^-1 C A^-1 / b.
Sources: Polyak and Juditsky 1992, doi:10.1137/0330046; Izmailov et al. 2018, arXiv:1803.05407.
"""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from .._check import as_number, refuse_unless, show_value
from .._status import poison
from .._typing import Matrix, ScalarLike, StageLike
from ..kernels import AffineGaussianKernel, as_step_count
from ..laws import Gaussian
from ..linalg.algebra import densified
from ..linalg.factor import solve
from ..linalg.matrices import Dense, General
from .chain import AbstractChain, Chain
from .stage import Stage

WHY = "the law of an average of iterates"


class AverageLaw(eqx.Module):
    """The joint Gaussian law of a stage's state and an average of its positions.

    `joint` is the law of (state, average), where the state is the position (d,), with momentum
    (position, buffer). `average` and `iterate` are the marginals of the average and of the position
    that comes last, `cross` (d, d) is Cov(average, iterate).
    """

    joint: Gaussian
    dimension: int = eqx.field(static=True)

    @property
    def average(self) -> Gaussian:
        """The law of the average, on R^d."""
        return self._part(slice(-self.dimension, None))

    @property
    def iterate(self) -> Gaussian:
        """The law of the position that comes last, on R^d."""
        return self._part(slice(0, self.dimension))

    @property
    def cross(self) -> Matrix:
        """Cov(average, iterate), (d, d)."""
        return self.joint.covariance[-self.dimension :, : self.dimension]

    def _part(self, rows: slice) -> Gaussian:
        covariance = Dense(self.joint.covariance[rows, rows], check=False)
        return Gaussian(self.joint.mean[rows], covariance, status=self.joint.status, check=False)


def sum_kernel(kernel: AffineGaussianKernel, dimension: int) -> AffineGaussianKernel:
    """The kernel of (state, s), s' = s + position of the new state, its first `dimension` numbers.

    >>> walk = sum_kernel(AffineGaussianKernel(1.0, [0.0], 1.0), 1).power(3)
    >>> walk.covariance.dense().tolist()
    [[3.0, 6.0], [6.0, 14.0]]
    """
    return _augmented(kernel, dimension, 1.0, 1.0)


def moving_kernel(
    kernel: AffineGaussianKernel, dimension: int, decay: ScalarLike
) -> AffineGaussianKernel:
    """The kernel of (state, a) with a' = decay a + (1 - decay) position of the new state."""
    decay = as_number(decay, "decay")
    return _augmented(kernel, dimension, decay, 1 - decay)


def tail_average(
    stage: Any, iterates: ScalarLike, *, initial: Any = None, every: ScalarLike = 1
) -> AverageLaw:
    """The law of (state, mean of the next m = `iterates` positions), exactly.

    The chain starts from `initial`, the law of the state or of the position (momentum's buffer is
    then zero), by default from the steady law of SGD. Positions are taken after `every`,
    2 `every`, ... steps, as stochastic weight averaging (SWA) does.

    Cost: 2 log2(m) products of matrices of size 2d (3d with momentum), and as many for `every`.
    A new m does not recompile. Refused: schedules, whose step changes.

    >>> stage = Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1, steps=1)
    >>> law = tail_average(stage, 2, initial=Gaussian(1.0, 0.0))
    >>> law.average.mean.tolist(), law.average.covariance.tolist()
    ([0.375], [[0.203125]])
    """
    count = as_step_count(iterates, "iterates")
    refuse_unless(count >= 1, "iterates=0 must be at least 1: an average needs an iterate")
    kernel, start = _kernel_and_start(stage, initial, every)
    law = sum_kernel(kernel, stage.dimension).power(count)(_with_average(start, stage, 0.0))
    d, size = stage.dimension, law.dimension
    scale = jnp.where(jnp.arange(size) < size - d, 1.0, 1 / count)
    covariance = scale[:, None] * law.covariance * scale[None, :]
    joint = Gaussian(
        scale * law.mean, Dense(covariance, check=False), status=law.status, check=False
    )
    return AverageLaw(joint, d)


def exponential_average(
    stage: Stage,
    decay: ScalarLike,
    *,
    steps: ScalarLike | None = None,
    initial: Gaussian | None = None,
    every: ScalarLike = 1,
) -> AverageLaw:
    """The law of (state, a) with a <- decay a + (1 - decay) x after every `every` steps.

    After `steps` updates of a, which starts as the first position; without `steps` the steady law
    of both, for which the stage must be stable. decay lies in [0, 1); 0 gives the iterate back.
    `initial` and cost are those of `tail_average`.

    >>> stage = Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1, steps=1)
    >>> law = exponential_average(stage, 0.5)
    >>> round(float(law.iterate.covariance[0, 0]), 4), round(float(law.average.covariance[0, 0]), 4)
    (0.3333, 0.1852)
    """
    decay = as_number(decay, "decay")
    inside = (decay >= 0) & (decay < 1)
    refuse_unless(inside, f"decay={show_value(decay)} must lie in [0, 1); 0.99 is usual")
    decay = jnp.where(inside, decay, jnp.nan)
    if steps is None:
        if initial is not None:
            raise ValueError("initial= is forgotten at steady state: give steps= with it")
        kernel = _constant(stage).kernel(every)
        return AverageLaw(
            moving_kernel(kernel, stage.dimension, decay).fixed_point(), stage.dimension
        )
    kernel, start = _kernel_and_start(stage, initial, every)
    power = moving_kernel(kernel, stage.dimension, decay).power(as_step_count(steps, "steps"))
    return AverageLaw(power(_with_average(start, stage, 1.0)), stage.dimension)


def average_law(
    process: Any,
    *,
    stage: StageLike = -1,
    step: ScalarLike | None = None,
    window: ScalarLike | None = None,
    decay: ScalarLike | None = None,
    every: ScalarLike = 1,
) -> AverageLaw:
    """The law of an average of SGD's iterates within a stage of a chain, at a finite step.

    With `window=m`: the mean of m iterates, the last one after `step` steps of the stage (by
    default its end), `every` steps apart. With `decay`: the exponential average, updated after
    every `every` steps and begun at the stage's first position; `step` must be a multiple of it.

    >>> stage = Stage(hessian=1.0, noise=1.0, minimum=0.0, learning_rate=0.5, batch_size=1, steps=9)
    >>> chain = Chain([stage], initial=Gaussian(1.0, 0.0))
    >>> law = average_law(chain, window=4)
    >>> law.average.mean.tolist(), law.iterate.mean.tolist() == chain.law(step=9).mean.tolist()
    ([0.0073242...], True)
    """
    if not isinstance(process, AbstractChain):
        raise TypeError(
            f"process must be a chain of stages, got {type(process).__name__}: "
            "ou.Chain([stage], initial=...), or tail_average(stage, m)"
        )
    if (window is None) == (decay is None):
        raise ValueError(
            "give exactly one of window=m (the mean of the last m iterates) and decay= (an "
            f"exponential average); got window={window}, decay={decay}"
        )
    k = process.index(stage)
    each = process.stages[k]
    step = as_step_count(each.steps if step is None else step, "step")
    apart = as_step_count(every, "every")
    if window is None:
        updates = step / apart
        refuse_unless(
            updates == jnp.floor(updates),
            f"step={show_value(step)} is not a multiple of every={show_value(apart)}",
        )
        start = process.enter(k, process.state_law(k, step=0))
        return exponential_average(each, decay, steps=updates, initial=start, every=apart)
    before = step - apart * as_step_count(window, "window")
    refuse_unless(
        before >= 0,
        f"a window of {show_value(window)} iterates, {show_value(apart)} steps apart, does not fit "
        f"into {show_value(step)} steps",
    )
    return tail_average(each, window, initial=process.state_law(k, step=before), every=apart)


def long_run_covariance(stage: Stage) -> Matrix:
    """lim m Cov(mean of m iterates): (I - M)^-1 Q (I - M)^-T of one step, the position's block.

    For SGD it is A^-1 C A^-1 / b, whatever learning rate, momentum and preconditioner. Needs a
    stable stage with a Hessian that has no zero eigenvalue, and is refused (NaN under tracing)
    for others. Cost O(d^3).

    >>> stage = Stage(hessian=2.0, noise=3.0, minimum=0.0, learning_rate=0.1, batch_size=5, steps=1)
    >>> round(float(long_run_covariance(stage)[0, 0]), 12)
    0.15
    """
    status = _constant(stage).stationary().status
    step = stage.kernel(1)
    matrix = densified(step.matrix, WHY).dense()
    gap = jnp.eye(step.dimension, dtype=matrix.dtype) - matrix
    half = solve(gap, densified(step.covariance, WHY).dense())
    return poison(solve(gap, half.T)[: stage.dimension, : stage.dimension], status)


def _augmented(kernel, d, keep, gain):
    size, dtype = kernel.dimension, kernel.offset.dtype
    m, q = (densified(x, WHY).dense() for x in (kernel.matrix, kernel.covariance))
    take = gain * jnp.eye(d, size, dtype=dtype)
    eye = jnp.eye(d, dtype=dtype)
    matrix = jnp.block([[m, jnp.zeros((size, d), dtype)], [take @ m, keep * eye]])
    noise = jnp.block([[q, q @ take.T], [take @ q, take @ q @ take.T]])
    offset = jnp.concatenate([kernel.offset, take @ kernel.offset])
    return AffineGaussianKernel(
        General(matrix, check=False), offset, Dense(noise, check=False), check=False
    )


def _constant(stage: Stage) -> Stage:
    if not isinstance(stage, Stage):
        raise TypeError(
            f"averages have exact laws for ou.Stage only, got {type(stage).__name__}: average the "
            "paths of particles instead, ou.convergence.path_average(run)"
        )
    if stage.scheduled:
        raise ValueError(
            "the average of iterates under a schedule is no power of one kernel: use "
            "stage.at_step(k), or average the paths of particles"
        )
    return stage


def _kernel_and_start(stage, initial, every):
    stage = _constant(stage)
    every = as_step_count(every, "every")
    refuse_unless(every >= 1, "every=0 must be at least 1 step")
    if initial is None:
        steady = stage.stationary()
        initial = steady.joint() if stage.has_momentum else steady
    if not (isinstance(initial, Gaussian) and initial.dimension == stage.state_dimension):
        # the chain refuses what is not a law of the position
        initial = Chain([stage], initial=initial).enter(0, initial)
    return stage.kernel(every), initial


def _with_average(law: Gaussian, stage, share: float) -> Gaussian:
    """(state, share x position) for the law of a state."""
    d, size = stage.dimension, law.dimension
    take = jnp.concatenate([jnp.eye(size), share * jnp.eye(d, size)]).astype(law.mean.dtype)
    covariance = Dense(take @ law.covariance @ take.T, check=False)
    return Gaussian(take @ law.mean, covariance, status=law.status, check=False)
