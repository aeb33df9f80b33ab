"""The phases of the experiment, in order; each can be read back from a cache."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from ...config import RunConfig
from . import choices, guarantees, laws, models, verdicts
from .cache import Arrays, Cache, Numbers


class Experiment(NamedTuple):
    """`numbers` hold everything worth telling, `arrays` what figures are drawn from.

    `reused` names the phases that were read back, `generator` the kind of random numbers.
    """

    numbers: Numbers
    arrays: dict[str, Arrays]
    reused: list[str]
    generator: str


def run_experiment(
    config: RunConfig, step: Callable[[str], AbstractContextManager[Any]], cache: Path | None
) -> Experiment:
    """Pre-train, fine-tune, compare with theory, bound and certify.

    `step(title)` surrounds each phase and may give a function for sentences about it; finished
    phases are kept in the folder `cache`, unless None.
    """
    store = Cache(cache)
    numbers: Numbers = {}
    arrays: dict[str, Arrays] = {
        "steps": {n: np.array(models.snapshot_steps(config, n)) for n in models.STAGES}
    }

    def phase(
        name: str,
        title: str,
        compute: Callable[[], tuple[Numbers, Arrays]],
        tell: Callable[[Numbers], list[str]] = lambda found: [],
    ) -> None:
        with step(title) as say:
            found, arrays[name] = store.phase(name, compute)
            if say is not None:
                for sentence in tell(found):
                    say(sentence)
        numbers.update({name: found} if name in NESTED else found)

    with step("Reading MNIST and UCI digits"):
        data = models.read_data(config)
    numbers["data"] = data.summary()
    numbers["tracked"] = models.TRACKED
    phase(
        "optima",
        "Training both models to their optimum, measuring curvature and noise",
        lambda: models.find_optima(config, data),
    )
    optima = arrays["optima"]
    numbers["dimension"] = len(optima["pretrain.point"])
    training = models.build_training(config, numbers, optima)
    phase(
        "sgd",
        f"Running SGD {config.replicas} times through both stages",
        lambda: models.run_sgd(config, data, optima),
        _test_error,
    )
    phase(
        "theory",
        "Solving for the law of the weights at every snapshot",
        lambda: laws.theory(config, training, optima),
    )
    run = None

    def particles() -> tuple[Numbers, Arrays]:
        nonlocal run
        run = laws.simulate_particles(config, training)
        return laws.watch_particles(config, run, optima, arrays["theory"])

    phase("particles", f"Sending {config.particles:,} particles through both stages", particles)

    def judge() -> tuple[Numbers, Arrays]:
        fresh = laws.simulate_particles(config, training) if run is None else run
        return verdicts.judge(config, fresh, training, numbers["theory"]), {}

    phase("verdicts", "Judging convergence", judge, _verdicts)
    phase(
        "sgd_seen",
        "Comparing real SGD with the theory",
        lambda: laws.watch_sgd(arrays["sgd"], optima, arrays["theory"]),
    )
    phase(
        "bounds",
        "Bounding the error of SGD's law, with derivatives",
        lambda: guarantees.model_mode(config, training, numbers),
    )
    phase(
        "map",
        "Mapping the bound over learning rate and batch size",
        lambda: guarantees.bound_map(config, training, numbers),
    )
    phase(
        "stopping",
        "Looking for the best number of fine-tuning steps",
        lambda: choices.stopping(config, training, numbers),
    )
    phase(
        "tuned",
        "Tuning fine-tuning's learning rate and batch size on the bound",
        lambda: choices.tuned(config, training, numbers),
    )
    phase(
        "certificates",
        "Certifying the fine-tuned model",
        lambda: guarantees.certificates(config, training, data, optima),
    )
    generator = str(jax.random.key_impl(jax.random.key(config.seed)))
    return Experiment(numbers, arrays, store.reused, generator)


def _test_error(found: Numbers) -> list[str]:
    error = found["finetune"]["target_test_error"]
    return [f"test error on the target: {error['mean']:.1%} (± {error['standard_error']:.2%})"]


def _verdicts(found: Numbers) -> list[str]:
    return [f"{name}: {found[name]['plain']}" for name in models.STAGES]


NESTED = {"sgd", "theory", "particles", "verdicts", "sgd_seen", "certificates"}
"""Phases whose numbers keep the phase's name; the others bring names of their own."""
