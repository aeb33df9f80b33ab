"""Addressed randomness: a cipher, its words as normals, and the streams that methods read."""

from .address import addressed_normals as addressed_normals
from .normal import direction as direction
from .normal import normal_from_words as normal_from_words
from .normal import normal_pair as normal_pair
from .normal import radius as radius
from .stream import INITIAL as INITIAL
from .stream import JUMPS as JUMPS
from .stream import Stream as Stream
from .stream import stream as stream
from .threefry import ROUNDS as ROUNDS
from .threefry import threefry2x32 as threefry2x32
