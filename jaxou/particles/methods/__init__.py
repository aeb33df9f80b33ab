"""Methods: how particles move from save point to save point, one file per member."""

from .baoab import BAOAB as BAOAB
from .diffrax_method import Diffrax as Diffrax
from .euler_maruyama import EulerMaruyama as EulerMaruyama
from .exact import Exact as Exact
from .heun import Heun as Heun
from .method import AbstractMethod as AbstractMethod
from .sgd import SGD as SGD
from .stepper import AbstractStepper as AbstractStepper
