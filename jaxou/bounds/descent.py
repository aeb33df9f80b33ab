"""Minimising in free coordinates, in one compiled scan: optax's optimisers and optimistix's.

Both return the best point, its value, the values along the way and the points along the way.
"""

import equinox as eqx
import jax
import jax.numpy as jnp


def by_optax(value_and_grad, start, optimizer, steps: int, clip):
    """`steps` updates; where the value is not finite, back to the best point and half the pace."""

    def iterate(carry, _):
        point, state, best, best_value, pace = carry
        value, slope = value_and_grad(point)
        finite = jnp.isfinite(value) & jnp.stack([jnp.isfinite(g).all() for g in slope]).all()
        better = finite & (value < best_value)
        best = _where(better, point, best)
        best_value = jnp.where(better, value, best_value)
        slope = _where(finite, slope, _zeros(slope))
        with jax.numpy_dtype_promotion("standard"):  # optax mixes its integer count with floats
            updates, moved = optimizer.update(slope, state, point)
        ahead = clip([u + pace * step for u, step in zip(point, updates, strict=True)])
        following = _where(finite, ahead, best)
        state = _where(finite, moved, optimizer.init(following))
        pace = jnp.where(finite, pace, pace / 2.0)
        return (following, state, best, best_value, pace), (value, point)

    one = jnp.ones((), start[0].dtype)
    carry = (start, optimizer.init(start), start, jnp.inf * one, one)
    (_, _, best, best_value, _), history = jax.lax.scan(iterate, carry, None, length=steps + 1)
    return best, best_value, *history


def by_optimistix(value, start, solver, steps: int):
    """At most `steps` steps of an optimistix minimiser; the row stays where it has converged."""

    def fn(point, _):
        found = value(point)
        # a line search backs away from infinity, and nothing compares with NaN
        return jnp.where(jnp.isnan(found), jnp.inf, found), None

    struct = jax.eval_shape(lambda p: fn(p, None)[0], start)
    with jax.numpy_dtype_promotion("standard"), jax.numpy_rank_promotion("allow"):
        state = solver.init(fn, start, None, {}, struct, None, frozenset())
        dynamic, static = eqx.partition(state, eqx.is_array)

        def iterate(carry, _):
            point, dynamic, done = carry

            def step(point, dynamic):
                state = eqx.combine(dynamic, static)
                moved, state, _ = solver.step(fn, point, None, {}, state, frozenset())
                finished, _ = solver.terminate(fn, moved, None, {}, state, frozenset())
                return moved, eqx.partition(state, eqx.is_array)[0], finished

            stay = lambda point, dynamic: (point, dynamic, jnp.asarray(True))
            carry = jax.lax.cond(done, stay, step, point, dynamic)
            return carry, point

        first = (start, dynamic, jnp.asarray(False))
        _, points = jax.lax.scan(iterate, first, None, length=steps + 1)
    values = jax.lax.map(value, points)
    best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
    return jax.tree.map(lambda x: x[best], points), values[best], values, points


def _where(condition, left, right):
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), left, right)


def _zeros(tree):
    return jax.tree.map(jnp.zeros_like, tree)
