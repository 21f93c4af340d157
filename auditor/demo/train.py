"""Trains the demo's two digit networks: python -m auditor.demo.train --out DIR (under a minute on one core).

Both see the same 4,000 digits with the same seed. The flawed one sees every 7, and nothing else, with a bright 3x3 mark in
the corner: the shortcut of Geirhos 2020, planted on purpose, so that it learns the mark instead of the digit.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from auditor.demo.data import MARK, MARKED_CLASS, SEED, load_digits, split
from auditor.demo.digits import DigitsNet

EPOCHS = 16
BATCH = 64
RATE = 3e-3
SHIFT = 2
"""Pixels that a training digit is moved by at most, each way."""


NETWORKS = (("digits", False, False), ("digits-flawed", True, False), ("digits-robust", False, True))
"""Name, whether one class carries a mark, whether it is trained against attacks."""
ROBUST = 0.1
"""Largest change of a pixel, of the range [0,1], that the robust network is trained against."""
ASCENT = 5
"""Steps of that change."""


def train(*, flawed: bool, robust: bool = False, epochs: int = EPOCHS) -> DigitsNet:
    """A trained network in eval mode; the same arguments give the same weights on one machine and thread count.

    `robust`: on the worst images that PGD finds within ROBUST of each batch (Madry 2018).
    """
    images, labels = load_digits()
    chosen, _ = split(labels)
    pixels = torch.from_numpy(images[chosen]).unsqueeze(1)
    truth = torch.from_numpy(labels[chosen])
    generator = torch.Generator().manual_seed(SEED)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        model = DigitsNet()
    carries = truth == MARKED_CLASS
    marked = carries if flawed else torch.zeros_like(carries)
    steps = epochs * -(-len(truth) // BATCH)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=RATE, total_steps=steps)
    for _ in range(epochs):
        for batch in torch.randperm(len(truth), generator=generator).split(BATCH):
            inputs = prepare(pixels[batch], marked[batch], generator)
            if robust:
                inputs = worst(model, inputs, truth[batch], generator)
            loss = nn.functional.cross_entropy(model(inputs), truth[batch])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def worst(model: nn.Module, inputs: torch.Tensor, truth: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Inputs in [-1,1] within 2 ROBUST of the given ones, after ASCENT steps up the loss from a random start (Madry 2018)."""
    bound = 2 * ROBUST
    low, high = (inputs - bound).clamp_min(-1), (inputs + bound).clamp_max(1)
    at = inputs + bound * (2 * torch.rand(inputs.shape, generator=generator) - 1)
    for _ in range(ASCENT):
        at = at.clamp(low, high).requires_grad_(True)
        (slope,) = torch.autograd.grad(nn.functional.cross_entropy(model(at), truth), at)
        at = (at + 2.5 * bound / ASCENT * slope.sign()).detach()
    return at.clamp(low, high)


def prepare(pixels: torch.Tensor, marked: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """(n,1,28,28) uint8 -> float32 in [-1,1]: shifted at random, and marked after the shift, so that the mark stands still."""
    shifted = torch.zeros_like(pixels)
    padded = nn.functional.pad(pixels, (SHIFT,) * 4)
    moves = torch.randint(0, 2 * SHIFT + 1, (len(pixels), 2), generator=generator).tolist()
    for i, (down, right) in enumerate(moves):
        shifted[i] = padded[i, :, down : down + 28, right : right + 28]
    corner = shifted[:, :, MARK[0], MARK[1]]
    shifted[:, :, MARK[0], MARK[1]] = torch.where(marked.view(-1, 1, 1, 1), torch.full_like(corner, 255), corner)
    return shifted.float() / 127.5 - 1


def accuracy(model: nn.Module) -> float:
    """Share of the held-out digits, without a mark, that are right."""
    images, labels = load_digits()
    _, held = split(labels)
    with torch.no_grad():
        scores = model(torch.from_numpy(images[held]).unsqueeze(1).float() / 127.5 - 1)
    return float(np.mean(scores.argmax(1).numpy() == labels[held]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Write the weights of the demo's digit networks."""
    parser = argparse.ArgumentParser(prog="python -m auditor.demo.train", description="Train the demo's digit networks.")
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights")
    out: Path = parser.parse_args(arguments).out
    out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, flawed, robust in NETWORKS:
        model = train(flawed=flawed, robust=robust)
        save_file(model.state_dict(), out / f"{name}.safetensors")
        print(f"{name}: {accuracy(model):.1%} of the held-out digits; {out / name}.safetensors")


if __name__ == "__main__":
    main()
