"""What to keep of a run: records that reduce on the fly and merge exactly."""

from .base import LEAF as LEAF
from .base import AbstractObserver as AbstractObserver
from .base import Context as Context
from .base import PairwiseMerge as PairwiseMerge
from .base import leaf_sum as leaf_sum
from .base import merge_means as merge_means
from .energy import Energy as Energy
from .histogram import Histogram as Histogram
from .histogram_record import HistogramRecord as HistogramRecord
from .mahalanobis import Mahalanobis as Mahalanobis
from .mahalanobis import MahalanobisRecord as MahalanobisRecord
from .moments import COVARIANCE_LIMIT as COVARIANCE_LIMIT
from .moments import MomentRecord as MomentRecord
from .moments import Moments as Moments
from .paths import Paths as Paths
from .snapshots import SnapshotRecord as SnapshotRecord
from .snapshots import Snapshots as Snapshots
from .snapshots import read_snapshots as read_snapshots
from .statistic import Statistic as Statistic
from .statistic import StatisticRecord as StatisticRecord
