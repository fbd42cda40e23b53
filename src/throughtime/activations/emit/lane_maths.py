"""The functions of formulas on vectors, branch-free, in both floating-point formats.

Exponentials are 2^n e^r with |r| <= ln2/2 and a Taylor series for e^r; logarithms are series of
artanh; angles are reduced in float64. Within a few units in the last place of the true value.
What is rarely used in a recurrence is computed in float64 whatever the format.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from throughtime.activations.emit.lanes import FLOAT64, Lanes, Mask, factorials, horner

SQRT_HALF = math.sqrt(0.5)


def in_float64(function: Callable[..., Lanes]) -> Callable[..., Lanes]:
    """The function computed in float64 and rounded to the format of its arguments."""

    def wide(x: Lanes, *others: Lanes | float) -> Lanes:
        widened = (a.to(FLOAT64) if isinstance(a, Lanes) else a for a in (x, *others))
        return function(*widened).to(x.real)

    return wide


def _exponential(x: Lanes, halved: bool = False) -> tuple[Lanes, Lanes]:
    """(s, p) with e^x = s (1 + p), s a power of two: e^x - 1 = s p + (s - 1) without cancellation.

    For -bias ln2 <= x <= bias ln2, with s = 0 at the lower end; or with s halved, for x up to
    where e^x overflows.
    """
    real = x.real
    shift = 1.5 * 2.0**real.mantissa
    shifted = x.fma(1 / math.log(2), shift)
    n = shifted - shift
    r = n.fma(-real.ln2[0], x)
    r = n.fma(-real.ln2[1], r)
    p = (r * r).fma(horner(r, factorials(2, real.terms["exp"] + 1)), r)
    # the whole number n stands in the low bits of `shifted`
    build = x.code.builder
    exponent = build.add(shifted.bits(), x.whole(real.bias - halved))
    return x.of_bits(build.shl(exponent, x.whole(real.mantissa))), p


def _decay(x: Lanes) -> tuple[Lanes, Lanes]:
    """e^-x and 1 - e^-x of x >= 0."""
    s, p = _exponential((-x).at_least(-x.real.bias * math.log(2)))
    return s.fma(p, s), -s.fma(p, s - 1)


def _growth(x: Lanes) -> tuple[Lanes, Lanes, Mask]:
    """(s/2, p) as in :func:`_exponential` for any x, and where e^x is too large for the format."""
    low, top = (1 - x.real.bias) * math.log(2), (x.real.bias + 1) * math.log(2)
    s, p = _exponential(x.at_least(low).at_most(top), halved=True)
    return s, p, x > top


def exp(x: Lanes) -> Lanes:
    """e^x; 0 below the smallest normal number."""
    s, p, over = _growth(x)
    return over.where(x.like(math.inf), s.fma(p, s) * 2)


def expm1(x: Lanes) -> Lanes:
    """e^x - 1."""
    s, p, over = _growth(x)
    return over.where(x.like(math.inf), s.fma(p, s - 0.5) * 2)


def tanh(x: Lanes) -> Lanes:
    """(1 - e^-2|x|) / (1 + e^-2|x|), with the sign of x."""
    e, one_less_e = _decay(x.abs() * 2)
    return (one_less_e * (1 / (e + 1))).signed(x)


def sech2(x: Lanes) -> Lanes:
    """1 - tanh², with all its digits in the tails."""
    e, _ = _decay(x.abs() * 2)
    r = 1 / (e + 1)
    return e * 4 * (r * r)


def sigmoid(x: Lanes) -> Lanes:
    """1 / (1 + e^-x)."""
    e, _ = _decay(x.abs())
    return (x < 0).where(e, 1) * (1 / (e + 1))


def half_one_plus_tanh(x: Lanes) -> Lanes:
    """(1 + tanh(x)) / 2 = σ(2x)."""
    e, _ = _decay(x.abs() * 2)
    return (x < 0).where(e, 1) * (1 / (e + 1))


def sigmoid_slope(x: Lanes) -> Lanes:
    """σ(x) σ(-x)."""
    e, _ = _decay(x.abs())
    r = 1 / (e + 1)
    return e * (r * r)


def softplus(x: Lanes) -> Lanes:
    """log(1 + e^x) = max(x, 0) + log1p(e^-|x|)."""
    e, _ = _decay(x.abs())
    return x.at_least(0.0) + _artanh_series(e / (e + 2), x.real.terms["log1p"])


def _artanh_series(s: Lanes, terms: int) -> Lanes:
    """2 artanh(s) = log((1 + s) / (1 - s))."""
    z = s * s
    series = horner(z, [2 / (2 * k + 1) for k in reversed(range(1, terms + 1))])
    return (s * z).fma(series, s + s)


def _mantissa(x: Lanes) -> tuple[Lanes, Lanes]:
    """(e, m) with x = 2^e m and m in [√½, √2), of a positive normal x."""
    real, build = x.real, x.code.builder
    half = x.like(SQRT_HALF).bits()
    above = build.sub(x.bits(), half)
    fraction = build.and_(above, x.whole(2**real.mantissa - 1))
    e = build.sitofp(build.ashr(above, x.whole(real.mantissa)), x.value.type)
    return Lanes(x.code, e, real), x.of_bits(build.add(fraction, half))


def _log(e: Lanes, f: Lanes) -> Lanes:
    """E ln2 + log(1 + f)."""
    high, low = f.real.ln2
    small = e.fma(low, _artanh_series(f / (f + 2), f.real.terms["log"]))
    return e.fma(high, small)


def _at_ends(x: Lanes, result: Lanes) -> Lanes:
    """The logarithm's -inf at 0, NaN below and inf at inf."""
    ends = (x.compare("==", 0)).where(x.like(-math.inf), x.sqrt())
    return ((x > 0) & (x < math.inf)).where(result, ends)


