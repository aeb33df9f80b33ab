"""What the tests of relaxation share."""

import numpy as np
from problems import p04

import jaxou as ou

A = np.array([[1.5, 0.7], [0.7, 0.9]])
C = np.array([[0.6, 0.2], [0.2, 1.4]])
TIMES = [0.0, 0.2, 0.75, 2.0, 4.0]


# of one structure throughout, so that it is compiled once
START = ou.Gaussian([1.0, 0.5], 0.25 * np.eye(2))


def chain(initial=START, steps=40, **changes):
    return ou.Chain([p04().stages[0].replace(steps=steps, **changes)], initial=initial)
