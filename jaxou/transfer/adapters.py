"""Low-rank adapters: fine-tuning confined to a subspace, with its law and certificate there.

Hu et al. 2021 (LoRA, arXiv 2106.09685) keep a pre-trained weight W and train a product,

    W_tuned = W + B A,    A (rank, columns),  B (rows, rank), zero at the start.

With A held fixed (Zhang et al. 2023, LoRA-FA, arXiv 2308.03303) this is a subspace through the
pre-trained model. A's rows are orthonormal here, so distances, laws, KL and W2 of the trained
numbers are those of the weights that they move.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .._check import as_count, as_key
from .._typing import PRNGKeyArray, Vector
from ..curvature.parameters import from_vector, to_vector
from ..laws import Gaussian


class Adapted(eqx.Module):
    """A model whose matrices W are W + B A; call it as the model, or take `merged`.

    `inner` and `outer` hold A and B for each matrix of `base`, in pytree order. Give
    `trainable=adapted.trainable` wherever a filter is asked for. In these coordinates the zero
    vector *is* the pre-trained model, so a prior at zero is one at the source.
    """

    base: Any
    inner: tuple[Float[Array, "_ _"], ...]
    outer: tuple[Float[Array, "_ _"], ...]

    def __call__(self, *arguments: Any, **settings: Any) -> Any:
        return self.merged(*arguments, **settings)

    @property
    def merged(self) -> Any:
        """The plain model with every W replaced by W + B A."""
        leaves, structure = jax.tree.flatten(self.base)
        pairs = iter(zip(self.outer, self.inner, strict=True))
        new = [
            leaf + jnp.matmul(*(x.astype(leaf.dtype) for x in next(pairs)))
            if _is_matrix(leaf)
            else leaf
            for leaf in leaves
        ]
        return jax.tree.unflatten(structure, new)

    @property
    def trainable(self) -> "Adapted":
        """The Equinox filter that selects B alone."""
        nothing = jax.tree.map(lambda _: False, self)
        return eqx.tree_at(lambda a: a.outer, nothing, replace=tuple(True for _ in self.outer))

    def lift(self, law: Gaussian) -> Gaussian:
        """A law of the trained numbers as the law of all floating parameters of `base`.

        Dense, and singular: it lives in the subspace. KL between two lifted laws is that between
        the laws. O(d^2 k) for d parameters.
        """
        at = to_vector(self, self.trainable)
        if law.dimension != at.size:
            raise ValueError(
                f"the law has {law.dimension} dimensions, but {at.size} numbers are trained here"
            )

        def weights(vector: Vector) -> Float[Array, " weights"]:
            return to_vector(self._with(vector).merged)

        basis = jax.jacfwd(weights)(at)
        covariance = basis @ law.covariance @ basis.T
        return Gaussian(weights(law.mean), (covariance + covariance.T) / 2)

    def _with(self, vector: Vector) -> "Adapted":
        return from_vector(self, vector, self.trainable)


def adapted(model: Any, rank: int, *, key: PRNGKeyArray) -> Adapted:
    """Adapters of `rank` for every matrix of `model`; at first they change nothing.

    A matrix with fewer rows or columns than `rank` gets as many as fit. Each A is a random
    orthonormal frame. Trains `rank` x rows numbers per matrix; vectors (biases) and the kernels
    of convolutions are left alone.
    Raises `ValueError` if the model has no matrix or `rank` is not a positive integer.

    >>> network = {"inner": jnp.ones((5, 8)), "bias": jnp.zeros(5), "outer": jnp.ones((3, 5))}
    >>> small = adapted(network, 2, key=jax.random.key(0))
    >>> to_vector(small, small.trainable).shape, bool((small.merged["inner"] == 1).all())
    ((16,), True)
    """
    rank, key = as_count(rank, "rank"), as_key(key)
    matrices = [leaf for leaf in jax.tree.leaves(model) if _is_matrix(leaf)]
    if not matrices:
        shapes = [leaf.shape for leaf in jax.tree.leaves(model) if eqx.is_inexact_array(leaf)]
        raise ValueError(
            f"the model has no matrix that could be adapted, its arrays have the shapes {shapes}: "
            "adapters are for 2-d floating arrays, not for the kernels of convolutions; fine-tune "
            "a part of it with trainable="
        )
    inner, outer = [], []
    for number, matrix in enumerate(matrices):
        rows, columns = matrix.shape
        fit = min(rank, rows, columns)
        random = jax.random.normal(jax.random.fold_in(key, number), (columns, fit), matrix.dtype)
        inner.append(jnp.linalg.qr(random)[0].T)
        outer.append(jnp.zeros((rows, fit), matrix.dtype))
    return Adapted(model, tuple(inner), tuple(outer))


def _is_matrix(leaf: Any) -> bool:
    return eqx.is_inexact_array(leaf) and leaf.ndim == 2
