"""Convolutions of 3x3 at stride 1 by fewer multiplications: Winograd's minimal filtering F(4x4, 3x3), for the CPU.

The 4x4 outputs of a tile of 6x6 inputs, Y = A^T [(G g G^T) * (B^T d B)] A, take 36 multiplications for each pair of channels and
not 144 (Lavin and Gray 2016, eq. 8; the matrices by Cook and Toom from six points). Summed over the input channels that is one
matrix product for each of the 36 places (`ops.products`): layers of many channels run at up to 2.5 times the speed that a direct
convolution can reach. The result is the same up to rounding: at the points 0, 5/8, -5/8, 3/2, -3/2
and infinity the relative error in float32 is 1.2e-6 (a direct convolution's 0.2e-6; at Lavin's points 0, 1, -1, 2, -2 2.4e-6).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

import torch
from torch import Tensor

from auditor.ops.products import Products, filled

POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Where the polynomials are evaluated, besides infinity; chosen for the least rounding of those tried."""
OUT, TAPS = 4, 3
TILE = OUT + TAPS - 1
ROOM = 16 << 20
"""Bytes of transformed tiles at once: as they leave the cache half of what was gained is lost."""
PRODUCT = 1.2
"""Multiplications of a direct convolution that one of the 36 products costs: many short ones load more for each."""
TRANSFORM = 5
"""Multiplications that a number transformed costs at each of the 36 places, since it waits for memory."""
LOAD = 12
"""Tiles that the 36 products cost more, however few there are: the weight is loaded."""
LEAST_GAIN = 1.2
"""Less than that is not worth the rounding."""


