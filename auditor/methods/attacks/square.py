"""Square: random search with squares, which asks for scores and no gradient (Andriushchenko et al. 2020)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from auditor.methods.attacks.ball import TINY, Norm, length, wide
from auditor.methods.attacks.victim import Attacked, Images, Record, look, margins

FIRST_SHARE = 0.8
"""Share of the pixels that the first square covers."""
HALVED = (10, 50, 200, 500, 1000, 2000, 4000, 6000, 8000)
"""Of 10,000 queries: after each of these the share is halved."""
QUERIES = 5000


def share(query: int, queries: int) -> float:
    """The share of the pixels that the square of a query covers."""
    at = query / queries * 10_000
    return float(FIRST_SHARE / 2.0 ** sum(at > bound for bound in HALVED))


def side_at(query: int, queries: int, rows: int, columns: int) -> int:
    """Pixels of the side of a query's square."""
    wanted = round(math.sqrt(share(query, queries) * rows * columns))
    return int(min(rows, columns, max(1, wanted)))


def expected_queries(shape: Sequence[int], queries: int = QUERIES) -> float:
    """About how many of `queries` ask for an image of `shape` (C,H,W) in L-inf where none makes it fall: not those whose square
    is there already, as of one pixel once in 2^C times.
    """
    single = sum(side_at(query, queries, shape[1], shape[2]) == 1 for query in range(1, queries))
    return queries - single / 2.0 ** shape[0]


def square(
    model: Images,
    images: Tensor,
    labels: Tensor,
    epsilon: float,
    *,
    normalise: Images,
    seeds: Sequence[int],
    norm: Norm = "linf",
    queries: int = QUERIES,
    batch: int = 0,
) -> Attacked:
    """At most `queries` forwards an image; a change is kept where it lowers the margin, and an image leaves once it falls.
    A query that would ask for the image as it is takes none.

    L-inf: starts at stripes of +-epsilon, then sets a square to +-epsilon in each channel. L2: starts at a tiling of bumps, then
    moves the mass of one square to another. `seeds`: one an image, so that its result is its own.

    Raises ValueError for queries < 1.
    """
    if queries < 1:
        raise ValueError(f"square: expected queries >= 1, got {queries}; 5000 is usual")
    record = Record(model, images, labels, epsilon, normalise=normalise, norm=norm)
    who = torch.arange(len(images), device=images.device)
    if not len(who):
        return record.result()
    search = (Stripes if norm == "linf" else Bumps)(images, epsilon, seeds, queries)
    at, low = images, torch.full((len(images),), torch.inf, dtype=images.dtype, device=images.device)
    for query in range(queries):
        # a square that is there already, as one in eight of one pixel in three channels, need not be asked again
        tried, new = search.first() if query == 0 else search.next(at, query)
        if not bool(new.any()):
            continue
        asked, given = (who, tried) if bool(new.all()) else (who[new], tried[new])
        scores = look(model, given, normalise, batch)
        record.steps[asked] += 1
        margin = low.new_full(low.shape, torch.inf)
        margin[new] = margins(scores, labels[asked]).to(low)
        better = margin < low
        if query == 0:
            at = tried.clone()
        else:
            at[better] = tried[better]
        low = torch.where(better, margin, low)
        if bool((scores.argmax(1) != labels[asked]).any()):
            stay = torch.ones_like(new)
            stay[new] = record.note(given, asked, scores)
            who, at, low = who[stay], at[stay], low[stay]
            search.keep(stay)
            if not len(who):
                break
    record.best[who] = at
    return record.result()


class Search:
    """The random numbers of each image, drawn from its seed alone, and where its squares lie."""

    def __init__(self, images: Tensor, epsilon: float, seeds: Sequence[int], queries: int) -> None:
        self.origin, self.epsilon, self.queries = images, epsilon, queries
        self.channels, self.rows, self.columns = images.shape[1:]
        drawn = [self.draw(torch.Generator().manual_seed(int(seed))) for seed in seeds]
        self.drawn = [torch.stack(parts).to(images.device) for parts in zip(*drawn, strict=True)]

    def draw(self, generator: torch.Generator) -> tuple[Tensor, ...]:
        """For each query two corners in [0,1) and a sign a channel, and what the start needs."""
        corners = torch.rand(self.queries, 4, generator=generator)
        signs = torch.rand(self.queries, self.channels, generator=generator) < 0.5
        turned = torch.rand(self.queries, generator=generator) < 0.5
        return corners, signs, turned, torch.rand(self.channels, self.rows, self.columns, generator=generator) < 0.5

    def keep(self, stay: Tensor) -> None:
        """Only the images of (m,) bool."""
        self.origin, self.drawn = self.origin[stay], [part[stay] for part in self.drawn]

    def signs(self, query: int) -> Tensor:
        """(m,C,1,1) +-1."""
        return (self.drawn[1][:, query].to(self.origin) * 2 - 1)[:, :, None, None]

    def side(self, query: int) -> int:
        """Pixels of the square's side."""
        return side_at(query, self.queries, self.rows, self.columns)

    def corner(self, query: int, side: int, which: int = 0) -> tuple[Tensor, Tensor]:
        """(m,) top row and (m,) left column of the square."""
        u = self.drawn[0][:, query]
        top, left = u[:, 2 * which] * (self.rows - side + 1), u[:, 2 * which + 1] * (self.columns - side + 1)
        return top.long().clamp_max(self.rows - side), left.long().clamp_max(self.columns - side)

    def first(self) -> tuple[Tensor, Tensor]:
        """The first images that are asked, and that all are new."""
        raise NotImplementedError

    def next(self, at: Tensor, query: int) -> tuple[Tensor, Tensor]:
        """The images that are asked at a query, from the best so far (m,C,H,W), and (m,) bool whether they differ from these."""
        raise NotImplementedError


