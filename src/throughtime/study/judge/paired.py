"""Statistics of paired differences: intervals, the exact test, its correction, the verdict."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from itertools import product

import numpy as np
from scipy import stats

from throughtime.study.power import alpha_of, pairs_needed_for_equivalence
from throughtime.study.verdict import Interval, Verdict

MOST_PAIRS_EXACT = 14
"""Up to so many pairs all ``2**pairs`` sign patterns are gone through; above, as many are drawn."""

RESAMPLES = 9999
"""Bootstrap samples of an interval."""


def mean_interval(values: np.ndarray, level: float, seed: int = 0) -> Interval:
    """Interval of a mean: at each end the wider of the BCa bootstrap's and Student's t's.

    Neither is trusted alone with the 5 to 20 seeds of a study. The bootstrap, bias-corrected and
    accelerated (Efron 1987), follows skewed noise, but resamples with the spread of the sample at
    hand: with normal noise and 5 seeds its 95 % interval holds the truth about 84 % of the time,
    with 10 seeds about 90 %. Student's interval is exact for normal noise and blind to skewness.
    The wider end of the two errs on the side of "undecided".

    Fewer than two values have no interval (NaN at both ends); equal values have one of no width.
    """
    if len(values) < 2 or not np.isfinite(values).all():
        return Interval(math.nan, math.nan, level)
    mean, spread = float(np.mean(values)), float(np.std(values, ddof=1))
    if np.ptp(values) == 0:
        return Interval(float(values[0]), float(values[0]), level)
    half = float(stats.t.isf((1 - level) / 2, len(values) - 1)) * spread / math.sqrt(len(values))
    with warnings.catch_warnings():
        # With two or three values the bootstrap may be degenerate; it then has no say.
        warnings.simplefilter("ignore")
        bootstrap = stats.bootstrap(
            (values,),
            np.mean,
            confidence_level=level,
            n_resamples=RESAMPLES,
            method="BCa",
            rng=np.random.default_rng(seed),
        ).confidence_interval
    low = np.fmin(mean - half, bootstrap.low)
    high = np.fmax(mean + half, bootstrap.high)
    return Interval(float(low), float(high), level)


def sign_flip(differences: np.ndarray, seed: int = 0) -> float:
    """Two-sided p of the sign-flip test on the mean of paired differences.

    If the arms are alike, either sign of a difference is as likely. Exact up to
    :data:`MOST_PAIRS_EXACT` pairs, with that many random patterns (counting the observed one, so
    that the test stays valid) above.
    """
    return float(
        stats.permutation_test(
            (differences,),
            np.mean,
            vectorized=True,
            permutation_type="samples",
            n_resamples=2**MOST_PAIRS_EXACT,
            rng=np.random.default_rng(seed),
        ).pvalue
    )


def sign_patterns(pairs: int, seed: int = 0) -> np.ndarray:
    """Rows of +1 and -1, (patterns, pairs): the first all +1, no row the opposite of another.

    All of them up to :data:`MOST_PAIRS_EXACT` pairs, that many random ones above. For statistics
    that are the same when all signs turn at once.
    """
    if pairs <= MOST_PAIRS_EXACT:
        return np.array([(1, *rest) for rest in product((1, -1), repeat=pairs - 1)])
    signs = np.random.default_rng(seed).choice((1, -1), size=(2**MOST_PAIRS_EXACT, pairs))
    signs[0] = 1
    return signs


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's (1979) step-down correction: the family's error stays at the level.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    corrected = [0.0] * len(p_values)
    running = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=p_values.__getitem__)):
        running = max(running, (len(p_values) - rank) * p_values[i])
        corrected[i] = min(1.0, running)
    return corrected


def exact_share(successes: float, trials: int, level: float) -> Interval:
    """Clopper and Pearson's (1934) exact interval of a share; halves stand for ties.

    With halves it stays conservative: outcomes of 0, 1/2 and 1 spread less about their mean than
    the outcomes 0 and 1 that the interval allows for.
    """
    tail = (1 - level) / 2
    low = 0.0 if successes == 0 else stats.beta.ppf(tail, successes, trials - successes + 1)
    high = 1.0 if successes == trials else stats.beta.isf(tail, successes + 1, trials - successes)
    return Interval(float(low), float(high), level)


def verdict(
    interval: Interval | None, p_holm: float | None, pairs: int, smallest_difference: float
) -> Verdict:
    """What a paired comparison with the reference shows.

    - ``equivalent``: the interval lies wholly within plus or minus the smallest difference that
      matters, and there are at least :func:`pairs_needed_for_equivalence` pairs. This is the two
      one-sided tests procedure (Schuirmann 1987), at half its usual error as it reads the interval
      that is shown instead of the narrower one of twice the error. It comes first: a difference
      too small to matter does not matter, significant or not.
    - ``better`` or ``worse``: Holm's p is at most 1 - level, and the interval lies beyond zero.
    - ``undecided`` otherwise.

    Args:
        interval: of the mean difference, positive is better; ``None`` without two pairs.
        p_holm: corrected p of the sign-flip test.
        pairs: pairs in which at least one of the two runs did not diverge.
        smallest_difference: with 0, any difference matters and nothing is equivalent.
    """
    if interval is None or p_holm is None:
        return "undecided"
    within = -smallest_difference < interval.low and interval.high < smallest_difference
    if within and pairs >= pairs_needed_for_equivalence(interval.level):
        return "equivalent"
    if p_holm <= alpha_of(interval.level):
        if interval.low > 0:
            return "better"
        if interval.high < 0:
            return "worse"
    return "undecided"
