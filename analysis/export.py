"""Copy a sweep into TensorBoard, MLflow, W&B, Optuna or CSV files, once or while it
runs.

    python analysis/export.py RESULTS --to tensorboard --follow

Copying again, also after a resume, adds what is new and doubles nothing.
"""

from mnist_tune import cli
from mnist_tune.commands.export import main

if __name__ == "__main__":
    cli.run(main)
