"""`jaxou claims`: examine each claim, write what was found, and say the verdicts."""

from __future__ import annotations

import dataclasses
import tempfile
import textwrap
import time
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from .._check import require_float64
from ..config import CLAIMS, ClaimsConfig
from ..report import files
from ..report.steps import Step, drawn, silent, versions
from ..transfer.experiment.cache import Cache
from .claim import Claim
from .page import write_page


def run_claims(config: ClaimsConfig, step: Step | None = None) -> str:
    """Examine `config.chosen()`, write everything into `config.out`, return what to print.

    `step(title)` is a context manager around each claim, for showing progress. With `config.resume`
    claims that a run with the same settings and versions has finished are read back, and the cells
    of the images' study too. Needs float64 (`jax_enable_x64`).

    Writes claims.json, claims.html, tables/*.csv and figures/*.png.
    """
    config = config.validate()
    require_float64("claims are examined")
    step, out = step or silent, files.made_folder(config.out)
    made_by = versions()
    folder = out / ".cache" / config.identity(*(f"{k} {v}" for k, v in made_by.items()))
    cache = Cache(folder if config.resume else None)
    claims, seconds = [], {}
    with tempfile.TemporaryDirectory() as elsewhere:
        cells = folder if config.resume else Path(elsewhere)
        for name in config.chosen():
            begin = time.perf_counter()
            with step(f"Claim {CLAIMS.index(name) + 1}: {name}"):
                claims.append(_from_cache(cache, name, config, cells))
            seconds[name] = time.perf_counter() - begin
            _write_tables(claims[-1], out)
    pictures, remark = drawn(lambda: _pictures(claims)) if config.figures else ({}, "")
    for name, png in pictures.items():
        files.write_bytes(out / "figures" / f"{name}.png", png)
    content = {
        "settings": config.as_dict(),
        "versions": made_by,
        "claims": [_plain(claim) for claim in claims],
    }
    files.write_json(out / "claims.json", content)
    files.write_json(out / "manifest.json", {"seconds": seconds, "reused": cache.reused})
    write_page(out / "claims.html", claims, pictures, content, seconds)
    return summary(claims, seconds, out, remark)


def examine(name: str, config: ClaimsConfig, folder: Path) -> Claim:
    """One claim, by the function of its module."""
    module = import_module(f"{__package__}.{name}")
    return module.examine(config, folder) if name == "discrepancy" else module.examine(config)


def summary(claims: list[Claim], seconds: dict[str, float], out: Path, remark: str = "") -> str:
    """The verdicts as a table of text."""
    lines = [""]
    for claim in claims:
        lines += [
            f"{claim.number}. {claim.sentence}",
            f"     {claim.verdict.upper()} ({seconds[claim.name]:.0f} s)",
            *textwrap.wrap(claim.headline, 96, initial_indent="     ", subsequent_indent="     "),
            *textwrap.wrap(claim.condition, 96, initial_indent="     ", subsequent_indent="     "),
        ]
    lines += ["", f"  {out / 'claims.html'}  tells the story; numbers in {out / 'claims.json'}"]
    return "\n".join([*lines, *([f"  {remark}"] if remark else [])])


def _from_cache(cache: Cache, name: str, config: ClaimsConfig, folder: Path) -> Claim:
    def compute():
        claim = examine(name, config, folder)
        plain = files.plain({f.name: getattr(claim, f.name) for f in dataclasses.fields(claim)
                             if f.name != "arrays"})  # fmt: skip
        return plain, claim.arrays

    # a slash would be a folder
    numbers, arrays = cache.phase(name, lambda: _renamed(compute(), "/", "\N{DIVISION SLASH}"))
    tables = {key: (t[0], tuple(t[1]), [tuple(r) for r in t[2]]) for key, t in
              numbers.pop("tables").items()}  # fmt: skip
    arrays = {key.replace("\N{DIVISION SLASH}", "/"): np.asarray(v) for key, v in arrays.items()}
    return Claim(**numbers, tables=tables, arrays=arrays)


def _renamed(found: tuple[Any, dict[str, Any]], old: str, new: str) -> tuple[Any, dict[str, Any]]:
    numbers, arrays = found
    return numbers, {key.replace(old, new): value for key, value in arrays.items()}


def _plain(claim: Claim) -> dict[str, Any]:
    names = [f.name for f in dataclasses.fields(claim) if f.name not in ("arrays", "tables")]
    return {name: getattr(claim, name) for name in names}


def _write_tables(claim: Claim, out: Path) -> None:
    for name, (_, header, rows) in claim.tables.items():
        files.write_csv(out / "tables" / f"{name}.csv", [h.strip() for h in header], rows)


def _pictures(claims: list[Claim]) -> dict[str, bytes]:
    from .figures import figure_of

    return {claim.name: figure_of(claim) for claim in claims}
