"""Curves of a network in PyTorch: which learning rate, and which seeds to decide?

    python examples/torch_digits.py first.csv --seeds 0 1 --rates 0.01 0.03 0.1 0.3 1 3
    mnist-tune read first.csv --chance 0.1 --test-examples 597 --guess 2.3

The answer names fresh seeds: train these into fresh.csv, and read with `--again fresh.csv`.
"""

import argparse
import csv
from itertools import product

import torch
from sklearn.datasets import load_digits
from torch.nn.functional import cross_entropy

options = argparse.ArgumentParser()
options.add_argument("table", type=argparse.FileType("w"))
options.add_argument("--seeds", type=int, nargs="+")
options.add_argument("--rates", type=float, nargs="+")
chosen = options.parse_args()
table = csv.writer(chosen.table)
table.writerow(["learning_rate", "seed", "epoch", "train_loss", "test_accuracy"])
x, y = (torch.tensor(array) for array in load_digits(return_X_y=True))
x = x.float() / 16
for rate, seed in product(chosen.rates, chosen.seeds):
    torch.manual_seed(seed)
    layers = torch.nn.Linear(64, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10)
    net = torch.nn.Sequential(*layers)
    optimizer = torch.optim.SGD(net.parameters(), rate)
    for epoch in range(1, 16):
        total = 0.0
        for batch in torch.randperm(1200).split(32):
            loss = cross_entropy(net(x[batch]), y[batch])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        right = (net(x[1200:]).argmax(1) == y[1200:]).float().mean()
        table.writerow([rate, seed, epoch, total / 1200, right.item()])
