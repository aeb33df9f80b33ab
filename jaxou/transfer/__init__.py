"""Real source and target data, training replicas and the certificate of the fine-tuned model."""

from .certificate import Certificate as Certificate
from .certificate import LedgerRow as LedgerRow
from .certify import certify as certify
from .certify import compare_priors as compare_priors
from .data import TransferData as TransferData
from .data import load as load
from .deployed import Deployed as Deployed
from .domains import Examples as Examples
from .domains import digits as digits
from .domains import mnist as mnist
from .domains import uci_recipe as uci_recipe
from .heldout import test_set_bound as test_set_bound
from .model import SoftmaxRegression as SoftmaxRegression
from .model import accuracy as accuracy
from .model import cross_entropy as cross_entropy
from .model import loss01 as loss01
from .optimum import Optimum as Optimum
from .optimum import minimise as minimise
from .priors import ScaleGrid as ScaleGrid
from .replicas import Replicas as Replicas
from .replicas import sgd_replicas as sgd_replicas
from .risk import Risk as Risk
from .store import CertificateError as CertificateError
from .store import load_certificate as load_certificate
from .verification import Verification as Verification
from .verification import verify as verify
