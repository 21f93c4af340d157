"""Convolutions of 3x3 at stride 1 by fewer multiplications: Winograd's minimal filtering F(4x4, 3x3), for the CPU.

The 4x4 outputs of a tile of 6x6 inputs, Y = A^T [(G g G^T) * (B^T d B)] A, take 36 multiplications for each pair of channels and
not 144 (Lavin and Gray 2016, eq. 8; the matrices by Cook and Toom from six points). Summed over the input channels that is one
matrix product for each of the 36 places, which every CPU's library does at its peak: layers of many channels run at up to 2.5
times the speed that a direct convolution can reach. The result is the same up to rounding: at the points 0, 5/8, -5/8, 3/2, -3/2
and infinity the relative error in float32 is 1.2e-6 (a direct convolution's 0.2e-6; at Lavin's points 0, 1, -1, 2, -2 2.4e-6).
"""

from __future__ import annotations

from functools import cache
from itertools import product

import torch
from torch import Tensor

POINTS = (0.0, 0.625, -0.625, 1.5, -1.5)
"""Where the polynomials are evaluated, besides infinity; chosen for the least rounding of those tried."""
OUT, TAPS = 4, 3
TILE = OUT + TAPS - 1
ROOM = 16 << 20
"""Bytes of transformed tiles at once: as they leave the cache half of what was gained is lost."""
TRANSFORM = 4
"""Multiplications that one of a transform costs, since it waits for memory."""
LOAD = 30
"""Multiplications that a number of the weight costs to load: with few tiles the 36 products wait for it."""
LEAST_GAIN = 1.3
"""Less than that is not worth the rounding."""


class Kernel:
    """A weight (O,I,3,3), transformed: called on maps (n,I,h,w), gives (n,O,h',w') with the channels innermost."""

    def __init__(self, weight: Tensor) -> None:
        self.outputs = len(weight)
        _, taps, _ = matrices()
        filters = weight.detach().double().permute(2, 3, 1, 0).reshape(TAPS * TAPS, -1)
        self.places = (torch.kron(taps, taps) @ filters).to(weight.dtype).view(TILE * TILE, weight.shape[1], len(weight))
        """(36,I,O)."""

    def __call__(self, maps: Tensor, bias: Tensor | None, padding: tuple[int, int]) -> Tensor:
        """As `functional.conv2d(maps, weight, bias, 1, padding)`, up to rounding, without a gradient."""
        down, up, (n, outputs) = *transforms(maps.dtype), (len(maps), self.outputs)
        height, width = (maps.shape[2 + i] + 2 * padding[i] - TAPS + 1 for i in range(2))
        shape = (n, outputs, height, width)
        found = torch.empty(shape, dtype=maps.dtype, device=maps.device, memory_format=torch.channels_last)
        if n == 0:
            return found
        rows, columns = -(-height // OUT), -(-width // OUT)
        channels = maps.shape[1]
        each = rows * columns * TILE * TILE * (channels + outputs) * maps.element_size()
        size = min(n, max(1, ROOM // each))
        padded = maps.new_zeros((size, rows * OUT + 2, columns * OUT + 2, channels))
        inside = padded[:, padding[0] : padding[0] + maps.shape[2], padding[1] : padding[1] + maps.shape[3]]
        most = size * rows * columns * max(TILE * TILE * max(channels, outputs), OUT * OUT * outputs)
        given, first, second = maps.permute(0, 2, 3, 1), maps.new_empty(most), maps.new_empty(most)
        for begin in range(0, n, size):
            count = min(size, n - begin)
            cells = count * rows * columns

            def part(room: Tensor, places: int, width: int, cells: int = cells) -> Tensor:
                return room[: places * cells * width].view(places, cells * width)

            inside[:count] = given[begin : begin + count]
            b, y, x, c = padded.stride()
            view = padded.as_strided((TILE, TILE, count, rows, columns, channels), (y, x, b, OUT * y, OUT * x, c))
            tiles = part(first, TILE * TILE, channels)
            tiles.view(view.shape).copy_(view)
            spread = torch.mm(down, tiles, out=part(second, TILE * TILE, channels)).view(TILE * TILE, cells, channels)
            multiplied = part(first, TILE * TILE, outputs)  # in the room of the tiles, which are read
            torch.bmm(spread, self.places, out=multiplied.view(TILE * TILE, cells, outputs))
            back = torch.mm(up, multiplied, out=part(second, OUT * OUT, outputs)).view(OUT, OUT, count, rows, columns, outputs)
            if bias is not None:
                back += bias
            for i, j in product(range(min(OUT, height)), range(min(OUT, width))):
                place = found.permute(0, 2, 3, 1)[begin : begin + count, i::OUT, j::OUT]
                place.copy_(back[i, j, :, : place.shape[1], : place.shape[2]])
        return found


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

    It says 1.5 of 8 images of 128 channels at 28x28, 1.5 of 256 at 14x14, 1.4 of 512 at 7x7 and 1.8 of 24 images of these, where
    1.5, 1.5, 1.6 and 1.9 were measured against the direct convolution (one thread of a CPU with AVX-512).
    """
    tiles, weight = count * -(-height // OUT) * -(-width // OUT), channels * outputs
    moves = TRANSFORM * tiles * (TILE * TILE * channels + OUT * OUT * outputs)
    return TAPS * TAPS * weight * (count * height * width + LOAD) / (TILE * TILE * (weight * (tiles + LOAD) + moves))


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
    """(36,36) of a tile of inputs laid out in a row, and (16,36) to the outputs."""
    down, _, up = matrices()
    return torch.kron(down, down).to(dtype), torch.kron(up, up).to(dtype)