class Kernel:
    """A weight (O,I,3,3), transformed: called on maps (n,I,h,w), gives (n,O,h',w') with the channels innermost."""

    def __init__(self, weight: Tensor) -> None:
        self.outputs, self.channels = weight.shape[:2]
        _, taps, _ = matrices()
        both = torch.kron(taps, taps).to(weight)  # exact in float32

        def places() -> Tensor:
            filters = weight.detach().permute(2, 3, 0, 1).reshape(TAPS * TAPS, -1)
            return (both @ filters).view(TILE * TILE, self.outputs, self.channels)

        self.products = Products(places)

    def __call__(self, maps: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        """As `functional.conv2d(maps, weight, bias, 1, padding)`, up to rounding, without a gradient."""
        n, channels = len(maps), self.channels
        height, width = (maps.shape[2 + i] + 2 * padding[i] - TAPS + 1 for i in range(2))
        shape = (n, self.outputs, height, width)
        found = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        if n == 0:
            return found
        rows, columns = -(-height // OUT), -(-width // OUT)
        size = part_size(n, rows * columns * TILE * TILE * (channels + self.outputs) * maps.element_size())
        padded = maps.new_zeros((size, rows * OUT + 2, columns * OUT + 2, channels))
        inside = padded[:, padding[0] : padding[0] + maps.shape[2], padding[1] : padding[1] + maps.shape[3]]
        given, laid = maps.permute(0, 2, 3, 1), found.permute(0, 2, 3, 1)
        for begin in range(0, n, size):
            count = min(size, n - begin)
            inside[:count] = given[begin : begin + count]
            tiles = self.outputs_of(inputs_of(padded[:count], rows, columns))
            put(tiles.view(columns, rows, count, OUT, OUT, self.outputs), bias, laid[begin : begin + count])
        return found

    def outputs_of(self, tiles: Tensor) -> Tensor:
        """(m,16,O) outputs of transformed tiles (m,36,I)."""
        _, up = transforms(tiles.dtype)
        found, begin = tiles.new_empty((len(tiles), OUT * OUT, self.outputs)), 0
        for part in self.products.of(tiles):
            torch.bmm(up.expand(len(part), *up.shape), part, out=found[begin : begin + len(part)])
            begin += len(part)
        return found


def inputs_of(padded: Tensor, rows: int, columns: int) -> Tensor:
    """(columns*rows*n,36,I) transformed tiles of maps (n,4*rows+2,4*columns+2,I): first down each row of them, then across."""
    down, _ = transforms(padded.dtype)
    n, _, width, channels = padded.shape
    image, line, *_ = padded.stride()
    half = padded.new_empty((rows, n * TILE, width, channels))
    for i in range(rows):
        given = padded.as_strided((n, TILE, width * channels), (image, line, 1), padded.storage_offset() + i * OUT * line)
        torch.bmm(down.expand(n, *down.shape), given, out=half[i].view(n, TILE, width * channels))
    found, lines = padded.new_empty((columns, rows * n * TILE, TILE, channels)), rows * n * TILE
    for j in range(columns):
        given = half.as_strided((lines, TILE, channels), (width * channels, channels, 1), j * OUT * channels)
        torch.bmm(down.expand(lines, *down.shape), given, out=found[j])
    return found.view(-1, TILE * TILE, channels)


def put(tiles: Tensor, bias: Tensor | None, maps: Tensor) -> None:
    """Write `tiles` (columns,rows,n,4,4,O), `bias` (O,) added, into `maps` (n,h,w,O); what stands out is cut off."""
    tiles, (height, width) = tiles.permute(2, 1, 3, 0, 4, 5), maps.shape[1:3]
    for down, i, y in along(height):
        for across, j, x in along(width):
            into = maps[:, y, x].unflatten(2, (-1, across)).unflatten(1, (-1, down))
            part = tiles[:, i, :down, j, :across]
            if bias is None:
                into.copy_(part)
            else:
                torch.add(part, bias, out=into)


def along(length: int) -> Iterator[tuple[int, slice, slice]]:
    """The outputs along one side: (outputs a tile, tiles, their places), first of the whole tiles, then of a last one in part."""
    whole, rest = divmod(length, OUT)
    if whole:
        yield OUT, slice(0, whole), slice(0, whole * OUT)
    if rest:
        yield rest, slice(whole, whole + 1), slice(whole * OUT, length)


def part_size(count: int, each: int) -> int:
    """Maps of `each` bytes of transformed tiles that go through together, in parts that are as even as they can be."""
    return -(-count // -(-count // max(1, ROOM // each)))


def fits(weight: Tensor, stride: tuple[int, ...], dilation: tuple[int, ...], groups: int) -> bool:
    """Whether it is a convolution of the kind that a `Kernel` carries out."""
    return tuple(weight.shape[2:]) == (TAPS, TAPS) and tuple(stride) == tuple(dilation) == (1, 1) and groups == 1


def pays(maps: Tensor, weight: Tensor, padding: tuple[int, int]) -> bool:
    """Whether a convolution at stride 1 of maps (n,I,h,w) by `weight` (O,I,3,3) is cheaper this way, as far as the sizes say."""
    if maps.device.type != "cpu" or maps.ndim != 4 or maps.dtype != weight.dtype or torch.is_autocast_enabled("cpu"):
        return False
    if maps.dtype not in (torch.float32, torch.float64):
        return False
    height, width = (maps.shape[2 + i] + 2 * padding[i] - TAPS + 1 for i in range(2))
    return height > 0 and width > 0 and gain(len(maps), height, width, weight.shape[1], len(weight)) >= LEAST_GAIN


def gain(count: int, height: int, width: int, channels: int, outputs: int) -> float:
    """How many times less a convolution of (count,channels,height+2,width+2) to (count,outputs,height,width) costs this way.

    It says 1.2 of 8 images of 128 channels at 28x28, 1.3 of 8 of 256 at 14x14 and 1.6 of 16 of 512 at 7x7, where 0.9 to 1.2, 1.5
    and 1.8 were measured against the direct convolution (one thread of a CPU with AVX-512).
    """
    tiles, weight = count * -(-height // OUT) * -(-width // OUT), channels * outputs
    moved = tiles * (TILE * TILE * channels + OUT * OUT * outputs)
    cost = weight * (PRODUCT * filled(tiles) + LOAD) + TRANSFORM * moved
    return TAPS * TAPS * weight * count * height * width / (TILE * TILE * cost)


@cache
def matrices() -> tuple[Tensor, Tensor, Tensor]:
    """B^T (6,6), G (6,3) and A^T (4,6) in float64: correlation is the transpose of multiplying polynomials at the points."""
    points = torch.tensor(POINTS, dtype=torch.float64)

    def powers(count: int) -> Tensor:
        rows = points[:, None] ** torch.arange(count)
        return torch.cat([rows, (torch.arange(count) == count - 1).double()[None]])  # at infinity the highest power alone counts

    return torch.linalg.inv(powers(TILE).T), powers(TAPS), powers(OUT).T


@cache
def transforms(dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """(6,6) of a tile of inputs along one side, and (16,36) of both sides at once to the outputs."""
    down, _, up = matrices()
    return down.to(dtype), torch.kron(up, up).to(dtype)