class Stripes(Search):
    """L-inf."""

    def first(self) -> tuple[Tensor, Tensor]:
        """Vertical stripes of +-epsilon."""
        stripe = self.drawn[3][:, :, :1].to(self.origin) * 2 - 1
        return all_new((self.origin + self.epsilon * stripe).clamp(0.0, 1.0))

    def next(self, at: Tensor, query: int) -> tuple[Tensor, Tensor]:
        """A square of +-epsilon in each channel, laid over the best so far."""
        side = self.side(query)
        rows, columns = window(self.corner(query, side), side)
        places = torch.arange(len(at), device=at.device)[:, None, None]
        signs = self.signs(query).permute(0, 2, 3, 1)
        fresh = (self.origin[places, :, rows, columns] + self.epsilon * signs).clamp(0.0, 1.0)
        new = (fresh != at[places, :, rows, columns]).flatten(1).any(1)
        tried = at.clone()
        tried[places, :, rows, columns] = fresh
        return tried, new


class Bumps(Search):
    """L2."""

    def first(self) -> tuple[Tensor, Tensor]:
        """A tiling of bumps, of length epsilon."""
        size = min(max(1, self.rows // 5), self.columns)
        change, bump = torch.zeros_like(self.origin), bumps(size).to(self.origin)
        for top in range((self.rows % size) // 2, self.rows - size + 1, size):
            for left in range((self.columns % size) // 2, self.columns - size + 1, size):
                sign = self.drawn[3][:, :, top : top + 1, left : left + 1].to(self.origin) * 2 - 1
                change[:, :, top : top + size, left : left + size] += bump * sign
        return all_new(self.laid(change))

    def laid(self, change: Tensor) -> Tensor:
        """The change at length epsilon over the image, in [0,1]."""
        scaled = change * wide(self.epsilon / length(change, "l2").clamp_min(TINY))
        return (self.origin + scaled).clamp(0.0, 1.0)

    def side(self, query: int) -> int:
        """Odd, at least 3 where the image is."""
        side = max(3, super().side(query))
        return min(side + 1 - side % 2, self.rows, self.columns)

    def next(self, at: Tensor, query: int) -> tuple[Tensor, Tensor]:
        """Empty one square, and put its mass, with what the ball has left, into another as a bump."""
        side, change = self.side(query), at - self.origin
        into, out = (window(self.corner(query, side, which), side) for which in (0, 1))
        places = torch.arange(len(at), device=at.device)[:, None, None]
        old, emptied = (change[places, :, rows, columns].permute(0, 3, 1, 2) for rows, columns in (into, out))
        mask = torch.zeros_like(change, dtype=torch.bool)
        for rows, columns in (into, out):
            mask[places, :, rows, columns] = True
        held = (change * mask).square().sum((2, 3), keepdim=True)
        free = (self.epsilon**2 - length(change, "l2").square()).clamp_min(0.0)[:, None, None, None] / self.channels
        bump, turned = bumps(side).to(at), self.drawn[2][:, query][:, None, None, None]
        fresh = torch.where(turned, bump.T, bump) * self.signs(query)
        fresh = fresh + old / (old.square().sum((2, 3), keepdim=True).sqrt() + TINY)
        fresh = fresh / (fresh.square().sum((2, 3), keepdim=True).sqrt() + TINY) * (free + held).sqrt()
        change[places, :, out[0], out[1]] = torch.zeros_like(emptied).permute(0, 2, 3, 1)
        change[places, :, into[0], into[1]] = fresh.permute(0, 2, 3, 1)
        tried = self.laid(change)
        return tried, (tried != at).flatten(1).any(1)


def all_new(images: Tensor) -> tuple[Tensor, Tensor]:
    """Images (m,C,H,W), and for each that it is to be asked."""
    return images, torch.ones(len(images), dtype=torch.bool, device=images.device)


def window(corner: tuple[Tensor, Tensor], side: int) -> tuple[Tensor, Tensor]:
    """(m,side,1) rows and (m,1,side) columns of the square."""
    reach = torch.arange(side, device=corner[0].device)
    return corner[0][:, None, None] + reach[None, :, None], corner[1][:, None, None] + reach[None, None, :]


def bumps(side: int) -> Tensor:
    """(side,side) of length 1: a bump above, its opposite below, each a pyramid of rectangles of falling weight."""
    half = side // 2
    change = torch.zeros(side, side)
    change[:half], change[half:] = pyramid(half, side), -pyramid(side - half, side)
    return change / change.square().sum().sqrt().clamp_min(TINY)


def pyramid(rows: int, columns: int) -> Tensor:
    """(rows,columns): nested rectangles about the centre, the k-th with weight 1/k^2; of length 1."""
    change = torch.zeros(rows, columns)
    middle = (rows // 2, columns // 2)
    for k in range(max(middle) + 1):
        top, left = max(middle[0] - k, 0), max(middle[1] - k, 0)
        change[top : middle[0] + k + 1, left : middle[1] + k + 1] += 1.0 / (k + 1) ** 2
    return change / change.square().sum().sqrt().clamp_min(TINY)
