"""Faults planted in recurrent networks and the first finding on each; alarms on healthy ones.

    python benchmarks/planted_faults.py ../shared/data [SEEDS]

Prints the table of docs/gradients.md. The folder holds JapaneseVowels_TRAIN.ts and mnist1d.npz.
"""

from __future__ import annotations

import math
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from throughtime import nn as ours
from throughtime import tasks
from throughtime.gradients import Finding, Monitor, advise, trace

H = 48


def gain(layer: nn.Module, factor: float) -> nn.Module:
    nn.init.orthogonal_(layer.weight_hh_l0, factor)
    return layer


def gaussian(layer: nn.Module, factor: float) -> nn.Module:
    nn.init.normal_(layer.weight_hh_l0, std=factor / math.sqrt(H))
    return layer


def bias(layer: nn.Module, rows: slice, value: float) -> nn.Module:
    layer.bias_ih_l0.data[rows] = value
    return layer


# fault: (network, steps, lag, cause)
PLANTED = {
    "ReLU with gain 3": (
        lambda: gain(nn.RNN(2, H, nonlinearity="relu"), 3), 100, None, "explodes"),
    "tanh with gain 4, orthogonal": (lambda: gain(nn.RNN(2, H), 4), 100, None, "saturated"),
    "tanh with gain 4, Gaussian": (lambda: gaussian(nn.RNN(2, H), 4), 100, None, "saturated"),
    "default start, T = 400, tanh": (lambda: nn.RNN(2, H), 400, 400, "vanishes"),
    "default start, T = 400, GRU": (lambda: nn.GRU(2, H), 400, 400, "vanishes"),
    "default start, T = 400, LSTM": (lambda: nn.LSTM(2, H), 400, 400, "vanishes"),
    "bias -10, ReLU": (
        lambda: bias(nn.RNN(2, H, nonlinearity="relu"), slice(None), -10), 100, None, "dead"),
    "forget bias -5, LSTM": (
        lambda: bias(nn.LSTM(2, H), slice(H, 2 * H), -5), 100, None, "forgets"),
}  # fmt: skip
LAYERS = {"tanh RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


def of_network(make: Callable[[], nn.Module], steps: int, lag: int | None, seed: int):
    torch.manual_seed(seed)
    model, x = make(), torch.randn(steps, 8, 2)
    return advise(trace(model, x, lambda m, x: m(x)[0][-1].square().mean()).records, lag=lag)


class Classifier(nn.Module):
    def __init__(self, layer: type, features: int, classes: int):
        super().__init__()
        self.rnn = layer(features, 32, batch_first=True, bidirectional=True)
        self.head = nn.Linear(64, classes)

    def forward(self, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(x, lengths, True, enforce_sorted=False)
        last = self.rnn(packed)[1]
        h = last[0] if isinstance(last, tuple) else last
        return self.head(torch.cat([h[0], h[1]], -1))


def of_training(layer: type, task, steps: int, rate: float, clip: float, seed: int):
    """Findings after each third of the training, and the share classified rightly."""
    torch.manual_seed(seed)
    prepared = task.prepare(task.split(seed))
    block, preprocessing = prepared.train, prepared.preprocessing
    model = Classifier(layer, prepared.input_size, prepared.output_size)
    optimiser = torch.optim.Adam(model.parameters(), rate)
    found: list[tuple[Finding, ...]] = []

    def loss(model, batch):
        return preprocessing.loss(model(batch.x, batch.lengths), batch)

    with Monitor(model, optimiser, every=8) as monitor:
        for step in range(1, steps + 1):
            batch = block.rows(torch.randint(len(block), (32,)))
            optimiser.zero_grad()
            loss(model, batch).backward()
            nn.utils.clip_grad_norm_(model.parameters(), clip)
            optimiser.step()
            if step % (steps // 3) == 0:
                found += [monitor.findings(), advise(trace(model, batch, loss).records)]
    with torch.no_grad():
        test = prepared.test
        score = preprocessing.score(model(test.x, test.lengths), test)
    return found, score


def main(folder: Path, seeds: int) -> None:
    torch.set_num_threads(1)
    data = {
        "JapaneseVowels": (tasks.load(folder / "JapaneseVowels_TRAIN.ts"), 150),
        "MNIST-1D": (tasks.load(folder / "mnist1d.npz"), 240),
    }
    print("| planted | named first | seeds |\n|---|---|---|")
    for name, (make, steps, lag, cause) in PLANTED.items():
        firsts = [of_network(make, steps, lag, seed) for seed in range(seeds)]
        show(name, [f[0].cause if f else "nothing" for f in firsts], cause)
    vowels = data["JapaneseVowels"][0]
    for cause, rate, clip, name in (
        ("update_large", 1.0, 1.0, "learning rate × 100"),
        ("clipped_away", 1e-2, 1e-6, "clip at 1e-6"),
    ):
        for kind, layer in LAYERS.items():
            runs = [of_training(layer, vowels, 24, rate, clip, seed)[0] for seed in range(seeds)]
            firsts = [found[-2][0].cause if found[-2] else "nothing" for found in runs]
            show(f"{name}, {kind}", firsts, cause)
    print("\n| healthy, trained | test accuracy | looks | false alarms |\n|---|---|---|---|")
    for name, (task, steps) in data.items():
        for kind, layer in {"GRU": nn.GRU, "LSTM": nn.LSTM, "our GRU": ours.GRU}.items():
            runs = [of_training(layer, task, steps, 1e-2, 1.0, seed) for seed in range(seeds)]
            looks = [findings for found, _ in runs for findings in found]
            alarms = Counter(f.cause for findings in looks for f in findings)
            scores = np.mean([score for _, score in runs])
            told = ", ".join(f"{n} {cause}" for cause, n in alarms.items()) or "0"
            print(f"| {kind} on {name} | {scores:.2f} | {len(looks)} | {told} |", flush=True)


def show(name: str, firsts: list[str], cause: str) -> None:
    right = sum(first == cause for first in firsts)
    others = sorted({first for first in firsts if first != cause})
    more = f" (else {', '.join(others)})" if others else ""
    print(f"| {name} | `{cause}`{more} | {right} of {len(firsts)} |", flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 5)
