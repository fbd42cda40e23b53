"""The functions of formulas in Triton, branch-free, in float32 and float64.

The GPU's own exponential loses digits as its argument grows, and Triton has no function of its own
for half of these: so they are built as in :mod:`.lane_maths`, e^x = 2^n e^r with a Taylor series.
Sine, cosine, logarithm and the error function are those of CUDA's library, good to an ulp or two.
"""

# pyright: reportArgumentType=false
# (numbers become constants of the code)
from __future__ import annotations

import math

import triton
import triton.language as tl

LOG2E = tl.constexpr(1 / math.log(2))
# ln2 in two parts, the first so short that its products with an exponent are exact
HIGH32, LOW32 = tl.constexpr(0.693145751953125), tl.constexpr(1.428606765330187e-06)
HIGH64, LOW64 = tl.constexpr(0.6931471803691238), tl.constexpr(1.9082149292705877e-10)
# where e^x is the smallest normal number and where it overflows
LEAST32, MOST32 = tl.constexpr(-126 * math.log(2)), tl.constexpr(128 * math.log(2))
LEAST64, MOST64 = tl.constexpr(-1022 * math.log(2)), tl.constexpr(1024 * math.log(2))
LN2 = tl.constexpr(math.log(2))
HALF_PI, QUARTER_PI = tl.constexpr(math.pi / 2), tl.constexpr(math.pi / 4)
TAN_EIGHTH = tl.constexpr(math.tan(math.pi / 8))
COT_EIGHTH = tl.constexpr(1 / math.tan(math.pi / 8))


@triton.jit
def number(value: tl.constexpr, x):
    """The number in the shape and format of ``x``."""
    return tl.full(x.shape, value, x.dtype)


@triton.jit
def signed(a, x):
    """``a`` with the sign of ``x``."""
    return tl.where(x < 0, -a, a)


@triton.jit
def sqrt(x):
    """The square root, correctly rounded."""
    if x.dtype == tl.float32:
        return tl.sqrt_rn(x)
    else:
        return tl.sqrt(x)


@triton.jit
def rsqrt(x):
    """1 / sqrt(x)."""
    return 1.0 / sqrt(x)


@triton.jit
def _exponential(x, HALVED: tl.constexpr):
    """(s, p) with e^x = s (1 + p), s a power of two: e^x - 1 = s p + (s - 1) without cancellation.

    For x from -bias ln2, where s = 0, to bias ln2; or with s halved, to where e^x overflows.
    """
    n = tl.floor(x * LOG2E + 0.5)
    if x.dtype == tl.float32:
        r = (x - n * HIGH32) - n * LOW32
        p = r * 0.0001984126984126984 + 0.001388888888888889
        p = p * r + 0.008333333333333333
        p = p * r + 0.041666666666666664
        p = p * r + 0.16666666666666666
        p = p * r + 0.5
        s = ((n.to(tl.int32) + (127 - HALVED)) << 23).to(tl.float32, bitcast=True)
    else:
        r = (x - n * HIGH64) - n * LOW64
        p = r * 1.6059043836821613e-10 + 2.08767569878681e-09
        p = p * r + 2.505210838544172e-08
        p = p * r + 2.755731922398589e-07
        p = p * r + 2.7557319223985893e-06
        p = p * r + 2.48015873015873e-05
        p = p * r + 0.0001984126984126984
        p = p * r + 0.001388888888888889
        p = p * r + 0.008333333333333333
        p = p * r + 0.041666666666666664
        p = p * r + 0.16666666666666666
        p = p * r + 0.5
        s = ((n.to(tl.int64) + (1023 - HALVED)) << 52).to(tl.float64, bitcast=True)
    return s, r + r * r * p


@triton.jit
def _decay(x):
    """e^-x and 1 - e^-x of x >= 0."""
    if x.dtype == tl.float32:
        s, p = _exponential(tl.where(x > 127 * LN2, number(-127 * LN2, x), -x), 0)
    else:
        s, p = _exponential(tl.where(x > 1023 * LN2, number(-1023 * LN2, x), -x), 0)
    return s * p + s, (1.0 - s) - s * p


