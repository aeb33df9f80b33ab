"""P01-P10: every number of the worked cases that laws, kernels and stages answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from problems import KL, LAW, LAW_ENTRY, P03_A, P03_C, close, p01, p02, p03, p04, p05, p07, p09, p10

import jaxou as ou


def test_p01_one_dimension():
    stage = p01()
    chain = ou.Chain([stage], initial=ou.Gaussian(-1.3, 0.0))
    gibbs, stationary = stage.gibbs(), stage.stationary()
    close(stage.noise_ratio, 0.00625, **LAW)
    close(stage.duration, 1.2, **LAW)
    close(gibbs.covariance, [[0.001]], **LAW)
    close(stationary.covariance, [[0.00114285714285714]], **LAW)
    law = chain.law(0, time=1.2)
    close(law.mean, [0.600425863264272], **LAW)
    close(law.covariance, [[0.000997521247823334]], **LAW)
    close(law.kl(gibbs), 4.95750589192886, **KL)
    law = chain.law(0, step=12)
    close(law.mean, [0.636647295951843], **LAW)
    close(law.covariance, [[0.00114171040996851]], **LAW)
    close(law.kl(stationary), 1.75593498758534, **KL)
    close(stationary.kl(gibbs), 0.00466287511631012, **KL)
    close(stage.excess_loss(gibbs), 0.00125, **LAW)
    close(stage.excess_loss(stationary), 0.00142857142857143, **LAW)


def test_p02_commuting():
    stage = p02()
    gibbs = stage.gibbs()
    close(gibbs.covariance, np.diag([0.0015625, 9.765625e-5]), **LAW_ENTRY)
    close(stage.excess_loss(gibbs), 0.0009765625, **LAW)
    close(gibbs.kl(ou.Gaussian([0.0, 0.0], 1.0)), 6.84859261559861, **KL)
    assert stage.entropy_production() == 0.0


def test_p03_non_commuting_and_its_gradients():
    stage = p03()
    gibbs = stage.gibbs()
    sigma = [
        [0.00419207317073171, -0.00355691056910569],
        [-0.00355691056910569, 0.00525914634146341],
    ]
    close(gibbs.covariance, sigma, **LAW)
    close(stage.excess_loss(gibbs), 0.0046875, **LAW)
    close(stage.entropy_production(), 0.480392156862745, **LAW)
    prior = ou.Gaussian([0.0, 0.0], 1.0)
    close(gibbs.kl(prior), 4.79238603283243, **KL)

    def kl(hessian, noise, learning_rate):
        return p03(hessian=hessian, noise=noise, learning_rate=learning_rate).gibbs().kl(prior)

    by_a, by_c, by_eta = jax.jit(jax.grad(kl, argnums=(0, 1, 2)))(
        jnp.array(P03_A), jnp.array(P03_C), jnp.array(0.1)
    )
    grad_a = [[0.270085473554194, -0.229731527176144], [-0.229731527176144, 0.730781275746887]]
    grad_c = [[-0.75020718825146, -0.409593996908279], [-0.409593996908279, -1.14548479903813]]
    close(by_a, grad_a, **KL)
    close(by_c, grad_c, **KL)
    close(by_eta * 8, -79.6219512195122, **KL)  # d/d eps = batch_size d/d eta


def test_p04_transition():
    chain = p04()
    law, gibbs = chain.law(0, time=0.75), chain.stages[0].gibbs()
    close(law.mean, [0.407053756113188, 0.0422014578923505], **LAW)
    cov = [[0.0580474321254763, -0.0570092865219321], [-0.0570092865219321, 0.123805295454076]]
    close(law.covariance, cov, **LAW)
    sigma = [[0.0173934108527132, -0.015843023255814], [-0.015843023255814, 0.0512112403100775]]
    close(gibbs.covariance, sigma, **LAW)
    close(chain.initial.kl(gibbs), 48.5222577503423, **KL)
    close(law.kl(gibbs), 2.58435295550418, **KL)
    close(chain.initial.w2(gibbs), 1.09697976667202, **KL)
    close(law.w2(gibbs), 0.313842795142569, **KL)
    close(chain.stages[0].excess_loss(law), 0.112484535361303, **LAW)
    slope = jax.grad(lambda s: chain.law(0, time=s).kl(gibbs))(0.75)
    close(slope, -9.33142579297446, **KL)


def test_p05_the_discrete_chain():
    chain = p05()
    stage = chain.stages[0]
    gibbs, stationary, law = stage.gibbs(), stage.stationary(), chain.law(0, step=25)
    discrete = [
        [0.0641019504767795, 0.0283878232168246, -4.10060601579069e-5],
        [0.0283878232168246, 0.0355302049966893, 0.00216404440754646],
        [-4.10060601579069e-5, 0.00216404440754646, 0.032239502280542],
    ]
    continuous = [
        [0.00885199240986717, -0.00155597722960152, -0.00277039848197343],
        [-0.00155597722960152, 0.0103130929791271, -0.0031404174573055],
        [-0.00277039848197343, -0.0031404174573055, 0.0240702087286528],
    ]
    after_25 = [
        [0.0641026967448238, 0.0283883047307883, -4.09153199335038e-5],
        [0.0283883047307883, 0.0355305156930608, 0.00216410294351982],
        [-4.09153199335038e-5, 0.00216410294351982, 0.0322395133297117],
    ]
    close(stationary.covariance, discrete, **LAW)
    close(gibbs.covariance, continuous, **LAW)
    close(law.covariance, after_25, **LAW)
    mean = [-0.00315267502329952, -0.00206068676589766, -0.000349056318305507]
    close(law.mean, mean, **LAW)
    close(stage.excess_loss(stationary), 0.177272727272727, **LAW)
    close(stage.excess_loss(gibbs), 0.0325, **LAW)
    close(stationary.kl(gibbs), 4.15328485863384, **KL)
    close(law.kl(stationary), 8.84384936814028e-5, **KL)
    with pytest.raises(ValueError, match=r"unstable.*2/λ_max = 0\.5487"):
        stage.replace(learning_rate=0.6).stationary()


def test_p06_momentum():
    stage = p03(momentum=0.9)
    gibbs, stationary = stage.gibbs(), stage.stationary()
    sde = [[0.0304075738125802, -0.0259748074454429], [-0.0259748074454429, 0.064104621309371]]
    close(gibbs.covariance, sde, **LAW)
    joint = gibbs.joint().covariance
    close(joint[:2, 2:], [[0, -0.00287828947368421], [0.00287828947368421, 0]], **LAW_ENTRY)
    velocity = [
        [0.00452302631578947, -0.00106085526315789],
        [-0.00106085526315789, 0.00485197368421053],
    ]
    close(joint[2:, 2:], velocity, **LAW)
    ball = [[0.0316856321889736, -0.0262662173211979], [-0.0262662173211979, 0.0653854377039368]]
    close(stationary.covariance, ball, **LAW)
    # the increment u = -learning_rate x buffer
    joint = stationary.joint().covariance
    cross = [
        [0.00250587020974887, -0.00356411463842175],
        [0.00248221937379821, 0.00261187933216937],
    ]
    close(-0.1 * joint[:2, 2:], cross, **LAW)
    second = [
        [0.00501174041949773, -0.00108189526462355],
        [-0.00108189526462355, 0.00522375866433874],
    ]
    close(0.01 * joint[2:, 2:], second, **LAW)
    close(stage.excess_loss(gibbs), 0.046875, **LAW)
    close(stage.excess_loss(stationary), 0.0486186206482232, **LAW)
    with pytest.raises(ValueError, match=r"2 \(1 \+ momentum\)/λ_max = 1\.666"):
        stage.replace(learning_rate=1.7).stationary()
    stage.replace(learning_rate=1.66).stationary()


def test_p07_two_stage_laws():
    training = p07()
    source, target = training.pretrain.gibbs(), training.finetune.gibbs()
    sigma_s = [
        [0.000394345238095238, -1.48809523809524e-5],
        [-1.48809523809524e-5, 0.000632440476190476],
    ]
    sigma_t = [
        [0.000589131289308176, 1.91627358490566e-5],
        [1.91627358490566e-5, 0.000479559748427673],
    ]
    close(source.covariance, sigma_s, **LAW)
    close(target.covariance, sigma_t, **LAW)
    terms = target.kl_terms(source)
    close(terms.trace, 2.25650693975762, **LAW)
    close(terms.logdet, -0.124292381466249, rtol=1e-9, atol=0)
    close(terms.shift, 3.64292379471229, **LAW)
    close(terms.value, 1.88756917650183, **KL)
    close(source.kl(target), 2.01449146823917, **KL)
    close(source.kl(training.initial), 7.22806166328186, **KL)
    close(target.kl(training.initial), 7.16693642521046, **KL)
    close(target.w2(source), 0.0450683562203371, **KL)
    close(training.pretrain.excess_loss(target), 0.00243849253144654, **LAW)


def test_p09_low_rank():
    law0, law1 = p09()
    for a, b in ((law0, law1), tuple(ou.Gaussian(x.mean, x.covariance) for x in (law0, law1))):
        terms = b.kl_terms(a)
        close(terms.value, 0.739626045678026, **KL)
        close(a.kl(b), 1.28587523993656, **KL)
        close(terms.trace, 6.17834756169325, **LAW)
        close(terms.shift, 0.195761699202701, **LAW)
        close(terms.logdet, 0.0268910722547885 + 1.07825175820532, **LAW)
        close(a.w2(b), 0.987025261397451, **LAW)


def test_p10_fifty_dimensions():
    training = p10()
    source, target = training.pretrain.gibbs(), training.finetune.gibbs()
    covariance = source.covariance
    close(jnp.trace(covariance), 0.122928163976875, **LAW)
    close(covariance[0, 0], 0.000833319056301506, **LAW)
    close(covariance[0, -1], 1.98583983191067e-10, rtol=1e-6, atol=0)
    close(covariance[24, 25], 0.00236276616506537, **LAW)
    close(ou.linalg.logdet(covariance), -388.317464072282, **LAW)
    close(ou.linalg.logdet(target.covariance), -387.199516067745, **LAW)
    close(jnp.trace(target.covariance), 0.0267900838310147, **LAW)
    close(source.kl(training.initial), 169.22019611813, **KL)
    terms = target.kl_terms(source)
    close(terms.trace, 88.1916909725629, **LAW)
    close(terms.shift, 306.612829171045, **LAW)
    close(terms.value, 171.843286069535, **KL)
    close(training.pretrain.entropy_production(), 0.0494156690013595, rtol=1e-8, atol=0)
    close(training.pretrain.excess_loss(source), 0.01953125, **LAW)
