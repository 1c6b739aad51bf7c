"""Change of basis: turn each head's query and key channels so that rotating them costs the least."""

from __future__ import annotations

import torch


def balanced_basis(query_moment: torch.Tensor, key_moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A basis in which queries and keys have the same, diagonal second moments, strongest channel first.

    With ``Cq = Lq Lq^T``, ``Ck = Lk Lk^T`` (Cholesky) and ``Lq^T Lk = U S V^T`` (singular values):

        A = S^1/2 U^T Lq^-1        q' = A q        k' = A^-T k

    Scores are untouched, ``q'.k' = q.k``, while ``E[q' q'^T] = E[k' k'^T] = S``: a channel's share in a
    head's scores is its singular value, so the channels that may be spoilt are known. The moments hold as far as
    both roots exist: directions that a head leaves unused are given a little power, which no score shows.

    Args:
        query_moment: ``E[q q^T]`` of each head ``[heads, head_dim, head_dim]``.
        key_moment: ``E[k k^T]``, the same shape.

    Returns:
        ``A`` and ``A^-T``, both ``[heads, head_dim, head_dim]`` float64.
    """
    query_root, key_root = (torch.linalg.cholesky(_regular(moment)) for moment in (query_moment, key_moment))
    left, strength, _ = torch.linalg.svd(query_root.mT @ key_root)
    scale = strength.sqrt().unsqueeze(-1)
    to_query = scale * torch.linalg.solve(query_root.mT, left).mT
    to_key = left.mT @ query_root.mT / scale
    return to_query, to_key


def pair_order(head_dim: int) -> torch.Tensor:
    """Which channel of a basis, strongest first, each channel of a head takes ``[head_dim]``.

    Rotation turns channels ``c`` and ``c + head_dim / 2`` together, the fastest pair first: the two strongest
    go to the last pair, which hardly turns within the window, the two weakest to the first.
    """
    half = head_dim // 2
    pairs = torch.arange(half - 1, -1, -1)
    return torch.cat((2 * pairs, 2 * pairs + 1))


def _regular(moment: torch.Tensor) -> torch.Tensor:
    # A head may leave a direction unused; a millionth of its mean power keeps the root from being singular. The floor
    # is for heads that are zero altogether, as pruning leaves them.
    moment = moment.double()
    power = moment.diagonal(dim1=-2, dim2=-1).mean(-1).clamp(min=1e-6)
    return moment + torch.diag_embed(1e-6 * power[:, None].expand(moment.shape[:2]))
