"""Saved certificates: read back, recomputed, and found out when somebody changed a number."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from half_planes import D, logistic, sample, wrong

from jaxou.bounds import single_draw
from jaxou.cli import main
from jaxou.transfer import CertificateError, certify, load_certificate, verify
from jaxou.transfer.store import factors_digest, seal

DATA = sample(100, 1)


def made(**settings):
    return certify(
        jnp.zeros(D), wrong, prior_center=jnp.array([1.0, 0.0, 0.0]),
        posterior_center=jnp.array([2.0, 0.5, 0.1]), target_data=DATA, source_data=sample(200, 2),
        loss=logistic, draws=500, key=jax.random.key(5), **settings,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cert():
    return made()


@pytest.fixture
def folder(cert, tmp_path):
    return cert.save(tmp_path / "cert")


def check(folder, data=DATA):
    return verify(folder, jnp.zeros(D), wrong, data)


def rewrite(folder, change, reseal=True):
    """Change the record as a forger would, who also computes the seal anew."""
    path = folder / "certificate.json"
    record = json.loads(path.read_text())
    change(record)
    if reseal:
        record["seal"] = seal(record)
    path.write_text(json.dumps(record))


def test_read_back_and_verified(cert, folder):
    again = load_certificate(folder)
    assert again.as_dict() == cert.as_dict() and again.ledger == cert.ledger
    np.testing.assert_array_equal(again.posterior_mean, cert.posterior_mean)
    found = check(folder)
    assert found.ok and not found.problems and "verified" in str(found)
    assert found.bound == pytest.approx(cert.bound, abs=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [dict(structure="low_rank", rank=2, optimise=20),
                                      dict(prior="split", monte_carlo="bernstein")])  # fmt: skip
def test_other_kinds_are_verified(settings, tmp_path):
    assert check(made(**settings).save(tmp_path)).ok


NUMBERS = (
    "bound risk_mc risk_upper kl complexity n delta draws prior_scale_index prior_variance "
    "prior_weight risk_variance shapes"
).split()


@pytest.mark.parametrize("name", [*NUMBERS, "monte_carlo", "structure", "data_sha256", "key_data"])
def test_every_number_that_enters_is_recomputed(name, folder):
    """A forger lowers one number and computes the seal anew: recomputation finds it."""

    def change(record):
        if name == "key_data":
            record["key_data"][0] += 1
            return
        value = record["numbers"][name]
        new = {"monte_carlo": "bernstein", "structure": "diagonal", "data_sha256": "0" * 64}
        is_int = isinstance(value, int)
        record["numbers"][name] = new.get(name) or (value + 1 if is_int else 0.9 * value)

    rewrite(folder, change)
    found = check(folder)
    assert not found.ok and found.problems and "NOT verified" in str(found)


@pytest.mark.parametrize("name", ["temperature", "inflation", "pull", "optimised", "prior"])
def test_remarks_are_under_the_seal(name, folder):
    def change(record):
        forged = {"prior": "isotropic", "optimised": 7}
        record["numbers"][name] = forged.get(name, 7.0)

    rewrite(folder, change, reseal=False)
    assert "seal" in check(folder).problems[0]


def test_a_ledger_that_spends_elsewhere_is_found(folder):
    def change(record):
        record["numbers"]["ledger"][0]["spent"] = 0.05

    rewrite(folder, change)
    assert any(problem.startswith("ledger") for problem in check(folder).problems)


@pytest.mark.parametrize("name", ["center", "variances", "shift", "dense.matrix"])
@pytest.mark.parametrize("forged", [False, True])
def test_a_changed_factor_is_found(name, forged, folder):
    with np.load(folder / "factors.npz") as file:
        arrays = {key: file[key] for key in file.files}
    arrays[name] = arrays[name] * 1.2 + 0.05
    np.savez(folder / "factors.npz", **arrays)
    if forged:
        change = lambda record: record.update(factors_sha256=factors_digest(arrays))
        rewrite(folder, change)
    assert not check(folder).ok


def test_other_data_are_found(folder):
    x, y = DATA
    other = x.copy()
    other[0, 0] += 1e-12
    assert not check(folder, (other, y)).ok
    assert not check(folder, (x[:99], y[:99])).ok


def test_no_certificate_there(folder, tmp_path):
    with pytest.raises(CertificateError, match="holds no certificate"):
        check(tmp_path)
    (folder / "factors.npz").write_bytes(b"PK")
    with pytest.raises(CertificateError, match="cannot be read"):
        check(folder)


def test_command_says_how_from_python_and_complains_in_one_line(folder, capsys):
    assert main(["verify", str(folder)]) == 2
    assert "in Python" in capsys.readouterr().err
    assert main(["verify"]) == 2 and main(["verify", str(folder / "none")]) == 2
    assert "no such folder" in capsys.readouterr().err
    assert main(["verify", "--help"]) == 0


def test_deployed_model_is_one_draw_that_cannot_be_rolled_again(cert, folder):
    one = cert.deployed(jnp.zeros(D), wrong, DATA)
    two = load_certificate(folder).deployed(jnp.zeros(D), wrong, DATA)
    np.testing.assert_array_equal(one.vector, two.vector)
    delta = cert.delta * cert.prior_weight
    assert one.bound == pytest.approx(
        float(single_draw(one.risk, one.log_ratio, float(cert.n), delta)), rel=1e-6
    )
    losses = jax.vmap(lambda x, y: wrong(one.vector, x, y))(*map(jnp.asarray, DATA))
    assert one.risk == pytest.approx(float(losses.mean()))
    changed = made(delta=0.04).deployed(jnp.zeros(D), wrong, DATA)
    assert not np.allclose(changed.vector, one.vector)
    with pytest.raises(ValueError, match="digests differ"):
        cert.deployed(jnp.zeros(D), wrong, sample(100, 9))
    assert cert.majority_bound == min(1.0, 2 * cert.bound)
