"""The compiled passes against NumPy, with padding that is no number."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numba.core.registry import CPUDispatcher

from throughtime.gradients import passes
from throughtime.gradients.measure.census import CLASSES
from throughtime.gradients.measure.series import mean

T, B, H = 9, 5, 7
LENGTHS = np.array([9, 4, 1, 0, 7])
ALIVE = np.arange(T)[:, None] < LENGTHS


@pytest.fixture(params=["float32", "float64"])
def draw(request):
    random = np.random.default_rng(0)

    def numbers(*shape, padded=True):
        found = random.normal(size=shape).astype(request.param)
        if padded:
            found[~ALIVE] = np.nan
        return found

    return numbers


def close(found, expected, rtol=1e-6):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=1e-12)


def test_arrays_have_a_row_a_step_a_sequence_and_a_gate():
    given = torch.arange(24.0).view(2, 3, 4)
    assert passes.blocks(given, 2).shape == (2, 3, 2, 2)
    assert (
        passes.rows(given.transpose(0, 1)).tolist() == given.transpose(0, 1).reshape(6, 4).tolist()
    )
    assert passes.steps(given).ctypes.data == given.data_ptr()  # nothing was copied


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_norms(draw, size):
    x = draw(T, H, padded=False) * np.float32(size)
    close(passes.norms(x), np.linalg.norm(x.astype(np.longdouble), axis=1).astype(float))


@pytest.mark.parametrize("size", [1e-200, 5e-324, 1e200, 1e308])
def test_norms_whose_square_is_no_number_of_double_precision(size):
    unit = size if size < 1e300 else size / 8
    x = np.array([[3 * unit, 4 * unit], [0.0, 0.0]])
    close(passes.norms(x) / x[0].max() * 4, [5.0, 0.0])


def test_norms_of_what_is_no_number():
    x = np.array([[1.0, np.nan], [np.inf, 1.0], [-np.inf, 0.0], [np.nan, np.inf]])
    found = passes.norms(x)
    assert np.isnan(found[0]) and found[1] == found[2] == np.inf and not np.isfinite(found[3])


@pytest.mark.parametrize("size", [1.0, 1e-30, 1e30])
def test_weighted_squares(draw, size):
    x, weights = draw(T, H, padded=False) * np.float32(size), np.arange(1.0, 1 + H)
    close(passes.weighted_squares(x, weights) / size**2, (x.astype(float) / size) ** 2 @ weights)


def test_lost():
    x = np.array([[0.0, -0.0, 1e-40, -1.0], [np.nan, np.inf, 1e-30, -1e-39]], np.float32)
    tiny = float(np.finfo(np.float32).tiny)
    assert passes.lost(x, tiny).tolist() == [[2, 0], [3, 1]]


@pytest.mark.parametrize("size", [1.0, 1e-150])
def test_along(draw, size):
    parts, carried = draw(3, T, B, H, padded=False), draw(T, B, H, padded=False)
    if parts.dtype == np.float64:
        parts, carried = parts * size, carried * size
    found = passes.along(parts, carried)
    gates = parts.astype(float).sum(0)
    whole = gates + carried
    close(found[0], (whole**2).sum(-1))
    close(found[1], (gates**2).sum(-1))
    unit = np.abs(whole).max((1, 2))[:, None]
    close(found[2], (whole * (whole / unit[..., None])).sum(-1))
    for k, path in enumerate((carried, *parts), 3):
        close(found[k] / unit, (path / unit[..., None] * (whole / unit[..., None])).sum(-1), 1e-5)


def test_resampled():
    """Against each resample by itself, with padding, zeros and sequences that overflowed."""
    K, B, R, epsilon = 40, 6, 50, 0.02
    random, lag = np.random.default_rng(3), np.arange(K)
    sizes = np.exp(random.normal(size=(K, B)) - 0.2 * lag[:, None])
    sizes[30:, 1], sizes[20:, 2], sizes[25:, 4] = np.nan, 0.0, np.inf
    chosen = random.integers(0, B, (R, B))
    chosen[:6] = np.arange(B)[:, None]  # each of them alone
    times = np.array([np.bincount(rows, minlength=B) for rows in chosen], float).T.copy()
    slope, horizon = passes.resampled(sizes, times, epsilon)
    for r, rows in enumerate(chosen):
        some = sizes[:, rows]
        counts = (~np.isnan(some)).sum(1)
        curve = np.sqrt(np.nansum(some**2, 1) / np.where(counts, counts, np.nan))
        kept = (curve > 0) & (curve < np.inf)
        assert slope[r] == pytest.approx(np.polyfit(lag[kept], np.log(curve[kept]), 1)[0])
        assert horizon[r] == np.flatnonzero(curve >= epsilon).max(initial=0)


@pytest.mark.parametrize("size", [1.0, 1e-200, 1e200])
def test_resampled_at_the_ends(size):
    """Far below the root of the smallest number; a single lag; nothing that arrives."""
    whole = np.ones((1, 1))
    falls = size * np.exp(-0.3 * np.arange(9.0))[:, None]
    assert passes.resampled(falls, whole, size / 2)[:, 0] == pytest.approx([-0.3, 2])
    assert passes.resampled(falls, whole, 2 * size)[1, 0] == 0
    for nothing in (falls[:1], 0 * falls, np.nan * falls):
        assert np.isnan(passes.resampled(nothing, whole, size)[0, 0])


def test_on_and_off(draw):
    slope, delta = draw(T, B, H), draw(T, B, 2, H)
    on = (np.abs(slope) > 0.5) & ALIVE[..., None]
    expected = np.zeros((4, H))
    for b in range(B):
        mine = on[: LENGTHS[b], b]
        for j in range(H):
            seen = "".join("01"[v] for v in mine[:, j].astype(int))
            expected[:3, j] += (
                seen.count("1"),
                "1" in seen,
                seen.strip("0").count("0") == 0 and ("1" in seen and seen.endswith("0")),
            )
    expected[3] = np.abs(np.where(ALIVE[..., None], delta[:, :, 1], 0)).sum((0, 1))
    close(passes.on_and_off(slope, 0.5, delta, 1, LENGTHS), expected)
    points = draw(T, B, H)
    off = ~on & ALIVE[..., None]
    sides = [(off & side).sum((0, 1)) for side in (points < 0, points >= 0)]
    close(passes.off_by_side(slope, 0.5, points, LENGTHS), sides)
    running = ALIVE.sum(1)[:, None]
    expected = np.where(running, on.sum(1) / np.maximum(running, 1), np.nan)
    close(passes.on_by_step(slope, 0.5, LENGTHS), expected)


def test_sums_and_means(draw):
    x = draw(T, B)
    x[4] = np.nan
    count = (~np.isnan(x)).sum(1)
    close(passes.sums(x), [np.nansum(x, 1), count])
    with np.errstate(invalid="ignore"):
        close(mean(x), np.nansum(x, 1) / count)
    assert mean(np.array([[np.inf, 1.0]])).tolist() == [np.inf]


def test_products_of_rows(draw):
    x, y = draw(T, H, padded=False), draw(T, H, padded=False)
    close(passes.dots(x, y), (x.astype(float) * y).sum(1))
    close(passes.apart(x, y), [np.linalg.norm(x, axis=1), np.linalg.norm(x - y, axis=1)], 1e-5)
    wide, narrow = draw(T, B, 3 * H, padded=False), draw(T, B, H, padded=False)
    products = wide.transpose(0, 2, 1).astype(float) @ narrow
    close(passes.overlaps(wide, narrow), np.linalg.norm(products, axis=(1, 2)), 1e-5)


def test_quotients():
    above, below = np.array([1.0, 1.0, np.inf, np.nan, 3.0]), np.array([0.0, 2.0, np.inf, 1.0, -1])
    np.testing.assert_array_equal(passes.ratio(above, below), [np.nan, 0.5, np.nan, np.nan, np.nan])
    before, middle = np.array([4.0, 0.0, 1.0]), np.array([1.0, 1.0, 0.0])
    found = passes.gains(before, middle, np.array([2.0, 1.0, 0.0]), np.array([3.0, 1.0, 1.0]))
    half = lambda x: 0.5 * np.log(x)  # noqa: E731
    expected = [[half(0.5), np.nan, -np.inf], [half(0.25), np.nan, -np.inf], [half(3), 0, np.nan]]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("size", [1e-30, 1.0, 1e30, 1e-200])
def test_normalised(draw, size):
    x = draw(4, H, padded=False)
    x[1] = 0.0
    size = max(size, 1e-35) if x.dtype == np.float32 else size  # none is as small
    x = (x * size).astype(x.dtype)
    before, found = x.astype(float) / size, passes.normalised(x)
    norms = np.linalg.norm(before, axis=1)
    close(found / size, norms, 1e-5)
    close(x, before / np.where(norms, norms, 1)[:, None], 1e-5)


def test_the_first_class_that_fits():
    """Each of the nine by its own rule, and the edges of those with a share."""
    units = [
        # on, was on, latched, low, high, gradient
        (0, 0, 0, 100, 0, 0.0, "never_on"),
        (50, 4, 0, 0, 0, 0.0, "gradient_dead"),
        (1, 1, 1, 99, 0, 1.0, "latched"),  # on at 1 %, which is not below it
        (10, 4, 4, 90, 0, 1.0, "latched"),
        (10, 4, 3, 90, 0, 1.0, "ordinary"),
        (5, 4, 0, 60, 35, 1.0, "saturated_low"),
        (5, 4, 0, 35, 60, 1.0, "saturated_high"),
        (6, 4, 0, 35, 59, 1.0, "ordinary"),
        (200, 4, 0, 0, 0, 1.0, "always_on"),
        (50, 3, 0, 50, 0, 1.0, "sequence_dead"),
        (1, 4, 0, 199, 0, 1.0, "sleeping"),
    ]
    found = []
    for *counts, _ in units:
        steps = 200 if 200 in counts or 199 in counts else 100
        arrays = [np.array([float(c)]) for c in counts]
        found.append(CLASSES[passes.first_class(*arrays, steps, 4)[0]])
    assert found == [name for *_, name in units]


@pytest.mark.parametrize("size", [1.0, 1e-25])
def test_agreement(draw, size):
    x = draw(T, B, H) * np.float32(size)
    found = passes.agreement(np.where(ALIVE[..., None], x, 0), LENGTHS)
    for t in range(T):
        running = x[t, ALIVE[t]].astype(float) / size
        if len(running) < 2:
            assert np.isnan(found[t])
            continue
        centre = running.mean(0)
        expected = (centre**2).sum() / ((running - centre) ** 2).sum(-1).mean()
        assert found[t] == pytest.approx(expected, rel=1e-5)


def test_zones_histogram_and_correlation(draw):
    points, slope = draw(200, H, padded=False), draw(200, H, padded=False)
    slope[3, 2] = points[5, 1] = np.nan
    size = np.abs(slope)
    expected = [
        ((size <= 0.01) & (points < 0)).sum(), (size <= 0.01).sum(), (size <= 0.25 * 2.5).sum(),
        (size > 0.9 * 2.5).sum(), 1,
    ]  # fmt: skip
    assert passes.zones(points, slope, 0.01, 2.5).tolist() == expected
    edges = [-np.inf, *np.linspace(-1, 1, 13), np.inf]
    points[:2, 0] = np.inf, -np.inf
    counts = [np.histogram(p[~np.isnan(p)], edges)[0] for p in points.T]
    assert passes.histogram(points, -1.0, 1.0, 12).tolist() == np.array(counts).tolist()
    ends = np.array([[-1.0], [1.0], [1.5]])
    assert passes.histogram(ends, -1.0, 1.0, 2).tolist() == [[0, 1, 1, 1]]
    x, y = points[10:], slope[10:]
    y[:, 0] = 3.0
    found = passes.correlation(x, y)
    close(found[1:], [np.corrcoef(x[:, j], y[:, j])[0, 1] ** 2 for j in range(1, H)], 1e-4)
    assert np.isnan(found[0])
    close(passes.centred(x), x - x.mean(0, dtype=float), 1e-5)
    assert passes.centred(x).dtype == x.dtype


def test_opened(draw):
    value = np.abs(draw(T, B, H)) / 2
    kept = np.where(ALIVE[..., None], value, 0.5)
    expected = [np.where(ALIVE[..., None], value, 0).sum((0, 1)),
                (kept < 0.1).sum((0, 1)), (kept > 0.9).sum((0, 1))]  # fmt: skip
    close(passes.opened(value, LENGTHS), expected)


def test_a_pass_whose_code_no_folder_can_keep():
    """As where the package and the home folder cannot be written."""
    source = "def total(x):\n    return x.sum()"
    room: dict = {}
    exec(compile(source, "<nowhere>", "exec"), room)
    assert passes._compiled(room["total"])(np.arange(4.0)) == 6


def test_no_pass_stays_behind_as_python(draw):
    """What cannot be compiled would raise; what was compiled has a signature."""
    passes.norms(draw(T, H, padded=False))
    machine_code = passes.norms.__closure__[0].cell_contents()
    assert isinstance(machine_code, CPUDispatcher) and machine_code.nopython_signatures
