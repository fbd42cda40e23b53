"""What a number of paired seeds can show, computed before any of them is run."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from itertools import count, product
from typing import Any

import numpy as np
from scipy import stats

POWER = 0.8
"""How often a true difference of the size in question is to be found."""

MOST_PAIRS = 100_000
"""No search for a number of pairs goes beyond this one."""


def smallest_p(pairs: int) -> float:
    """The smallest two-sided p the exact sign-flip test can give: all differences of one sign.

    Example:
        >>> smallest_p(5), smallest_p(10)
        (0.0625, 0.001953125)
    """
    return min(1.0, 2 / 2**pairs)


def alpha_of(level: float) -> float:
    """The error allowed at a level, without the last digits of ``1 - 0.95``."""
    return round(1 - level, 12)


def can_be_significant(pairs: int, comparisons: int, level: float = 0.95) -> bool:
    """Whether any difference can pass the first step of Holm's correction.

    Holm compares the smallest of the p-values with ``alpha / comparisons``; where even the
    smallest possible p lies above, no result whatever is significant.

    Example:
        >>> can_be_significant(5, 1), can_be_significant(8, 6), can_be_significant(7, 6)
        (False, True, False)
    """
    return comparisons > 0 and smallest_p(pairs) <= alpha_of(level) / comparisons


def pairs_needed_for_significance(comparisons: int, level: float = 0.95) -> int:
    """The fewest pairs with which :func:`can_be_significant` holds.

    Example:
        >>> [pairs_needed_for_significance(m) for m in (1, 4, 6, 9)]
        [6, 8, 8, 9]
    """
    return next(n for n in count(1) if can_be_significant(n, max(1, comparisons), level))


@cache
def detectable_effect(
    pairs: int, comparisons: int = 1, level: float = 0.95, power: float = POWER
) -> float | None:
    """The true difference found with probability ``power``, in standard deviations.

    The unit is the standard deviation, from seed to seed, of the paired differences, taken as
    normal. Each comparison is tested at ``alpha / comparisons`` (Holm's first step, so this errs
    towards the larger effect). Up to 12 pairs the exact sign-flip test is simulated, as its few
    possible p-values cost it power; above, the paired t-test's power stands for it.

    Returns:
        ``None`` where no difference can be significant at all.

    Example:
        >>> round(detectable_effect(20), 2), detectable_effect(5)
        (0.66, None)
    """
    if not can_be_significant(pairs, comparisons, level):
        return None
    threshold = alpha_of(level) / comparisons
    found = (_sign_flip_power if pairs <= _MOST_PAIRS_SIMULATED else _t_power)(pairs, threshold)
    low, high = 0.0, 48 / math.sqrt(pairs)
    while high - low > 1e-3 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if found(middle) < power else (low, middle)
    return high


_MOST_PAIRS_SIMULATED = 12
_SIMULATED_STUDIES = 2000


def _t_power(pairs: int, threshold: float) -> Callable[[float], float]:
    critical = stats.t.isf(threshold / 2, pairs - 1)
    return lambda effect: float(stats.nct.sf(critical, pairs - 1, effect * math.sqrt(pairs)))


def _sign_flip_power(pairs: int, threshold: float) -> Callable[[float], float]:
    """Share of simulated studies in which the exact test is significant, by true effect."""
    # Turning all signs at once leaves |sum| as it is: half of the patterns tell the whole p-value.
    signs = np.array([(1, *rest) for rest in product((1, -1), repeat=pairs - 1)])
    noise = np.random.default_rng(0).normal(size=(_SIMULATED_STUDIES, pairs)) @ signs.T
    shift = signs.sum(axis=1)

    def found(effect: float) -> float:
        sums = np.abs(noise + effect * shift)
        p = (sums >= sums[:, :1] * (1 - 1e-12)).mean(axis=1)
        return float((p <= threshold).mean())

    return found


def pairs_to_decide(
    margin: float, comparisons: int = 1, level: float = 0.95, power: float = POWER
) -> int:
    """Pairs with which a verdict other than "undecided" is to be expected.

    Enough for both ends: a true difference as large as the margin is significant with probability
    ``power``, and with no true difference the interval lies within the margin with that
    probability.

    Args:
        margin: smallest difference that matters, in standard deviations of the paired differences.
        comparisons: how many arms are compared with the reference.
        level: confidence level.
        power: wanted probability of a verdict at either end.

    Returns:
        The number of pairs in all, at most :data:`MOST_PAIRS`.

    Example:
        >>> pairs_to_decide(1.0), pairs_to_decide(0.5, comparisons=6)
        (13, 53)
    """

    def enough(pairs: int) -> bool:
        effect = detectable_effect(pairs, comparisons, level, power)
        if effect is None or effect > margin:
            return False
        half_width = float(stats.t.isf(alpha_of(level) / 2, pairs - 1))
        slack = float(stats.norm.isf((1 - power) / 2))
        return half_width + slack <= margin * math.sqrt(pairs)

    low, high = 1, MOST_PAIRS
    while low < high:
        middle = (low + high) // 2
        if enough(middle):
            high = middle
        else:
            low = middle + 1
    return low


def what_can_be_shown(
    pairs: int, comparisons: int, level: float = 0.95
) -> tuple[str, dict[str, Any]]:
    """A sentence on what so many paired seeds can and cannot show.

    Returns:
        The catalogue's key and its fields, for :func:`throughtime.language.say`.

    Example:
        >>> key, fields = what_can_be_shown(5, 1)
        >>> key
        'judge.cannot_show'
    """
    if comparisons < 1:
        return "judge.nothing_to_compare", {}
    fields: dict[str, Any] = {
        "pairs": pairs,
        "comparisons": comparisons,
        "smallest_p": f"{smallest_p(pairs):.3g}",
        "threshold": f"{alpha_of(level) / comparisons:.2g}",
    }
    effect = detectable_effect(pairs, comparisons, level)
    if effect is None:
        needed = pairs_needed_for_significance(comparisons, level)
        return "judge.cannot_show", fields | {"needed": needed}
    return "judge.can_show", fields | {"effect": f"{effect:.1f}", "power": f"{100 * POWER:.0f}"}
