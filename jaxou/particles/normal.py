"""Random words to standard normals, one monotone map per precision, with full tails.

float32: one word per normal. The top bit is the sign and the other 31 bits are the two-sided tail
probability t, kept as an integer until the end, so that the smallest t is 2^-32 and the normals
reach 6.3 sigma (a uniform rounded to float32 first would stop at 5.4). float64: both words of a
block make one uniform of 53 bits, and the normals reach 8.2 sigma.
"""

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, UInt32

# sqrt(2) erfinv(x) / x as a polynomial in w = -log(1 - x^2): in w - 2.5 below w = 5 and in
# sqrt(w) - 3.4632... above, where w reaches 21.5. Minimax fits of degree 8, relative error
# 9.4e-8 and 3.3e-7. The form is Giles's (2010, "Approximating the erfinv function").
_SWITCH = 5.0
_CENTRE_SHIFT, _TAIL_SHIFT = 2.5, 3.4632418686616098
_COEFFICIENTS = (  # highest power first: (centre, tail)
    (4.0354287e-08, -2.04257252e-05),
    (4.8610347e-07, -2.57342563e-04),
    (-4.99056103e-06, 9.12699129e-04),
    (-6.21798769e-06, -1.23616648e-03),
    (3.09150187e-04, 1.59093951e-03),
    (-1.77301017e-03, -3.10212202e-03),
    (-5.90817095e-03, 5.00344672e-03),
    (3.4880266e-01, 1.42427575),
    (2.12331357, 4.66472729),
)


def normal_from_word(word: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """One float32 standard normal per 32-bit word, by the inverse distribution function.

    z = sign * Phi^-1(1 - t/2) with t = (the low 31 bits + 1/2) / 2^31. Swapping the sign bit
    swaps the sign of z exactly.

    >>> words = jnp.array([0, 1 << 31, 1 << 30], dtype=jnp.uint32)
    >>> [round(float(z), 3) for z in normal_from_word(words)]
    [6.338, -6.338, 0.674]
    """
    bits = lax.bitcast_convert_type(word & jnp.uint32(0x7FFFFFFF), jnp.int32)
    t = (bits.astype(jnp.float32) + jnp.float32(0.5)) * jnp.float32(2.0**-31)
    w = -jnp.log(t * (jnp.float32(2.0) - t))
    central = w < jnp.float32(_SWITCH)
    v = jnp.where(central, w - jnp.float32(_CENTRE_SHIFT), jnp.sqrt(w) - jnp.float32(_TAIL_SHIFT))
    z = jnp.zeros_like(v)
    for centre, tail in _COEFFICIENTS:
        z = z * v + jnp.where(central, jnp.float32(centre), jnp.float32(tail))
    z = z * (jnp.float32(1.0) - t)
    return jnp.where(word >> jnp.uint32(31) == jnp.uint32(0), z, -z)


def normal_from_words(high: UInt32[Array, "..."], low: UInt32[Array, "..."]) -> Float[Array, "..."]:
    """One float64 standard normal per pair of words: sqrt(2) erfinv of a 52-bit uniform.

    Needs x64. The uniform is (k + 1/2) / 2^51 with k uniform on [-2^51, 2^51).
    """
    one = jnp.float64(2.0**-52)
    bits = (high.astype(jnp.uint64) << jnp.uint64(32)) | low.astype(jnp.uint64)
    # k is an integer in [-2^51, 2^51), so k + 1/2 is exact and never +-2^51
    k = (bits >> jnp.uint64(12)).astype(jnp.int64) - jnp.int64(2**51)
    x = (k.astype(jnp.float64) + jnp.float64(0.5)) * (one + one)
    return jnp.float64(2.0**0.5) * lax.erf_inv(x)