def log(x: Lanes) -> Lanes:
    """The natural logarithm."""
    lift = x.real.mantissa + 1
    tiny = x < 2.0 ** (1 - x.real.bias)
    e, m = _mantissa(tiny.where(x * 2.0**lift, x))
    return _at_ends(x, _log(e - tiny.where(x.like(lift), 0), m - 1))


def log1p(x: Lanes) -> Lanes:
    """log(1 + x), with what is lost in 1 + x put back."""
    u = x + 1
    e, m = _mantissa(u)
    exact = e.compare("==", 0)
    lost = (u < 2.0 ** (x.real.mantissa + 2)).where((x - (u - 1)) / u, 0)
    result = _log(e, exact.where(x, m - 1)) + exact.where(x.like(0), lost)
    return _at_ends(u, result)


# erfc(x) e^(x²) (1 + 2x) is smooth in t = (x - 3.75)/(x + 3.75): Chebyshev fits in powers of t
_ERFC = {
    "float32": (
        -0.00022874723359084774, 0.0003967046382800549, 0.0016886622311156746,
        -0.009845491094959295, 0.02839648212065827, -0.0586459828677125, 0.092296367961203,
        -0.10881458496174144, 0.08227741756036867, 0.003586310101688852, -0.14024060801000693,
        1.2375126184625718,
    ),
    "float64": (
        3.2052626014481747e-10, -2.6185201302076403e-09, -3.798189929608559e-09,
        3.195398598898818e-08, 2.3398534596775472e-08, -2.4851108621898e-07,
        -5.741076107347652e-08, 1.7419011941768343e-06, -9.73387516492806e-07,
        -1.1437980374239475e-05, 2.2384138525534283e-05, 5.164649340990656e-05,
        -0.00029015404203348974, 0.0002937143905788932, 0.0017556258434318571,
        -0.00974657968596218, 0.028362277420377335, -0.05869339857631061, 0.09230432116025894,
        -0.10880393014246645, 0.08227673849014977, 0.003585415485479575, -0.14024059858554702,
        1.2375126308378275,
    ),
}  # fmt: skip


def erfc(x: Lanes) -> Lanes:
    """1 - erf(x), with its digits in the upper tail (form of Shepherd and Laframboise, 1981)."""
    a = x.abs()
    t = (a - 3.75) / (a + 3.75)
    tail = horner(t, _ERFC[x.real.name]) * exp(-(a * a)) / (a * 2 + 1)
    tail = (a > 30).where(x.like(0), tail)
    return (x < 0).where(2 - tail, tail)