@triton.jit
def _growth(x):
    """(s/2, p) as in :func:`_exponential` for any x, and where e^x is too large for the format."""
    if x.dtype == tl.float32:
        low = tl.where(x < LEAST32, number(LEAST32, x), x)
        over = x > MOST32
        s, p = _exponential(tl.where(over, number(MOST32, x), low), 1)
    else:
        low = tl.where(x < LEAST64, number(LEAST64, x), x)
        over = x > MOST64
        s, p = _exponential(tl.where(over, number(MOST64, x), low), 1)
    return s, p, over


@triton.jit
def exp(x):
    """e^x."""
    s, p, over = _growth(x)
    return tl.where(over, number(float("inf"), x), (s * p + s) * 2.0)


@triton.jit
def expm1(x):
    """e^x - 1."""
    s, p, over = _growth(x)
    return tl.where(over, number(float("inf"), x), (s * p + (s - 0.5)) * 2.0)


@triton.jit
def tanh(x):
    """(1 - e^-2|x|) / (1 + e^-2|x|), with the sign of x."""
    e, one_less_e = _decay(tl.abs(x) * 2.0)
    return signed(one_less_e / (e + 1.0), x)


@triton.jit
def sech2(x):
    """1 - tanh², with all its digits in the tails."""
    e, _ = _decay(tl.abs(x) * 2.0)
    r = 1.0 / (e + 1.0)
    return e * 4.0 * (r * r)


@triton.jit
def sigmoid(x):
    """1 / (1 + e^-x)."""
    e, _ = _decay(tl.abs(x))
    return tl.where(x < 0, e, number(1.0, x)) / (e + 1.0)


@triton.jit
def half_one_plus_tanh(x):
    """(1 + tanh(x)) / 2 = σ(2x)."""
    return sigmoid(x * 2.0)


@triton.jit
def sigmoid_slope(x):
    """σ(x) σ(-x)."""
    e, _ = _decay(tl.abs(x))
    r = 1.0 / (e + 1.0)
    return e * (r * r)


@triton.jit
def log1p(x):
    """log(1 + x), with what is lost in 1 + x put back."""
    u = x + 1.0
    kept = (u - 1.0 != 0.0) & (u < float("inf"))
    return tl.where(kept, tl.log(u) * (x / tl.where(kept, u - 1.0, number(1.0, x))), x)


@triton.jit
def softplus(x):
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    e, _ = _decay(tl.abs(x))
    return tl.where(x < 0, number(0.0, x), x) + log1p(e)


@triton.jit
def erfc(x):
    """1 - erf(x), with its digits in the upper tail (form of Shepherd and Laframboise, 1981)."""
    a = tl.abs(x)
    t = (a - 3.75) / (a + 3.75)
    if x.dtype == tl.float32:
        p = t * -0.00022874723359084774 + 0.0003967046382800549
        p = p * t + 0.0016886622311156746
        p = p * t - 0.009845491094959295
        p = p * t + 0.02839648212065827
        p = p * t - 0.0586459828677125
        p = p * t + 0.092296367961203
        p = p * t - 0.10881458496174144
        p = p * t + 0.08227741756036867
        p = p * t + 0.003586310101688852
        p = p * t - 0.14024060801000693
        p = p * t + 1.2375126184625718
    else:
        p = t * 3.2052626014481747e-10 - 2.6185201302076403e-09
        p = p * t - 3.798189929608559e-09
        p = p * t + 3.195398598898818e-08
        p = p * t + 2.3398534596775472e-08
        p = p * t - 2.4851108621898e-07
        p = p * t - 5.741076107347652e-08
        p = p * t + 1.7419011941768343e-06
        p = p * t - 9.73387516492806e-07
        p = p * t - 1.1437980374239475e-05
        p = p * t + 2.2384138525534283e-05
        p = p * t + 5.164649340990656e-05
        p = p * t - 0.00029015404203348974
        p = p * t + 0.0002937143905788932
        p = p * t + 0.0017556258434318571
        p = p * t - 0.00974657968596218
        p = p * t + 0.028362277420377335
        p = p * t - 0.05869339857631061
        p = p * t + 0.09230432116025894
        p = p * t - 0.10880393014246645
        p = p * t + 0.08227673849014977
        p = p * t + 0.003585415485479575
        p = p * t - 0.14024059858554702
        p = p * t + 1.2375126308378275
    tail = p * exp(-(a * a)) / (a * 2.0 + 1.0)
    tail = tl.where(a > 30.0, number(0.0, x), tail)
    return tl.where(x < 0, 2.0 - tail, tail)


