"""A torch loop: all particles in one tensor, in-place operations, on the GPU if torch has one."""

import math

import torch

DEFAULT_THREADS = torch.get_num_threads()


def loop(problem, threads=DEFAULT_THREADS):
    """The loop of the problem's kind; each is written out so that nothing is allocated."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape, run = (problem.particles, problem.dimension), KINDS[problem.kind]

    @torch.inference_mode()
    def call(seed):
        torch.manual_seed(seed)
        torch.set_num_threads(threads)
        x = torch.full(shape, problem.start, device=device)
        x = run(problem, x, torch.empty_like(x))
        if device == "cuda":
            torch.cuda.synchronize()
        torch.set_num_threads(DEFAULT_THREADS)
        return x

    return call


def ou(problem, x, z):
    decay = 1 - problem.step * float(problem.drift[0, 0])
    amplitude = problem.step**0.5 * float(problem.root[0, 0])
    for _ in range(problem.steps):
        z.normal_()
        x.mul_(decay).add_(z, alpha=amplitude)
    return x


def well(problem, x, z):
    h, tilt, push = problem.step, problem.gradient(0.0), torch.empty_like(x)
    amplitude = (2 * problem.temperature * h) ** 0.5
    for _ in range(problem.steps):
        z.normal_()
        torch.mul(x, x, out=push).sub_(1).mul_(x)
        x.add_(push, alpha=-h).sub_(h * tilt).add_(z, alpha=amplitude)
    return x


def kinetic(problem, x, z):
    """BAOAB; the force at a step's end serves the next step's start."""
    h, tilt = problem.step, problem.gradient(0.0)
    keep = math.exp(-problem.friction * h)
    kick = math.sqrt(problem.temperature * (1 - keep**2))
    v, push = torch.zeros_like(x), torch.full_like(x, tilt)
    for _ in range(problem.steps):
        z.normal_()
        v.add_(push, alpha=-h / 2)
        x.add_(v, alpha=h / 2)
        v.mul_(keep).add_(z, alpha=kick)
        x.add_(v, alpha=h / 2)
        torch.mul(x, x, out=push).sub_(1).mul_(x).add_(tilt)
        v.add_(push, alpha=-h / 2)
    return x


def dense(problem, x, z):
    drift, root = (torch.tensor(m, device=x.device) for m in (problem.drift, problem.root))
    forward = torch.eye(problem.dimension, device=x.device) - problem.step * drift
    kick, y = problem.step**0.5 * root.T, torch.empty_like(x)
    for _ in range(problem.steps):
        z.normal_()
        torch.mm(x, forward, out=y)
        x, y = y.addmm_(z, kick), x
    return x


def gbm(problem, x, z):
    h = problem.step
    for _ in range(problem.steps):
        z.normal_()
        x.mul_(z.mul_(h**0.5 * problem.volatility).add_(1 + h * problem.growth))
    return x


KINDS = dict(ou=ou, well=well, kinetic=kinetic, dense=dense, gbm=gbm)