def erf(x: Lanes) -> Lanes:
    """The error function."""
    a, z, terms = x.abs(), x * x, x.real.terms["erf"]
    series = [
        (-1) ** k * 2 / math.sqrt(math.pi) / math.factorial(k) / (2 * k + 1) for k in range(terms)
    ]
    near = x * horner(z, series[::-1])
    return (a < 1).where(near, (1 - erfc(a)).signed(x))


def _angle(x: Lanes) -> tuple[Lanes, Lanes, Lanes]:
    """(sin r, cos r, n) with x = r + n π/2, |r| <= π/4 and n in the low bits of the last."""
    shift = 1.5 * 2.0**52
    shifted = x.fma(2 / math.pi, shift)
    n = shifted - shift
    for part in (1.5707963267341256, 6.077100506303966e-11, 2.0222662487959506e-21):
        x = n.fma(-part, x)
    r = x.at_least(-0.8).at_most(0.8)
    z, terms = r * r, x.real.terms["sin"]
    sines = [(-1) ** k / math.factorial(2 * k + 1) for k in reversed(range(1, terms))]
    cosines = [(-1) ** k / math.factorial(2 * k) for k in reversed(range(1, terms + 1))]
    return (r * z).fma(horner(z, sines), r), z.fma(horner(z, cosines), 1), shifted


def _quarter(x: Lanes, turned: int) -> Lanes:
    """sin(x + turned π/2)."""
    sine, cosine, shifted = _angle(x)
    build = x.code.builder
    n = build.add(shifted.bits(), x.whole(turned))

    def bit(k: int) -> Mask:
        chosen = build.and_(n, x.whole(1 << k))
        return Mask(x.code, build.icmp_signed("!=", chosen, x.whole(0)), x.real)

    value = bit(0).where(cosine, sine)
    return bit(1).where(-value, value)


@in_float64
def sin(x: Lanes) -> Lanes:
    """The sine; its argument's phase is lost beyond about 1e9."""
    return _quarter(x, 0)


@in_float64
def cos(x: Lanes) -> Lanes:
    """The cosine; its argument's phase is lost beyond about 1e9."""
    return _quarter(x, 1)


def atan(x: Lanes) -> Lanes:
    """The arctangent, from its series within ±tan(π/8)."""
    a, tan = x.abs(), math.tan(math.pi / 8)
    middle, upper = a > tan, a > 1 / tan
    over = upper.where(x.like(-1), middle.where(a - 1, a))
    under = upper.where(a, middle.where(a + 1, x.like(1)))
    t = over / under
    z, terms = t * t, x.real.terms["atan"]
    series = horner(z, [(-1) ** k / (2 * k + 1) for k in reversed(range(1, terms + 1))])
    base = upper.where(x.like(math.pi / 2), middle.where(x.like(math.pi / 4), 0))
    return (base + (t * z).fma(series, t)).signed(x)


@in_float64
def asinh(x: Lanes) -> Lanes:
    """The inverse hyperbolic sine."""
    a = x.abs()
    square = a * a
    near = log1p(a + square / ((square + 1).sqrt() + 1))
    return (a > 1e150).where(log(a) + math.log(2), near).signed(x)


@in_float64
def sinh(x: Lanes) -> Lanes:
    """The hyperbolic sine."""
    grown = expm1(x.abs())
    small = (grown + grown / (grown + 1)) * 0.5
    return (grown > 1e17).where(grown * 0.5, small).signed(x)


@in_float64
def cosh(x: Lanes) -> Lanes:
    """The hyperbolic cosine."""
    grown = exp(x.abs())
    return (grown + 1 / grown) * 0.5


@in_float64
def power(base: Lanes, exponent: Lanes | float) -> Lanes:
    """base^exponent; a negative base wants a whole exponent, else NaN."""
    exponent = base.like(exponent)
    shift = 1.5 * 2.0**52
    whole = (exponent + shift) - shift
    half = exponent * 0.5
    odd = ((half + shift) - shift).compare("!=", half)
    size = exp(exponent * log(base.abs()))
    size = exponent.compare("==", 0).where(base.like(1), size)
    negative = whole.compare("==", exponent).where(odd.where(-size, size), math.nan)
    return (base < 0).where(negative, size)


def sign(x: Lanes) -> Lanes:
    """-1, 0 or 1."""
    return (x > 0).where(x.like(1), (x < 0).where(x.like(-1), x * 0))
