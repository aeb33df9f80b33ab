"""The catalogue of PAC-Bayes bounds, one function a row, and the table that finds them by name.

Every row is called `row(risk, kl, n, delta, **its own parameters)`: empirical risk, KL(posterior ||
prior) in nats, number of examples, failure probability. Arrays broadcast; values are raw (they
may exceed 1, so that gradients survive), and kl = inf gives 1 or inf, never NaN. Concrete bad
values raise `ValueError`, traced ones give NaN.
"""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array

from .bernstein import emp_bernstein as emp_bernstein
from .catoni import catoni_linear as catoni_linear
from .catoni import catoni_phi as catoni_phi
from .deployed import majority_vote as majority_vote
from .deployed import single_draw as single_draw
from .lambda_grid import lambda_grid as lambda_grid
from .lambda_grid import on_lambda_grid as on_lambda_grid
from .mcallester import harel_simplified as harel_simplified
from .mcallester import maurer_pinsker as maurer_pinsker
from .mcallester import mcallester_2003 as mcallester_2003
from .mcallester import mcallester_he as mcallester_he
from .mcallester import mcallester_loose as mcallester_loose
from .seeger import quadratic as quadratic
from .seeger import seeger as seeger
from .seeger import tolstikhin_seldin_simple as tolstikhin_seldin_simple
from .thiemann import thiemann as thiemann
from .thiemann import thiemann_lambda as thiemann_lambda
from .unbounded import chi_square as chi_square
from .unbounded import gaussian_residual as gaussian_residual
from .unbounded import second_moment as second_moment
from .unbounded import sub_gaussian as sub_gaussian

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
_NEEDS: dict[str, str] = {
    "catoni_linear": "catoni_lambda=...",
    "catoni_phi": "catoni_lambda=...",
    "emp_bernstein": "variance=...",
    "sub_gaussian": "catoni_lambda=..., variance_proxy=...",
    "second_moment": "catoni_lambda=..., moment=...",
    "gaussian_residual": "catoni_lambda=..., residual_variance=...",
    "on_lambda_grid": "row=ou.bounds.catoni_phi",
}


def row_names() -> tuple[str, ...]:
    """The names that `find_row` knows and that need no parameter of their own.

    >>> "seeger" in row_names(), "catoni_linear" in row_names()
    (True, False)
    """
    return tuple(_FREE)


def find_row(bound: Any) -> Row:
    """A row by its name, or the callable itself: `functools.partial` fixes a row's parameters.

    >>> find_row("lambda") is thiemann
    True
    >>> find_row("mcalester")
    Traceback (most recent call last):
    ...
    ValueError: there is no bound 'mcalester'; the rows are mcallester_he, ...
    """
    if not isinstance(bound, str):
        if not callable(bound):
            raise TypeError(
                f"bound={bound!r} must be the name of a row, such as 'seeger', or a function "
                "row(risk, kl, n, delta)"
            )
        return bound
    if bound in _FREE:
        return _FREE[bound]
    if bound in _NEEDS:
        raise ValueError(
            f"the row {bound!r} has parameters of its own: give "
            f"bound=functools.partial(ou.bounds.{bound}, {_NEEDS[bound]})"
        )
    if bound in ("single_draw", "majority_vote", "chi_square"):
        raise ValueError(
            f"the row {bound!r} is not a function of (risk, KL, n, delta) of a whole law; call "
            f"ou.bounds.{bound} directly"
        )
    raise ValueError(f"there is no bound {bound!r}; the rows are {', '.join([*_FREE, *_NEEDS])}")
