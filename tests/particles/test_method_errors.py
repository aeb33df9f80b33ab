"""What a method cannot follow it refuses, in a sentence with advice."""

import jax.numpy as jnp
import pytest

import jaxou as ou


def potential(x):
    return jnp.sum(x**2) / 2


def stage(**changes):
    arguments = dict(dimension=2, noise=ou.Temperature(0.1), learning_rate=0.1, steps=10)
    return ou.PotentialStage(changes.pop("potential", potential), **(arguments | changes))


def linear(**changes):
    arguments = dict(
        hessian=[1.0, 2.0], noise=1.0, minimum=0.0, learning_rate=0.1, batch_size=4, steps=10
    )
    return ou.Stage(**(arguments | changes))


def run(stage, method, key):
    chain = ou.Chain([stage], initial=ou.Gaussian([0.0, 0.0], 0.1))
    return ou.simulate(chain, particles=10, key=key, method=method)


STATE = stage(noise=lambda x: 1 + x**2)
SCHEDULE = linear(learning_rate=jnp.linspace(0.1, 0.01, 10))
REFUSED = {
    "potential and SGD": (stage(), ou.SGD(), r"PotentialStage does.*EulerMaruyama"),
    "potential and Exact": (stage(), ou.Exact(), r"PotentialStage does.*BAOAB"),
    "state noise and Heun": (STATE, ou.Heun(), "does not depend.*EulerMaruyama"),
    "state noise and BAOAB": (STATE, ou.BAOAB(1.0), "does not depend.*EulerMaruyama"),
    "schedule and Heun": (SCHEDULE, ou.Heun(), "constant learning rate; use EulerMaruyama"),
    "schedule and BAOAB": (SCHEDULE, ou.BAOAB(1.0), "constant learning rate"),
    "momentum and BAOAB": (linear(momentum=0.5), ou.BAOAB(1.0), "its friction is the momentum"),
    "preconditioner and BAOAB": (
        linear(preconditioner=[1.0, 2.0]),
        ou.BAOAB(1.0),
        "preconditioner; use EulerMaruyama",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_combinations(name, key):
    what, method, advice = REFUSED[name]
    with pytest.raises(ValueError, match=advice):
        run(what, method, key)


def test_diffrax_refuses_too(key):
    diffrax = pytest.importorskip("diffrax")
    method = ou.Diffrax(diffrax.Heun())
    for what in (STATE, SCHEDULE):
        with pytest.raises(ValueError, match="use (SGD|EulerMaruyama)"):
            run(what, method, key)
    for wrong in (dict(dt=0), dict(dt=[0.1, 0.2]), dict(tolerance=-1.0)):
        with pytest.raises(ValueError, match="must be one positive number"):
            ou.Diffrax(diffrax.Heun(), **wrong)


@pytest.mark.parametrize(
    "arguments,error,message",
    [
        (dict(potential=lambda x: x**2), ValueError, r"returns shape \(2,\); end it with jnp.sum"),
        (dict(potential=3.0), TypeError, "must be a function"),
        (dict(noise=lambda x: x[0]), ValueError, r"B\(x\) of shape \(2,\) or \(2, r\)"),
        (dict(noise=lambda x: jnp.ones((3, 2))), ValueError, r"it returns shape \(3, 2\)"),
        (dict(noise=lambda x: (x, x)), ValueError, r"B\(x\) of shape"),
        (dict(noise=[1.0, -1.0]), ValueError, "negative"),
        (dict(noise=lambda x: x, langevin_temperature=0.1), ValueError, "extra columns"),
        (dict(langevin_temperature=-0.1), ValueError, "must be >= 0"),
        (dict(dimension=0), ValueError, "dimension=0"),
        (dict(learning_rate=0.0), ValueError, "learning_rate=0 must be positive"),
        (dict(learning_rate=[0.1, 0.2]), ValueError, "one number"),
        (dict(batch_size=0.5), ValueError, "at least 1"),
        (dict(centre=[0.0, float("nan")]), ValueError, "finite"),
    ],
)
def test_wrong_stages(arguments, error, message):
    with pytest.raises(error, match=message):
        stage(**arguments)


@pytest.mark.parametrize(
    "arguments, error, message",
    [
        (dict(substeps="two"), ValueError, "substeps='two' must be a whole number"),
        (dict(substeps=0), ValueError, "substeps=0 must be a whole number"),
        (dict(substeps=None), ValueError, "substeps=None must be a whole number"),
        (dict(step="small"), TypeError, "step must be a number"),
        (dict(step=-0.1), ValueError, "step=-0.1 must be one positive number"),
        (dict(substeps=2, step=0.1), ValueError, "not both"),
    ],
)
@pytest.mark.parametrize("method", [ou.EulerMaruyama, ou.Heun])
def test_step_sizes_are_refused_with_advice(method, arguments, error, message):
    with pytest.raises(error, match=message):
        method(**arguments)


@pytest.mark.parametrize("friction", [0.0, -1.0, [1.0, 2.0], float("nan")])
def test_friction_is_one_positive_number(friction):
    with pytest.raises(ValueError, match="must be one positive number"):
        ou.BAOAB(friction)


@pytest.mark.slow
def test_laws_of_a_potential_stage_are_refused_with_advice(key):
    well = stage()
    for ask in (well.kernel, well.stationary, well.sde, lambda: well.flow(1.0)):
        with pytest.raises(ValueError, match=r"closed form\. Follow particles with ou.simulate"):
            ask()
    assert float(well.gibbs().temperature) == pytest.approx(0.1)
    start = ou.Gaussian([0.0, 0.0], 0.1)
    seen = ou.simulate(ou.Chain([linear()], initial=start), particles=200, key=key)
    # a verdict holds such particles against the Gibbs law, and sees that these are others'
    assert ou.verdict(seen, ou.Chain([well], initial=start)).decision == "rejected"
