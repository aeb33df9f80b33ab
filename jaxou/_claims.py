"""Which column of a table of published certificates is what. No jax here."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ._table import TableError, nearest, number_in, simple

# The names under which authors publish, most telling first; compared by `_table.simple`.
COMMON: Mapping[str, tuple[str, ...]] = {
    "risk": (
        "risk", "empirical_risk", "emp_risk", "r_hat", "rhat", "risk_mc", "empirical_error",
        "emp_error", "empirical_loss", "train_risk", "training_risk", "train_error",
        "training_error", "train_01_error", "train_error_01", "train_01", "error_01",
    ),
    "kl": ("kl", "kl_nats", "kl_divergence", "kl_div", "kl_qp", "kl_q_p", "kl_posterior_prior"),
    "kl_over_n": ("kl_over_n", "kl_n", "kl_div_n", "kl_per_example", "kl_over_m", "kl_m"),
    "n": (
        "n", "n_bound", "n_target", "n_examples", "num_examples", "examples", "sample_size",
        "n_train", "train_size",
    ),
    "delta": ("delta", "delta_pac", "delta_bound", "delta_total", "failure_probability"),
    "draws": (
        "draws", "mc_samples", "mc_draws", "n_mc", "num_mc", "n_draws", "num_draws",
        "monte_carlo_samples", "monte_carlo_draws", "n_monte_carlo", "weight_draws",
    ),
    "delta_mc": ("delta_mc", "delta_prime", "delta_monte_carlo", "delta_sampling"),
    "claimed": (
        "claimed", "claim", "certificate", "certified", "risk_certificate", "certified_risk",
        "bound", "risk_bound", "pac_bayes_bound", "claimed_bound", "published", "risk_01",
    ),
}  # fmt: skip

WORDS: Mapping[str, str] = {
    "risk": "empirical risk",
    "kl": "KL in nats",
    "kl_over_n": "KL/n",
    "n": "number of examples",
    "delta": "failure probability",
    "draws": "Monte Carlo draws of the risk",
    "delta_mc": "failure probability of the Monte Carlo step",
    "claimed": "claimed value",
}

_NUMBERS = ("n", "delta", "draws", "delta_mc")  # one number may serve every row
_REQUIRED = ("risk", "n", "delta", "claimed")


class Choice(NamedTuple):
    """Where a quantity comes from: a column, or one number for all rows."""

    column: str | None
    number: float | None
    guessed: bool

    def __str__(self) -> str:
        if self.column is None:
            return f"{self.number:g}"
        return f"{self.column!r}" + (" (guessed)" if self.guessed else "")


def choose(
    names: Iterable[str], asked: Mapping[str, Any], spelling: str = "{}="
) -> dict[str, Choice]:
    """The source of every quantity: what was asked for, else a column with a common name.

    `asked[role]` is a column, a number (n, delta, draws, delta_mc), "none" for nothing, or None for
    a guess. `spelling` is how a role is written in messages. `TableError` names what is missing.

    >>> chosen = choose(["Risk", "KL/n", "n", "Certificate"], {"delta": 0.05})
    >>> {role: str(choice) for role, choice in chosen.items()}["kl_over_n"]
    "'KL/n' (guessed)"
    """
    known = list(names)
    say = lambda role: _say(role, spelling)
    if asked.get("kl") is not None and asked.get("kl_over_n") is not None:
        if "none" not in (asked["kl"], asked["kl_over_n"]):
            raise TableError(f"give {say('kl')} or {say('kl_over_n')}, not both")
    chosen: dict[str, Choice] = {}
    absent = {role for role in COMMON if str(asked.get(role)).lower() == "none"} - {
        role for role in COMMON if asked.get(role) in (None, *known)
    }
    for role in COMMON:
        if (wish := asked.get(role)) is not None and role not in absent:
            chosen[role] = _asked(role, wish, known, say(role))
    # what is risk to the caller is not guessed to be the claim; one delta may serve two steps
    taken = {choice.column for role, choice in chosen.items() if role not in _NUMBERS}
    for role in COMMON:
        if role not in chosen and role not in absent:
            if (column := _guess(role, known, taken)) is not None:
                chosen[role] = Choice(column, None, True)
    if "kl" in chosen and "kl_over_n" in chosen:  # at most one of them was asked for
        chosen.pop("kl" if asked.get("kl_over_n") is not None else "kl_over_n")
    for role in _REQUIRED:
        if role not in chosen:
            number = " or a number" if role in _NUMBERS else ""
            raise TableError(
                f"no column for the {WORDS[role]}: give {say(role)} a column{number}"
                f"; there are {', '.join(known)}"
            )
    if "kl" not in chosen and "kl_over_n" not in chosen:
        raise TableError(
            f"no column for the KL: give {say('kl')} or {say('kl_over_n')} a column; there are "
            + ", ".join(known)
        )
    return {role: chosen[role] for role in COMMON if role in chosen}


def refuse_unpaid(chosen: Mapping[str, Choice], delta_both: bool, spelling: str = "{}=") -> None:
    """`TableError` where it is not said, or said twice, what the Monte Carlo step has spent."""
    say = lambda role: _say(role, spelling)
    if delta_both and "delta_mc" in chosen:
        raise TableError(
            f"{say('delta_both')} spends the stated delta on both events, and "
            f"{say('delta_mc')} {chosen['delta_mc']} is a second statement: give one of them"
        )
    draws = chosen.get("draws")
    if draws is None or draws.number == 0 or delta_both or "delta_mc" in chosen:
        return
    raise TableError(
        f"the risk is an estimate from {say('draws')} {draws} Monte Carlo draws, and nothing says "
        f"what that step spent: give {say('delta_mc')} a column or a number; or "
        f"{say('delta_both')} if the stated delta was used for both steps; or {say('draws')} none "
        "if the risk is already the upper limit"
    )


def _say(role: str, spelling: str) -> str:
    return spelling.format(role.replace("_", "-") if "--" in spelling else role)


def _asked(role: str, wish: Any, known: list[str], flag: str) -> Choice:
    if isinstance(wish, str):
        if known.count(wish) == 1:
            return Choice(wish, None, False)
        alike = [name for name in known if simple(name) == simple(wish)]
        if len(alike) == 1:
            return Choice(alike[0], None, False)
        if len(alike) > 1:
            raise TableError(f"{flag} {wish!r} fits {len(alike)} columns; rename all but one")
    if role in _NUMBERS:
        try:
            return Choice(None, number_in(wish), False)
        except ValueError:
            raise TableError(
                f"{flag} {wish!r} is neither a column nor a number{nearest(str(wish), known)}"
            ) from None
    raise TableError(f"{flag} {wish!r}: no such column{nearest(str(wish), known)}")


def _guess(role: str, known: list[str], taken: set[str | None]) -> str | None:
    plain: dict[str, list[str]] = {}
    for name in known:
        plain.setdefault(simple(name), []).append(name)
    for candidate in COMMON[role]:
        found = plain.get(candidate, [])
        if len(found) == 1 and found[0] not in taken:
            return found[0]
    return None
