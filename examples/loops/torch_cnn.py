"""A network in PyTorch, with its own loader.

mnist-tune regimes --loop examples/loops/torch_cnn.py:cnn --learning-rates 0.003:1:6
"""

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader, TensorDataset

from mnist_tune import Loop

x, y = load_digits(return_X_y=True)
x = x.astype(np.float32) / 16
images = torch.from_numpy(x).reshape(-1, 1, 8, 8)
data = TensorDataset(images, torch.from_numpy(y))
PARTS = {"train": range(1200), "validation": range(1200, 1500)}
PARTS["test"] = range(1500, len(y))


def measured(model, part):
    inputs, labels = data[part]
    with torch.no_grad():
        logits = model(inputs)
    is_right = logits.argmax(1) == labels
    return cross_entropy(logits, labels), is_right.float().mean()


def train(run):
    torch.manual_seed(run.seed)
    width = run.arguments.get("width", 16)
    model = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), run.learning_rate)
    run.saves(lambda folder: torch.save(model.state_dict(), folder / "model.pt"))
    if folder := run.restore():
        model.load_state_dict(torch.load(folder / "model.pt"))
    subset = torch.utils.data.Subset(data, PARTS["train"])
    loader = DataLoader(subset, run.batch_size, shuffle=True)
    for _ in range(run.epochs_done, run.epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            loss = cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
        report = {}
        for split, part in PARTS.items():
            loss, accuracy = measured(model, part)
            report[f"{split}_loss"] = loss
            report[f"{split}_accuracy"] = accuracy
        yield report


COUNTS = {"train_examples": 1200, "validation_examples": 300, "test_examples": 297}
cnn = Loop(train, chance=0.1, **COUNTS)
