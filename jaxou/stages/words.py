"""Stages and chains in words, for people who print them; "" where numbers are not known."""

from .._check import holds_numbers, show
from .noise import Diffusion, Temperature


def of_stage(stage) -> str:
    """What a `Stage` is, in a sentence or two; "" for a traced or a batched one."""
    if not holds_numbers(stage) or stage.minimum.ndim != 1 or stage.steps.ndim:
        return ""
    parts = [
        f"SGD on a quadratic loss in {_dimensions(stage.dimension)}: {_pace(stage)}",
        f"Hessian {_matrix(stage.hessian)}",
        _noise(stage.noise),
        f"minimum {show(stage.minimum)}",
    ]
    for name in ("momentum", "weight_decay", "langevin_temperature", "population"):
        value = getattr(stage, name)
        if value is not None and float(value) != 0:
            parts.append(f"{name.replace('_', ' ')} {show(value)}")
    if stage.preconditioner is not None:
        parts.append(f"preconditioner {_matrix(stage.preconditioner)}")
    return "; ".join(parts)


def of_potential_stage(stage) -> str:
    """What a `PotentialStage` is; "" for a traced or a batched one."""
    numbers = (stage.learning_rate, stage.batch_size, stage.steps, stage.centre)
    if not holds_numbers(numbers) or stage.steps.ndim:
        return ""
    noise = "noise a function of x" if stage.state_dependent else _noise(stage.noise)
    where = _dimensions(stage.dimension)
    return f"SGD on a loss of one's own in {where}: {_pace(stage)}; {noise}"


def of_chain(chain) -> str:
    """The stages of a chain, a line each, after the law that the first one starts from."""
    known = holds_numbers(chain.initial) and chain.initial.mean.ndim == 1
    stages = [str(stage) for stage in chain.stages] if known else []
    if not known or any("\n" in words for words in stages):
        return ""
    count = len(stages)
    lines = [f"{count} stage{'s' * (count > 1)} of training, from: {chain.initial}"]
    lines += [f"  {name}: {words}" for name, words in zip(chain.names, stages, strict=True)]
    return "\n".join(lines)


def _dimensions(d: int) -> str:
    return f"{d} dimension{'s' * (d > 1)}"


def _pace(stage) -> str:
    time = f"flow time {show(stage.duration)}"
    eta, b = stage.learning_rate, stage.batch_size
    rates = f"learning rate {_first_to_last(eta)}, batch {_first_to_last(b)}"
    return f"{rates}, {float(stage.steps):,.10g} steps ({time})"


def _first_to_last(x) -> str:
    if x.ndim == 0 or bool((x == x[0]).all()):
        return show(x if x.ndim == 0 else x[0])
    return f"{show(x[0])} to {show(x[-1])}"


def _matrix(matrix) -> str:
    return f"{type(matrix).__name__} of trace {show(matrix.trace())}"


def _noise(noise) -> str:
    if isinstance(noise, Temperature):
        return f"noise Temperature({show(noise.value)})"
    if isinstance(noise, Diffusion):
        # its dimension is only known once it is part of a stage
        return f"noise Diffusion({type(noise.matrix).__name__})"
    return f"noise C {_matrix(noise)}"
