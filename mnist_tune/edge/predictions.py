"""What predictors say of edges, before any trial runs: in processes of Ray's, as many as fit."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import track

from mnist_tune.cache import cache_folder
from mnist_tune.data.dataset import Dataset
from mnist_tune.execution.process_setup import WorkerSettings, configure_jax
from mnist_tune.own_code.loading import own_code, register_own
from mnist_tune.terminal import announce
from mnist_tune.trial import TrialConfig
from mnist_tune.tuning.sweep import processes


def predictions(
    options: Any, templates: Sequence[TrialConfig], dataset: Dataset
) -> list[dict[str, list[float | None]]]:
    """Return for each template the rates that each predictor gives, a seed each; None for seeds on which it has nothing
    to say. The options are those of a search for edges."""
    import ray
    from ray.util import ActorPool

    # Seed by seed, so that a large network does not keep one process busy in the end.
    looks = [(i, replace(one, seed=seed, data_seed=seed))
             for seed in range(options.predictor_seeds) for i, one in enumerate(templates)]  # fmt: skip
    announce(f"predicting the edges: {len(looks)} looks at untrained networks ...", options.quiet)
    start, given = ray.remote(num_cpus=1)(_Predictor).remote, (own_code(), ray.put(dataset), templates[0])
    started = [start(*given) for _ in range(min(processes(options), len(looks)))]
    said = ActorPool(started).map(lambda process, look: process.predict.remote(look[1]), looks)
    console = Console(stderr=True, quiet=options.quiet)
    shown = track(said, "predicting", len(looks), console=console, transient=True, disable=not console.is_terminal)
    found: list[dict[str, list[float | None]]] = [{} for _ in templates]
    for (i, look), (rates, raised) in zip(looks, shown, strict=True):
        if raised:
            announce(f"note: {look.architecture} raised while its edge was predicted: {raised}")
        for name, rate in rates.items():
            found[i].setdefault(name, []).append(rate)
    for process in started:
        ray.kill(process)
    return found


class _Predictor:
    """What predictors say. It runs in a process of Ray's, as JAX in the driver would take a GPU's memory."""

    def __init__(self, code: Any, dataset: Dataset, like: TrialConfig) -> None:
        os.environ["JAX_PLATFORMS"] = "cpu"
        configure_jax(WorkerSettings(Path(), cache_dir=str(cache_folder())))
        register_own(code)
        from mnist_tune.execution.device_data import DeviceData

        self._data, self._spec = DeviceData.put(dataset, like.label_noise, like.holdout), dataset.spec

    def predict(self, config: TrialConfig) -> tuple[dict[str, float | None], str]:
        from mnist_tune.edge.predictors import predict

        return predict(config, self._data, self._spec)
