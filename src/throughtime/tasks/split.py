"""Training, validation and test rows that do not leak into each other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from throughtime.errors import DataError
from throughtime.tasks.task import TEST, TRAIN, VALIDATION, Split

if TYPE_CHECKING:
    from throughtime.tasks.task import Task

_TEST_SEED = 0x7E57
_SHUFFLES_OF_GROUPS = 64
_FEWEST = 10


def split(task: Task, seed: int) -> Split:
    """Rows of the three parts: given ones as given, the others drawn; see :meth:`Task.split`."""
    if task.given is None and len(task) < _FEWEST:
        raise _too_few(task)
    given = np.full(len(task), TRAIN) if task.given is None else task.given
    pool, validation, test = (np.flatnonzero(given == part) for part in (TRAIN, VALIDATION, TEST))
    share = task.validation_share
    if not test.size:
        pool, test = _draw(
            task, pool, task.test_share, _TEST_SEED, keep=1 if validation.size else 2
        )
        share = share / (1 - task.test_share)
    if not validation.size:
        pool, validation = _draw(task, pool, share, seed, keep=1)
    if not pool.size:
        raise DataError("tasks.no_training_rows", source=task.name)
    return Split(pool, validation, test)


def _draw(
    task: Task, pool: np.ndarray, share: float, seed: int, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of ``pool`` that stay and rows drawn; ``keep`` more parts must still find some."""
    if task.spans is not None:
        stay, drawn = _latest(task.spans, pool, share)
    elif task.groups is not None:
        stay, drawn = _by_group(task, pool, share, seed, keep)
    elif task.problem == "classification":
        stay, drawn = _by_class(task, pool, share, seed, keep)
    else:
        stay, drawn = _at_random(pool, share, seed)
    if not drawn.size or stay.size < keep:
        raise _too_few(task)
    return stay, drawn


def _too_few(task: Task) -> DataError:
    key = "tasks.too_few_series" if task.spans is None else "tasks.too_few_windows"
    return DataError(key, name=task.name, count=len(task), fewest=_FEWEST)


def _at_random(pool: np.ndarray, share: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    order = np.random.default_rng(seed).permutation(pool)
    k = max(1, round(share * pool.size))
    return np.sort(order[k:]), np.sort(order[:k])


def _by_class(
    task: Task, pool: np.ndarray, share: float, seed: int, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Every class in its share, at least one member of it in every part."""
    rng = np.random.default_rng(seed)
    y = task.y[pool]
    classes, members = np.unique(y, return_counts=True)
    if members.min() < keep + 1:
        rarest = members.argmin()
        raise DataError(
            "tasks.class_too_small",
            name=task.class_names[classes[rarest]],
            members=int(members[rarest]),
            needed=keep + 1,
        )
    wanted = share * members
    take = np.floor(wanted).astype(int)
    extra = round(share * pool.size) - take.sum()
    take[np.argsort(take - wanted, kind="stable")[: max(0, extra)]] += 1
    take = take.clip(1, members - keep)
    drawn = [rng.permutation(pool[y == c])[:k] for c, k in zip(classes, take, strict=True)]
    drawn = np.sort(np.concatenate(drawn))
    return np.setdiff1d(pool, drawn), drawn


def _by_group(
    task: Task, pool: np.ndarray, share: float, seed: int, keep: int
) -> tuple[np.ndarray, np.ndarray]:
    """Whole groups; of several shuffles the one nearest to the share and the mix of classes."""
    assert task.groups is not None
    groups, index = np.unique(task.groups[pool], return_inverse=True)
    if groups.size < keep + 1:
        raise DataError("tasks.too_few_groups", groups=int(groups.size), needed=keep + 1)
    columns = np.zeros(pool.size, int)
    if task.problem == "classification":
        columns = np.unique(task.y[pool], return_inverse=True)[1]
    table = np.zeros((groups.size, columns.max() + 1))
    np.add.at(table, (index, columns), 1)
    rng = np.random.default_rng(seed)
    best, best_cost = np.zeros(0, int), np.inf
    for _ in range(_SHUFFLES_OF_GROUPS):
        order = rng.permutation(groups.size)
        sizes = table[order].sum(1).cumsum()
        k = int(np.abs(sizes[: groups.size - keep] - share * pool.size).argmin()) + 1
        counts = table[order[:k]].sum(0)
        lost = (counts == table.sum(0)).sum()
        cost = lost * pool.size + np.abs(counts - share * table.sum(0)).sum()
        if cost < best_cost:
            best, best_cost = order[:k], cost
    drawn = np.isin(index, best)
    stay = pool[~drawn]
    if task.problem == "classification":
        missing = np.setdiff1d(task.y[pool], task.y[stay])
        if missing.size:
            raise DataError("tasks.class_in_one_group", name=task.class_names[missing[0]])
    return stay, pool[drawn]


def _latest(spans: np.ndarray, pool: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """The latest share by time; rows whose targets straddle the border belong to neither part."""
    first, last = spans[pool].T
    at = min(pool.size - 1, int((1 - share) * pool.size))
    border = np.sort(first)[at]
    return pool[last < border], pool[first >= border]
