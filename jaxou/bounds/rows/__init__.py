"""The catalogue of PAC-Bayes bounds, one function a row, and the table that finds them by name.

Every row is called `row(risk, kl, n, delta, **its own parameters)`: empirical risk, KL(posterior ||
prior) in nats, number of examples, failure probability. Arrays broadcast; values are raw (they
may exceed 1, so that gradients survive), and kl = inf gives 1 or inf, never NaN. Concrete bad
values raise `ValueError`, traced ones give NaN.
"""

from collections.abc import Callable

from jaxtyping import Array

from .bernstein import emp_bernstein
from .catoni import catoni_linear, catoni_phi
from .deployed import majority_vote, single_draw
from .lambda_grid import lambda_grid, on_lambda_grid
from .mcallester import (
    harel_simplified,
    maurer_pinsker,
    mcallester_2003,
    mcallester_he,
    mcallester_loose,
)
from .seeger import quadratic, seeger, tolstikhin_seldin_simple
from .thiemann import thiemann, thiemann_lambda
from .unbounded import chi_square, gaussian_residual, second_moment, sub_gaussian

Row = Callable[..., Array]

_FREE: dict[str, Row] = {
    "mcallester_he": mcallester_he,
    "mcallester_loose": mcallester_loose,
    "mcallester_2003": mcallester_2003,
    "maurer_pinsker": maurer_pinsker,
    "harel_simplified": harel_simplified,
    "seeger": seeger,
    "seeger_kl_inverse": seeger,
    "quadratic": quadratic,
    "thiemann": thiemann,
    "lambda": thiemann,
    "tolstikhin_seldin_simple": tolstikhin_seldin_simple,
}
_NEEDS: dict[str, tuple[Row, str]] = {
    "catoni_linear": (catoni_linear, "catoni_lambda=..."),
    "catoni_phi": (catoni_phi, "catoni_lambda=..."),
    "emp_bernstein": (emp_bernstein, "variance=..."),
    "sub_gaussian": (sub_gaussian, "catoni_lambda=..., variance_proxy=..."),
    "second_moment": (second_moment, "catoni_lambda=..., moment=..."),
    "gaussian_residual": (gaussian_residual, "catoni_lambda=..., residual_variance=..."),
    "on_lambda_grid": (on_lambda_grid, "row=ou.bounds.catoni_phi"),
}


def row_names() -> tuple[str, ...]:
    """The names that `find_row` knows and that need no parameter of their own.

    >>> "seeger" in row_names(), "catoni_linear" in row_names()
    (True, False)
    """
    return tuple(_FREE)


def find_row(bound: str | Row) -> Row:
    """A row by its name, or the callable itself: `functools.partial` fixes a row's parameters.

    >>> find_row("lambda") is thiemann
    True
    >>> find_row("mcalester")
    Traceback (most recent call last):
    ...
    ValueError: there is no bound 'mcalester'; the rows are mcallester_he, ...
    """
    if not isinstance(bound, str):
        return bound
    if bound in _FREE:
        return _FREE[bound]
    if bound in _NEEDS:
        _, needs = _NEEDS[bound]
        raise ValueError(
            f"the row {bound!r} has parameters of its own: give "
            f"bound=functools.partial(ou.bounds.{bound}, {needs})"
        )
    if bound in ("single_draw", "majority_vote", "chi_square"):
        raise ValueError(
            f"the row {bound!r} is not a function of (risk, KL, n, delta) of a whole law; call "
            f"ou.bounds.{bound} directly"
        )
    raise ValueError(f"there is no bound {bound!r}; the rows are {', '.join([*_FREE, *_NEEDS])}")


__all__ = [
    "Row",
    "catoni_linear",
    "catoni_phi",
    "chi_square",
    "emp_bernstein",
    "find_row",
    "gaussian_residual",
    "harel_simplified",
    "lambda_grid",
    "majority_vote",
    "maurer_pinsker",
    "mcallester_2003",
    "mcallester_he",
    "mcallester_loose",
    "on_lambda_grid",
    "quadratic",
    "row_names",
    "second_moment",
    "seeger",
    "single_draw",
    "sub_gaussian",
    "thiemann",
    "thiemann_lambda",
    "tolstikhin_seldin_simple",
]
