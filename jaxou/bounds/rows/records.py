"""Every row in words: what it states, what it assumes, where it is from, and when to take it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from .bernstein import emp_bernstein
from .catoni import catoni_linear, catoni_phi
from .deployed import majority_vote, single_draw
from .mcallester import (
    harel_simplified,
    maurer_pinsker,
    mcallester_2003,
    mcallester_he,
    mcallester_loose,
)
from .seeger import quadratic, seeger, tolstikhin_seldin_simple
from .thiemann import thiemann
from .unbounded import chi_square, gaussian_residual, second_moment, sub_gaussian

IID = "n independent examples; the prior is fixed before seeing them"
FIXED = "fixed in advance, or over a grid that is paid for (on_lambda_grid)"


@dataclass(frozen=True)
class BoundRow:
    """One row of the catalogue.

    `statement` bounds the true risk R with probability 1 - delta, c = (KL + log(2 sqrt(n)/delta))/n
    and l1 = log(1/delta). `loss` is the fact about the loss that it rests on, `about` the predictor
    (the randomised one, one draw of it, its vote), `needs` its own arguments and what they are,
    `facts` the arguments that a loss with known facts supplies.
    """

    name: str
    function: Callable[..., Any]
    statement: str
    assumptions: str
    source: str
    tightest: str
    loss: str = "unit"
    about: str = "randomised"
    smallest_n: int = 1
    needs: dict[str, str] = field(default_factory=dict)
    facts: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        own = "; ".join(f"{name}: {what}" for name, what in self.needs.items()) or "nothing else"
        return (
            f"{self.name}\n  R <= {self.statement}\n  assumes   {self.assumptions}\n"
            f"  needs     {own}\n  tightest  {self.tightest}\n  source    {self.source}"
        )


UNIT = f"loss in [0, 1]; {IID}"
_LAMBDA = {"catoni_lambda": FIXED}

RECORDS: tuple[BoundRow, ...] = (
    BoundRow(
        "mcallester_he",
        mcallester_he,
        "r + sqrt((KL + l1 + log n + 2) / (2n - 1))",
        UNIT,
        "McAllester 1999; He, Liu, Tao 2019",
        "never: maurer_pinsker is below it; the form of the papers on SGD",
    ),
    BoundRow(
        "mcallester_loose",
        mcallester_loose,
        "r + sqrt((KL + l1 + (5/2) log n + 8) / (2n - 1))",
        UNIT,
        "McAllester 1999, as in Alquier 2024, Theorem 3.1",
        "never: mcallester_he is below it",
    ),
    BoundRow(
        "mcallester_2003",
        mcallester_2003,
        "r + sqrt((KL + log(n/delta)) / (2(n - 1)))",
        UNIT,
        "McAllester 2003",
        "never: maurer_pinsker is below it for n >= 8",
        smallest_n=2,
    ),
    BoundRow(
        "maurer_pinsker",
        maurer_pinsker,
        "r + sqrt(c/2)",
        UNIT,
        "Maurer 2004 (cs/0411099) and Pinsker's inequality",
        "the simplest good one for risks above about 1/4",
    ),
    BoundRow(
        "harel_simplified",
        harel_simplified,
        "r + sqrt((KL + log(n/delta)) / (2n))",
        f"{UNIT}; n >= 8",
        "Harel et al. 2025",
        "never: maurer_pinsker is below it",
        smallest_n=8,
    ),
    BoundRow(
        "seeger",
        seeger,
        "sup {p : kl(r || p) <= c}",
        UNIT,
        "Seeger 2002; Maurer 2004 (cs/0411099)",
        "nearly always, among the rows without a lambda",
    ),
    BoundRow(
        "quadratic",
        quadratic,
        "(sqrt(r + c/2) + sqrt(c/2))^2",
        UNIT,
        "Rivasplata et al. 2019; Perez-Ortiz et al. 2021",
        "a smooth objective for risks below about 1/4; of order 1/n at r = 0",
    ),
    BoundRow(
        "thiemann",
        thiemann,
        "(r + c/lam) / (1 - lam/2) for every lam in (0, 2) at once",
        UNIT,
        "Thiemann, Igel, Wintenberger, Seldin 2017 (arXiv 1608.05610)",
        "as quadratic, which is its minimum over lam; convex in the posterior at a given lam",
        needs={"lam": "in (0, 2), free to choose; left out: the best"},
    ),
    BoundRow(
        "tolstikhin_seldin_simple",
        tolstikhin_seldin_simple,
        "r + sqrt(2 r c) + 2c",
        UNIT,
        "Tolstikhin, Seldin 2013",
        "never: quadratic is below it; shows the two rates",
    ),
    BoundRow(
        "catoni_linear",
        catoni_linear,
        "r + lambda M^2 / (8n) + (KL + l1) / lambda",
        f"loss in [0, M]; lambda fixed in advance; {IID}",
        "Catoni 2003; Alquier 2024 (arXiv 2110.11216), Theorem 2.1",
        "an objective that is linear in KL; a loss in [0, M]",
        loss="bounded",
        needs=_LAMBDA | {"scale": "the loss's upper end M"},
        facts={"scale": "upper"},
    ),
    BoundRow(
        "catoni_phi",
        catoni_phi,
        "(1 - exp(-(lambda r + KL + l1)/n)) / (1 - exp(-lambda/n))",
        f"lambda fixed in advance; {UNIT}",
        "Catoni 2007 (arXiv 0712.0248)",
        "with a lambda near the best one: it pays no log n, and can be below seeger",
        needs=_LAMBDA,
    ),
    BoundRow(
        "emp_bernstein",
        emp_bernstein,
        "r + (1 + c1) sqrt((e-2) V (KL + log(2 nu1/delta)) / n), or r + 2 (KL + ...) / n",
        UNIT,
        "Tolstikhin, Seldin 2013, Theorem 4",
        "losses that vary little around a mean that is not small",
        smallest_n=2,
        needs={
            "variance": "posterior mean of the unbiased empirical variance",
            "c1": "ratio of a grid, fixed in advance (1.15)",
            "c2": "ratio of a grid, fixed in advance (1.15)",
        },
    ),
    BoundRow(
        "sub_gaussian",
        sub_gaussian,
        "r + lambda s^2 / (2n) + (KL + l1) / lambda",
        f"E exp(t (E loss - loss)) <= exp(s^2 t^2 / 2), t >= 0; lambda fixed in advance; {IID}",
        "Catoni 2003; Alquier 2024 (arXiv 2110.11216), section 5",
        "unbounded losses with light tails",
        loss="variance_proxy",
        needs=_LAMBDA | {"variance_proxy": "s^2, for every parameter"},
        facts={"variance_proxy": "variance_proxy"},
    ),
    BoundRow(
        "second_moment",
        second_moment,
        "r + lambda E_Q E[loss^2] / (2n) + (KL + l1) / lambda",
        f"loss >= 0 with a known bound on E[loss^2]; lambda fixed in advance; {IID}",
        "from exp(-x) <= 1 - x + x^2/2 for x >= 0",
        "unbounded losses >= 0 whatever their upper tail",
        loss="second_moment",
        needs=_LAMBDA | {"moment": "bound on E_Q E[loss^2] under the data's law"},
        facts={"moment": "second_moment"},
    ),
    BoundRow(
        "gaussian_residual",
        gaussian_residual,
        "r + (n / 2 lambda)(u - log(1+u)) + (KL + l1) / lambda, u = lambda s^2 / n",
        f"loss = N(0, s^2)^2 / 2 for every parameter; lambda fixed in advance; {IID}",
        "the moment generating function of chi-square",
        "squared loss with a Gaussian residual",
        loss="residual_variance",
        needs=_LAMBDA | {"residual_variance": "s^2, for every parameter"},
        facts={"residual_variance": "residual_variance"},
    ),
    BoundRow(
        "single_draw",
        single_draw,
        "sup {p : kl(r(h) || p) <= (log dQ/dP(h) + log(2 sqrt(n)/delta)) / n} for one draw h",
        f"{UNIT}; h is drawn once from the posterior",
        "change of measure and Markov's inequality; Rivasplata et al. 2020",
        "one drawn model is deployed: no Monte Carlo step",
        about="single draw",
        needs={"kl": "log dQ/dP of that draw in place of KL"},
    ),
    BoundRow(
        "majority_vote",
        majority_vote,
        "2 x any row on the 0-1 loss",
        f"a vote over classifiers; {UNIT}",
        "Langford, Shawe-Taylor 2002",
        "the deterministic vote is deployed",
        loss="binary",
        about="majority vote",
        needs={"row": "the row to double (seeger)"},
    ),
    BoundRow(
        "chi_square",
        chi_square,
        "r + sqrt(variance (1 + chi2) / (n delta))",
        f"variance of the loss known to be bounded for every parameter; {IID}",
        "Alquier, Guedj 2018",
        "heavy tails on both sides; pays 1/delta, and chi2 is often infinite between Gaussians",
        loss="variance",
        needs={
            "kl": "the chi-square divergence in place of KL",
            "variance": "bound on the loss's variance",
        },
        facts={"variance": "variance"},
    ),
)
