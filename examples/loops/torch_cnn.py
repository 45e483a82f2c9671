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
images = torch.from_numpy(x.reshape(-1, 1, 8, 8).astype(np.float32) / 16)
data = TensorDataset(images, torch.from_numpy(y))
TRAIN, VALIDATION, TEST = range(1200), range(1200, 1500), range(1500, len(y))


def measured(model, part):
    inputs, labels = data[part]
    with torch.no_grad():
        logits = model(inputs)
    accuracy = (logits.argmax(1) == labels).float().mean()
    return cross_entropy(logits, labels), accuracy


def train(run):
    torch.manual_seed(run.seed)
    width = run.arguments.get("width", 16)
    model = nn.Sequential(
        nn.Conv2d(1, width, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36 * width, 10)
    )
    optimizer = torch.optim.SGD(model.parameters(), run.learning_rate, run.momentum)
    state = {"model": model, "optimizer": optimizer}
    run.saves(
        lambda folder: torch.save(
            {name: part.state_dict() for name, part in state.items()}, folder / "state"
        )
    )
    if folder := run.restore():
        saved = torch.load(folder / "state", weights_only=True)
        for name, part in state.items():
            part.load_state_dict(saved[name])
    subset = torch.utils.data.Subset(data, TRAIN)
    loader = DataLoader(subset, run.batch_size, shuffle=True)
    for _ in range(run.epochs_done, run.epochs):
        for inputs, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(inputs), labels).backward()
            optimizer.step()
        train_loss, train_accuracy = measured(model, TRAIN)
        loss, accuracy = measured(model, VALIDATION)
        test_loss, test_accuracy = measured(model, TEST)
        yield {
            "train_loss": train_loss,
            "train_accuracy": train_accuracy,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "test_loss": test_loss,
            "test_accuracy": test_accuracy,
        }


cnn = Loop(
    train, train_examples=1200, validation_examples=300, test_examples=297, chance=0.1
)
