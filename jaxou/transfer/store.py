"""A certificate on disk: numbers in certificate.json, the two laws' factors in factors.npz."""

import hashlib
import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..bounds.ledger import Ledger
from .accounts import open_account
from .domains import sha256
from .posterior import Posterior
from .priors import ScaleGrid
from .roots import AbstractRoot, DenseRoot, DiagonalRoot, LowRankRoot

FORMAT = 1
NUMBERS, FACTORS = "certificate.json", "factors.npz"

_ROOTS: dict[str, type[AbstractRoot]] = {
    "dense": DenseRoot,
    "diagonal": DiagonalRoot,
    "low_rank": LowRankRoot,
}


class CertificateError(ValueError):
    """A folder that holds no certificate that can be read; the message is one line."""


def data_digest(data: Any) -> str:
    """SHA-256 of the examples: shapes, types and bytes of every array, in order."""
    return sha256(*(np.asarray(leaf) for leaf in jax.tree.leaves(data)))


def bound_examples(target_data: Any, n_prior: int) -> Any:
    """The examples that the bound is about: all but the first `n_prior`, as jax arrays."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf)[n_prior:], target_data)


def factors(certificate: Any) -> dict[str, np.ndarray]:
    """Every array of the posterior and the prior by name."""
    law = certificate.law
    root = next(name for name, kind in _ROOTS.items() if isinstance(law.basis, kind))
    arrays = {
        "center": law.center,
        "variances": law.variances,
        "shift": law.shift,
        **({} if law.factor is None else {"factor": law.factor}),
        **{f"{root}.{name}": getattr(law.basis, name) for name in law.basis.__dataclass_fields__},
    }
    return {name: np.asarray(array) for name, array in arrays.items()}


def save_certificate(
    certificate: Any, folder: str | Path, *, experiment: dict[str, Any] | None = None
) -> Path:
    """Write `certificate` into `folder`; returns the folder.

    `experiment` names a built-in experiment whose data the command `jaxou verify` can load
    again (see `jaxou.transfer.headline`); your own are verified from Python by `verify`.
    """
    return write_packed(*packed(certificate, experiment), folder)


def packed(
    certificate: Any, experiment: dict[str, Any] | None = None
) -> tuple[str, dict[str, np.ndarray]]:
    """What a folder holds of `certificate`: the text of certificate.json, and the factors."""
    arrays = factors(certificate)
    record = {
        "format": FORMAT,
        "numbers": certificate.as_dict(),
        "scales": {
            name: getattr(certificate.scales, name)
            for name in certificate.scales.__dataclass_fields__
        },
        "key_data": list(certificate.key_data),
        "experiment": experiment,
        "factors_sha256": factors_digest(arrays),
    }
    record["seal"] = seal(record)
    return json.dumps(record, indent=1, sort_keys=True, allow_nan=False) + "\n", arrays


def write_packed(text: str, arrays: dict[str, np.ndarray], folder: str | Path) -> Path:
    """Write what `packed` gave into `folder`; returns the folder."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    np.savez(folder / FACTORS, **arrays)
    (folder / NUMBERS).write_text(text, encoding="utf-8")
    return folder


def read_record(folder: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The record and the factors of a folder, or `CertificateError` in one line."""
    folder = Path(folder)
    try:
        record = json.loads((folder / NUMBERS).read_text(encoding="utf-8"))
        with np.load(folder / FACTORS, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except FileNotFoundError as error:
        raise CertificateError(
            f"{folder} holds no certificate ({Path(error.filename).name} is missing): give the "
            "folder that cert.save(...) wrote"
        ) from None
    except Exception as error:  # a damaged zip raises many kinds
        raise CertificateError(f"{folder} cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        found = record.get("format") if isinstance(record, dict) else None
        raise CertificateError(f"{folder / NUMBERS} has format {found!r}; this reads {FORMAT}")
    return record, arrays


def load_certificate(folder: str | Path) -> Any:
    """The certificate that `save` wrote, unchecked: `verify` recomputes it, and shows both.

    Raises `CertificateError` if the folder cannot be read.

    >>> load_certificate("no-such-folder")
    Traceback (most recent call last):
    ...
    jaxou.transfer.store.CertificateError: no-such-folder holds no certificate (certificate.json
    is missing): give the folder that cert.save(...) wrote
    """
    from .certificate import Certificate

    record, arrays = read_record(folder)
    try:
        numbers = dict(record["numbers"])
        numbers.pop("ledger")
        scales = ScaleGrid(**record["scales"])
        return Certificate(
            **numbers,
            ledger=ledger_of(numbers, scales),
            scales=scales,
            key_data=tuple(record["key_data"]),
            law=law_of(arrays),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise CertificateError(f"{folder} is damaged: {' '.join(str(error).split())}") from None


def ledger_of(numbers: dict[str, Any], scales: ScaleGrid) -> Ledger:
    """The account that a certificate of these numbers must have."""
    values = (numbers[name] for name in ("delta", "draws", "n"))
    return open_account(*values, scales, numbers["shapes"])[0]


def law_of(arrays: dict[str, np.ndarray]) -> Posterior:
    """The posterior from its factors."""
    wide = {name: jnp.asarray(array, float) for name, array in arrays.items()}
    prefix = next((name.split(".")[0] for name in wide if "." in name), None)
    if prefix not in _ROOTS:
        raise ValueError("factors.npz names no square root of the prior")
    parts = {
        name.split(".")[1]: value for name, value in wide.items() if name.startswith(f"{prefix}.")
    }
    return Posterior(
        wide["center"],
        _ROOTS[prefix](**parts),
        wide["variances"],
        wide["shift"],
        wide.get("factor"),
    )


def factors_digest(arrays: dict[str, np.ndarray]) -> str:
    """SHA-256 of all factors with their names."""
    names = sorted(arrays)
    return hashlib.sha256(
        (" ".join(names) + sha256(*(arrays[name] for name in names))).encode()
    ).hexdigest()


def seal(record: dict[str, Any]) -> str:
    """SHA-256 of the record without its seal: finds an accident, or a careless hand."""
    rest = {name: value for name, value in record.items() if name != "seal"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True).encode()).hexdigest()
