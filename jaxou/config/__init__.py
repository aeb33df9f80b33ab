"""What commands do, as frozen plain dataclasses: no jax here, so that `--help` is instant.

Precedence: defaults (or the smaller ones of `--quick`) < TOML file < command-line flags. Every
field carries its own check; `RunConfig.from_toml` and `RunConfig.validate` raise `ConfigError`,
whose one line says which setting is wrong, what it was and what it must be.
"""

from .claims import CLAIMS as CLAIMS
from .claims import ClaimsConfig as ClaimsConfig
from .experiments import EXPERIMENTS as EXPERIMENTS
from .experiments import DiabetesConfig as DiabetesConfig
from .experiments import NetworkConfig as NetworkConfig
from .fields import AT_LEAST_ONE as AT_LEAST_ONE
from .fields import FRACTION as FRACTION
from .fields import NOT_NEGATIVE as NOT_NEGATIVE
from .fields import POSITIVE as POSITIVE
from .fields import ConfigError as ConfigError
from .fields import between as between
from .fields import check as check
from .fields import check_value as check_value
from .fields import describe as describe
from .fields import did_you_mean as did_you_mean
from .fields import identity_of as identity_of
from .fields import leaves as leaves
from .fields import overlay as overlay
from .fields import parse_toml as parse_toml
from .fields import read_text as read_text
from .fields import setting as setting
from .fields import setting_names as setting_names
from .fields import words_of as words_of
from .main import LOGISTICS as LOGISTICS
from .main import SOURCE_IMAGES as SOURCE_IMAGES
from .main import TARGET_IMAGES as TARGET_IMAGES
from .main import BoundConfig as BoundConfig
from .main import CertificateConfig as CertificateConfig
from .main import DataConfig as DataConfig
from .main import RunConfig as RunConfig
from .main import StageConfig as StageConfig