@triton.jit
def atan(x):
    """The arctangent, from its series within ±tan(π/8)."""
    a = tl.abs(x)
    middle, upper = a > TAN_EIGHTH, a > COT_EIGHTH
    over = tl.where(upper, number(-1.0, x), tl.where(middle, a - 1.0, a))
    under = tl.where(upper, a, tl.where(middle, a + 1.0, number(1.0, x)))
    base = tl.where(
        upper, number(HALF_PI, x), tl.where(middle, number(QUARTER_PI, x), number(0.0, x))
    )
    t = over / under
    z = t * t
    if x.dtype == tl.float32:
        p = z * -0.05263157894736842 + 0.058823529411764705
        p = p * z - 0.06666666666666667
        p = p * z + 0.07692307692307693
        p = p * z - 0.09090909090909091
        p = p * z + 0.1111111111111111
        p = p * z - 0.14285714285714285
        p = p * z + 0.2
        p = p * z - 0.3333333333333333
    else:
        p = z * -0.023255813953488372 + 0.024390243902439025
        p = p * z - 0.02564102564102564
        p = p * z + 0.02702702702702703
        p = p * z - 0.02857142857142857
        p = p * z + 0.030303030303030304
        p = p * z - 0.03225806451612903
        p = p * z + 0.034482758620689655
        p = p * z - 0.037037037037037035
        p = p * z + 0.04
        p = p * z - 0.043478260869565216
        p = p * z + 0.047619047619047616
        p = p * z - 0.05263157894736842
        p = p * z + 0.058823529411764705
        p = p * z - 0.06666666666666667
        p = p * z + 0.07692307692307693
        p = p * z - 0.09090909090909091
        p = p * z + 0.1111111111111111
        p = p * z - 0.14285714285714285
        p = p * z + 0.2
        p = p * z - 0.3333333333333333
    return signed(base + (t + t * z * p), x)


@triton.jit
def asinh(x):
    """The inverse hyperbolic sine."""
    a = tl.abs(x)
    large = a > 1e9
    near = tl.where(large, number(1.0, x), a)
    square = near * near
    small = log1p(near + square / (sqrt(square + 1.0) + 1.0))
    return signed(tl.where(large, tl.log(a) + LN2, small), x)


@triton.jit
def sinh(x):
    """The hyperbolic sine, computed in float64."""
    grown = expm1(tl.abs(x).to(tl.float64))
    small = (grown + grown / (grown + 1.0)) * 0.5
    return signed(tl.where(grown > 1e17, grown * 0.5, small).to(x.dtype), x)


@triton.jit
def cosh(x):
    """The hyperbolic cosine, computed in float64."""
    grown = exp(tl.abs(x).to(tl.float64))
    return ((grown + 1.0 / grown) * 0.5).to(x.dtype)


@triton.jit
def power(base, exponent):
    """base^exponent, computed in float64; a negative base wants a whole exponent, else NaN."""
    b, e = base.to(tl.float64), exponent.to(tl.float64)
    half = e * 0.5
    odd = tl.floor(half) != half
    size = tl.where(e == 0.0, 1.0, exp(e * tl.log(tl.abs(b))))
    negative = tl.where(tl.floor(e) == e, tl.where(odd, -size, size), float("nan"))
    return tl.where(b < 0, negative, size).to(base.dtype)


@triton.jit
def sign(x):
    """-1, 0 or 1."""
    return tl.where(x > 0, number(1.0, x), tl.where(x < 0, number(-1.0, x), x * 0.0))
