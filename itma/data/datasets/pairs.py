"""Pairs of items that differ in one or two attributes and agree in the rest, found without comparing all with all."""

from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

MOST_SETS = 300
"""Of the ways to choose two attributes, so many at most are tried; of wider tables a part, drawn by chance."""

_TRIES = 16
"""Targets looked at for each that is wanted."""
_FREQUENT, _PARTS = 32, 8
"""Where attributes are unknown here and there: an item meets others of the so many most frequent patterns of what is
known, through so many parts of its own pattern."""
_MOST_HELD = 4_000_000
"""Pairs held before the best are chosen among them: 32 bytes each."""


class Pairs(NamedTuple):
    """Pairs, sorted by reference and then by target."""

    references: np.ndarray
    """(pairs,) int64: an item each."""
    targets: np.ndarray
    """(pairs,) int64: another item."""
    changed: np.ndarray
    """(pairs,) int64: index into `sets`."""
    sets: Sequence[tuple[int, ...]]
    """The attributes in which a pair differs, by column."""


def find_pairs(
    values: np.ndarray,
    groups: np.ndarray,
    owners: np.ndarray,
    *,
    differing: tuple[int, int] = (1, 2),
    per_reference: int = 4,
    seed: int = 0,
) -> Pairs:
    """For each item some others that differ from it in a few attributes and agree in all the rest.

    An attribute that is unknown in either item of a pair is passed over; pairs in which more is known come first.

    Items are sorted by all attributes but the few that may differ, once for each choice of these, so that partners
    stand side by side: the time grows with (items × log items × choices), not with the square of the items. Where
    there are very many patterns of what is unknown, some pairs are not found.

    >>> table = np.array([[0, 0], [1, 0], [0, 1], [2, -1]])
    >>> pairs = find_pairs(table, np.zeros(4, int), np.arange(4), differing=(1, 1))
    >>> sorted(zip(pairs.references.tolist(), pairs.targets.tolist()))
    [(0, 1), (0, 2), (0, 3), (1, 0), (1, 3), (2, 0), (2, 3), (3, 0), (3, 1), (3, 2)]

    Args:
        values: (items, attributes) integers that stand for the values; −1 where unknown. At most 60 attributes.
        groups: (items,) int64: pairs are found within a group only; −1 takes an item out.
        owners: (items,) int64: items of one owner are never paired.
        differing: the least and the largest number of attributes that differ.
        per_reference: pairs for each reference, at most.
        seed: decides which pairs are taken where there are more.

    Returns:
        The pairs; none where there are none.
    """
    attributes = values.shape[1]
    random = np.random.Generator(np.random.PCG64(seed))
    known = values >= 0
    masks = (known.astype(np.uint64) << np.arange(attributes, dtype=np.uint64)).sum(1, dtype=np.uint64)
    # A row's key is the sum of random numbers that stand for its values; taking an attribute out is a subtraction.
    salts = random.integers(0, 2**64 - 1, (attributes, int(values.max(initial=0)) + 1), np.uint64, endpoint=True)
    parts = np.where(known, salts[np.arange(attributes), np.maximum(values, 0)], np.uint64(0))
    entries, common = _entries(masks, np.flatnonzero(groups >= 0))
    shuffled = random.permutation(len(entries))
    entries, common = entries[shuffled], common[shuffled]
    keys = _spread(groups[entries].astype(np.uint64), random) + _spread(common, random)
    unknown = np.full(len(entries), attributes)
    for attribute in range(attributes):
        is_known = _holds(common, (attribute,))
        keys += np.where(is_known, parts[entries, attribute], np.uint64(0))
        unknown -= is_known
    sets = _sets(attributes, differing, random)
    draws = max(1, _TRIES * per_reference // max(1, len(sets)))
    best: list[tuple[np.ndarray, ...]] = [tuple(np.zeros(0, np.int64) for _ in range(4))]
    for number, changed in enumerate(sets):
        some = np.flatnonzero(_holds(common, changed))
        if len(some) < 2:
            continue
        own = parts[entries[some]][:, changed].sum(1, dtype=np.uint64)
        references, targets = _partners(keys[some] - own, own, draws, random)
        references, targets = some[references], some[targets]
        one, other = entries[references], entries[targets]
        fits = (owners[one] != owners[other]) & (groups[one] == groups[other])
        fits &= masks[one] & masks[other] == common[references]
        for attribute in changed:  # of two attributes, others may differ in one only
            fits &= values[one, attribute] != values[other, attribute]
        # As many pairs with one change as with two, though there are more ways to choose two attributes than one.
        share = sum(len(other) == len(changed) for other in sets) / len(sets)
        priority = unknown[references[fits]] + share * random.random(int(fits.sum()))
        best.append((one[fits], other[fits], np.full(len(priority), number), priority))
        if sum(len(part[0]) for part in best) > _MOST_HELD:
            best = [_best(best, per_reference)]
    references, targets, numbers, _ = _best(best, per_reference)
    order = np.lexsort((targets, references))
    return Pairs(references[order], targets[order], numbers[order], sets)


def _holds(masks: np.ndarray, attributes: Sequence[int]) -> np.ndarray:
    """Which masks hold all of some attributes."""
    bits = np.uint64(sum(1 << attribute for attribute in attributes))
    return np.asarray(masks & bits == bits)


def _spread(numbers: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Numbers spread over all of uint64."""
    factor = random.integers(0, 2**64 - 1, dtype=np.uint64, endpoint=True) | np.uint64(1)
    return np.asarray(numbers.astype(np.uint64) * factor)


def _sets(attributes: int, differing: tuple[int, int], random: np.random.Generator) -> list[tuple[int, ...]]:
    """The choices of attributes that may differ."""
    sets: list[tuple[int, ...]] = []
    for size in range(differing[0], differing[1] + 1):
        choices = list(combinations(range(attributes), size))
        if len(choices) > MOST_SETS:
            choices = [choices[index] for index in np.sort(random.permutation(len(choices))[:MOST_SETS])]
        sets += choices
    return sets


def _entries(masks: np.ndarray, items: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Each item once for each part of its mask by which it meets others: items, and those parts."""
    patterns, pattern, counts = np.unique(masks[items], return_inverse=True, return_counts=True)
    frequent = np.argsort(-counts, kind="stable")[:_FREQUENT]
    parts = [np.zeros(0, np.uint64)]
    for mask in patterns:
        shared, inverse = np.unique(patterns[frequent] & mask, return_inverse=True)
        met = np.bincount(inverse, weights=counts[frequent], minlength=len(shared)).astype(np.int64)
        size = np.array([int(part).bit_count() for part in shared])
        best = shared[np.lexsort((-met, -size))][:_PARTS]
        parts.append(np.union1d(best, mask[None])[::-1])
    lengths = np.array([len(part) for part in parts[1:]], dtype=np.int64)
    repeats = lengths[pattern]
    starts = np.repeat(np.cumsum(lengths)[pattern] - repeats, repeats)
    within = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    return np.repeat(items, repeats), np.concatenate(parts)[starts + within]


def _partners(
    keys: np.ndarray, own: np.ndarray, draws: int, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """For each entry, up to `draws` distinct others that have its key and another value of `own`, evenly spread."""
    order = np.lexsort((own, keys))
    new_key = np.r_[True, keys[order][1:] != keys[order][:-1]]
    new_run = new_key | np.r_[True, own[order][1:] != own[order][:-1]]
    key_begin, key_length = _stretches(new_key)
    run_begin, run_length = _stretches(new_run)
    others = key_length - run_length
    indices = np.flatnonzero(others)
    key_begin, run_begin, run_length, others = (part[indices] for part in (key_begin, run_begin, run_length, others))
    first, stride = random.integers(0, others), np.maximum(1, others // draws)
    references, targets = [], []
    for draw in range(draws):
        more = np.flatnonzero(draw < others)
        chosen = key_begin[more] + (first[more] + draw * stride[more]) % others[more]
        chosen += np.where(chosen >= run_begin[more], run_length[more], 0)  # over those of the same value
        references.append(order[indices[more]])
        targets.append(order[chosen])
    return np.concatenate(references), np.concatenate(targets)


def _stretches(new: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For each place, where its stretch begins and how long it is; `new` marks the beginnings."""
    begins = np.flatnonzero(new)
    lengths = np.diff(np.r_[begins, len(new)])
    return np.repeat(begins, lengths), np.repeat(lengths, lengths)


def _best(pairs: Sequence[Sequence[np.ndarray]], per_reference: int) -> tuple[np.ndarray, ...]:
    """Of pairs (references, targets, sets, priorities), for each reference those of the lowest priority."""
    references, targets, changed, priority = (np.concatenate(part) for part in zip(*pairs, strict=True))
    order = np.lexsort((targets, priority, references))
    begin, _ = _stretches(np.r_[True, np.diff(references[order]) != 0][: len(order)])
    chosen = order[np.arange(len(order)) - begin < per_reference]
    return references[chosen], targets[chosen], changed[chosen], priority[chosen]
