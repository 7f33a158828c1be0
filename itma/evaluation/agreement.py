"""How alike two models answer that ought to be the same: one computed exactly, the other approximately."""

import torch

from itma.errors import DataError


def mean_cosine(exact: torch.Tensor, approximate: torch.Tensor) -> float:
    """The mean cosine of rows with their counterparts: 1 where they agree.

    >>> mean_cosine(torch.eye(3), torch.eye(3))
    1.0

    Args:
        exact: (rows, dim) of length 1.
        approximate: the same rows by the other model.
    """
    _check(exact, approximate)
    return float((exact * approximate).sum(1).mean())


def neighbour_overlap(
    exact: tuple[torch.Tensor, torch.Tensor],
    approximate: tuple[torch.Tensor, torch.Tensor],
    k: int,
    *,
    without_self: bool = False,
) -> float:
    """The share of each query's k nearest images that are among its k nearest by the other model too.

    >>> images, turned = torch.eye(4), torch.eye(4)[[1, 0, 2, 3]]
    >>> neighbour_overlap((images, images), (images, turned), k=1)
    0.5

    Args:
        exact: queries (rows, dim) and gallery (images, dim), of length 1.
        approximate: the same by the other model.
        k: how many images; with fewer in the gallery, all of them.
        without_self: query i is image i, and is not its own neighbour.

    Raises:
        DataError: there is nothing to compare, or the numbers of rows differ.
    """
    for one, other in zip(exact, approximate, strict=True):
        _check(one, other)
    k = min(k, len(exact[1]) - without_self)
    if k < 1:
        raise DataError(f"{len(exact[1])} images have no neighbours to compare")
    nearest = []
    for queries, gallery in (exact, approximate):
        scores = queries @ gallery.T
        if without_self:
            scores.fill_diagonal_(-torch.inf)
        nearest.append(scores.sort(dim=1, descending=True, stable=True).indices[:, :k])
    shared = (nearest[0][:, :, None] == nearest[1][:, None, :]).any(2)
    return float(shared.float().mean())


def _check(one: torch.Tensor, other: torch.Tensor) -> None:
    if one.shape != other.shape or not len(one):
        raise DataError(f"embeddings of shape {tuple(one.shape)} cannot be compared with {tuple(other.shape)}")
