"""The settings of the experiments beside the main one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from .fields import AT_LEAST_ONE, POSITIVE, between, setting
from .main import TARGET_IMAGES


@dataclass(frozen=True)
class DiabetesConfig:
    """Ridge regression on diabetes, from one sex to the other, beside three theories of SGD.

    The loss is a bowl everywhere, so real SGD can be held against exact moments at every learning
    rate. Writes report.html and result.json into --out.
    """

    learning_rate: float = setting(0.01, POSITIVE)
    """Learning rate of the runs that are judged direction by direction."""
    batch_size: int = setting(8, AT_LEAST_ONE)
    """Patients per minibatch."""
    replicas: int = setting(4000, between(100, 1_000_000))
    """Real minibatch SGD runs."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes. Sizes given explicitly still win."""
    out: Path = Path("jaxou-diabetes")
    """Folder for the results."""

    @classmethod
    def defaults(cls, quick: bool = False) -> DiabetesConfig:
        """The settings before any flag."""
        return cls(learning_rate=0.05, replicas=500, quick=True) if quick else cls()


@dataclass(frozen=True)
class NetworkConfig:
    """A small dense network from MNIST to UCI digits, trained by optax, then judged and certified.

    Writes report.html and result.json into --out.
    """

    layers: Literal["all", "last"] = "all"
    """Which layers are fine-tuned."""
    width: int = setting(16, between(2, 512))
    """Hidden units: 64-16-10 has 1,210 parameters, the last layer 170; 64-72-10 has 5,410."""
    activation: Literal["tanh", "relu"] = "tanh"
    """Of the hidden units. A relu's kinks bend the mean loss but not its Hessian."""
    n_target: int = setting(TARGET_IMAGES, between(50, TARGET_IMAGES))
    """UCI digits for fine-tuning; 597 others are the test set."""
    poses: int = setting(5, between(0, 20))
    """Random poses of every MNIST image that pre-training sees beside the image as it is."""
    pretrain_steps: int = setting(3000, AT_LEAST_ONE)
    """Adam's steps on MNIST."""
    finetune_steps: int = setting(2000, AT_LEAST_ONE)
    """Adam's steps on UCI digits, before L-BFGS."""
    learning_rate: float = setting(0.1, POSITIVE)
    """Learning rate of the SGD that is judged, in its last phase."""
    batch_size: int = setting(16, AT_LEAST_ONE)
    """Images per minibatch of that SGD."""
    steps: int = setting(500, AT_LEAST_ONE)
    """Its steps."""
    weight_decay: float = setting(1e-3, POSITIVE)
    """L2 penalty of the training loss. A wide network is certified better with 1e-4."""
    replicas: int = setting(256, between(100, 1_000_000))
    """Runs of that SGD."""
    draws: int = setting(2000, between(10, 1_000_000))
    """Weight draws for the empirical risk of the certificate."""
    seed: int = setting(0, between(0, 2**32 - 1))
    """The only source of randomness."""
    quick: bool = False
    """Smaller default sizes. Sizes given explicitly still win."""
    out: Path = Path("jaxou-network")
    """Folder for the results."""

    @classmethod
    def defaults(cls, quick: bool = False) -> NetworkConfig:
        """The settings before any flag."""
        small = dict(
            layers="last", width=8, poses=0, pretrain_steps=500, steps=100, replicas=100, draws=300
        )
        return cls(**small, quick=True) if quick else cls()


EXPERIMENTS: dict[str, Any] = {"diabetes": DiabetesConfig, "network": NetworkConfig}
"""Experiments beside the main one, by the name that `jaxou run NAME` knows them by."""
