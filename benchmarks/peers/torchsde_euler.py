"""torchsde's Euler scheme with its default Brownian motion, time counted in steps."""

import torch
import torchsde


class ScaledSDE(torch.nn.Module):
    """dx = -h grad U dt + sqrt(h) B dW, so that one step of size 1 is one step of size h."""

    noise_type, sde_type = "diagonal", "ito"

    def __init__(self, problem):
        super().__init__()
        self.problem = problem

    def f(self, t, x):
        return -self.problem.step * self.problem.gradient(x)

    def g(self, t, x):
        return self.problem.step**0.5 * self.problem.noise(x, torch.ones_like(x))


def euler(problem):
    """One call of sdeint over the batch; only the two end times are kept."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    sde, times = ScaledSDE(problem), torch.tensor([0.0, float(problem.steps)], device=device)

    @torch.inference_mode()
    def call(seed):
        torch.manual_seed(seed)
        x = torch.full((problem.particles, problem.dimension), problem.start, device=device)
        x = torchsde.sdeint(sde, x, times, dt=1.0, method="euler")[-1]
        if device == "cuda":
            torch.cuda.synchronize()
        return x

    return call
