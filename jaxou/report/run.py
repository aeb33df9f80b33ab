"""`jaxou run`: compute, draw, write, and say what was done."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..config import RunConfig
from . import files
from .page import percent
from .steps import Step, drawn, silent, versions
from .story import tell
from .tables import STAGES, WORDS, bound_bars, tables


def run_and_write(config: RunConfig, step: Step | None = None) -> str:
    """Do what `config` asks, write everything into `config.out`, and return what to print.

    `step(title)` is a context manager around each phase, for showing progress. Every file is
    written whole or not at all; with `config.resume` phases that an interrupted run with the same
    settings and versions finished are read back.
    """
    from ..transfer.experiment import run_experiment
    from ..transfer.store import write_packed

    seconds: dict[str, float] = {}
    timed = _timed(step or silent, seconds)
    begin = time.perf_counter()
    out = files.made_folder(config.out)
    files.write_text(out / "config.toml", config.to_toml())

    made_by = versions()
    cache = None
    if config.resume:
        cache = out / ".cache" / config.identity(*(f"{k} {v}" for k, v in made_by.items()))
    result = run_experiment(config, timed, cache)
    numbers = {"jaxou": made_by["jaxou"], "settings": config.as_dict(), **result.numbers}
    files.write_json(out / "result.json", numbers)
    for name, (_, header, rows) in tables(numbers).items():
        files.write_csv(out / "tables" / f"{name}.csv", header, rows)
    proof = dict(result.arrays["certificates"])
    write_packed(str(proof.pop("record")), proof, out / files.CERTIFICATE)

    pictures, remark = {}, ""
    if config.figures:
        with timed("Drawing the figures"):
            pictures, remark = drawn(lambda: _pictures(numbers, result.arrays))
        for name, png in pictures.items():
            files.write_bytes(out / "figures" / f"{name}.png", png)

    seconds["in all"] = time.perf_counter() - begin
    facts = {"versions": made_by, "seconds": seconds, "device": _device()}
    files.write_text(out / "report.html", tell(numbers, pictures, facts))
    paths = sorted(str(p.relative_to(out)) for p in _written(out))
    manifest = {
        **facts,
        "identity": config.identity(),
        "seed": config.seed,
        "generator": result.generator,
        "reused_phases": result.reused,
        "dtype": {"laws and bounds": "float64", "particles": "float32"},
        "out": str(out),
        "files": paths,
    }
    files.write_json(out / "manifest.json", manifest)
    return _summary(numbers, seconds["in all"], out, remark)


def _pictures(numbers: dict[str, Any], arrays: dict[str, Any]) -> dict[str, bytes]:
    from .figures import draw_all

    bars, marks = bound_bars(numbers)
    return draw_all(numbers, {**arrays, "bars": bars, "marks": marks})


def _summary(numbers: dict[str, Any], seconds: float, out: Path, remark: str) -> str:
    certificate = numbers["certificates"]["source"]
    zero = numbers["certificates"]["zero"]
    tuned = numbers["sgd"]["finetune"]["target_test_error"]
    lines = [
        "",
        f"Pre-trained on MNIST, fine-tuned on UCI digits, in {seconds:.0f} s.",
        f"  test error of SGD     {percent(tuned['mean'])}  "
        f"(± {percent(tuned['standard_error'], 2)}, {tuned['runs']} runs)",
        f"  certified error       at most {percent(certificate['bound'])}  with probability "
        f"{percent(1 - certificate['delta'], 0)}; measured {percent(certificate['test_risk'])}",
        f"  without pre-training  at most {percent(zero['bound'])}",
    ]
    for name in STAGES:
        lines.append(f"  {WORDS[name]:<20}  {numbers['verdicts'][name]['plain']}")
    lines += [
        "",
        f"  {out / 'report.html'}  tells the story; numbers in {out / 'result.json'}",
        f"  jaxou verify {out / files.CERTIFICATE}  recomputes the certificate",
    ]
    return "\n".join([*lines, *([f"  {remark}"] if remark else [])])


def _timed(step: Step, seconds: dict[str, float]) -> Step:
    """`step`, and the time that each phase took."""

    @contextmanager
    def timed(title: str) -> Iterator[Any]:
        begin = time.perf_counter()
        with step(title) as say:
            yield say
        seconds[title] = time.perf_counter() - begin

    return timed


def _device() -> str:
    import os

    import jax

    device = jax.devices()[0]
    return f"{device.platform} ({device.device_kind}), {os.cpu_count()} cores"


def _written(out: Path) -> Iterator[Path]:
    for path in out.rglob("*"):
        if path.is_file() and not any(part.startswith(".") for part in path.relative_to(out).parts):
            yield path
