"""The benchmark of GPUs: what it does without one, after a failure, and how it compares numbers."""

import json
import math
import sys
from types import SimpleNamespace

import pytest

from benchmarks import comparison, gpu
from benchmarks.gpu import GPUBenchmark, difference, line, measured, parts, sweep_figures
from benchmarks.sides import on_device
from benchmarks.sides.sweep_work import Epoch, Outcome, SweepWork
from mnist_tune import UserError

SMALL = GPUBenchmark(device="cpu", record=True).filled()


@pytest.fixture
def run_main(tmp_path, monkeypatch):
    """A function that runs the benchmark with these parts on this platform, and returns its exit code and record."""

    def run(found, platform="gpu", *flags):
        monkeypatch.setattr(sys, "argv", ["benchmarks/gpu.py", *flags])
        monkeypatch.setattr(comparison, "RECORDS", tmp_path)
        monkeypatch.setattr(gpu, "on_device", lambda config, *arguments: {"platform": platform, "kind": "Some GPU"})
        monkeypatch.setattr(gpu, "load_dataset", lambda name: None)
        monkeypatch.setattr(gpu, "parts", lambda config: iter(found.items()))
        code = gpu.main()
        [file] = tmp_path.iterdir()
        return code, file.name, json.loads(file.read_text())

    return run


def test_without_a_gpu_it_says_so_in_a_line(run_main, tmp_path):
    with pytest.raises(UserError, match=r"^JAX finds no GPU here, only Some GPU; .*--device cpu") as error:
        run_main({}, "cpu")
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def fail():
    raise UserError(
        "python -m benchmarks.sides.on_device lanes failed:\nTraceback\nXlaRuntimeError: RESOURCE_EXHAUSTED"
    )


def test_a_part_that_fails_is_recorded_and_the_others_run(run_main, capsys):
    code, name, record = run_main({"256 lanes": fail, "a sweep": lambda: {"trials_per_s": 2.0}})
    assert code == 1
    assert name[11:] == "gpu-some-gpu.json"
    assert record["results"]["256 lanes"]["failed"].startswith(
        "UserError: python -m benchmarks.sides.on_device lanes failed:"
    )
    assert record["results"]["a sweep"] == {"trials_per_s": 2.0}
    assert capsys.readouterr().out.splitlines()[2:] == [
        "recorded in benchmarks/records/" + name,
        "a sweep: trials_per_s 2",
    ]


@pytest.mark.parametrize(("rounding", "code"), [(True, 0), (False, 1)])
def test_other_numbers_than_the_cpus_are_an_error(run_main, rounding, code):
    found = {"differ": {"1 lane in float32": 0.1}, "rounding": rounding, "losses": {}}
    assert run_main({"numbers": lambda: found})[0] == code


def test_every_part_runs_on_a_cpu_and_each_has_a_title_of_its_own():
    titles = [title for title, _ in parts(SMALL)]
    assert len(set(titles)) == len(titles) == 1 + 3 * (2 + 2 + 1 + 3) - 1  # the convnet has no notebook's loop
    assert [title for title, _ in parts(GPUBenchmark(parts=("main",)))] == ["main command"]


@pytest.mark.parametrize(
    ("losses", "expected"),
    [({"a": 2.0, "b": 1.0}, 0.0), ({"a": 2.0, "b": 1.1}, 0.1), ({"a": math.nan, "b": 1.0}, math.inf)],
)
def test_numbers_are_compared_relative_to_the_cpus(losses, expected):
    assert difference(losses, {"a": 2.0, "b": 1.0}) == pytest.approx(expected)


def test_float32_alone_must_equal_the_cpu(monkeypatch):
    """TensorFloat32, the default of newer GPUs, has 10 bits."""

    def on(config, name, architecture, dataset, *ways, cpu=False):
        return {way: {"loss": 1.0 if cpu or "highest" in way else 1.01} for way in ways}

    monkeypatch.setattr(gpu, "on_device", on)
    found = gpu.compare_numbers(SMALL, "convnet")
    assert found["rounding"]
    assert found["differ"]["2 lanes"] == pytest.approx(0.01)
    assert line("numbers", found).startswith("numbers: equal to rounding in float32; 1 lane by 1.0e-02, ")


def test_trials_a_second():
    """Two lanes, two trials of three epochs: both report at 10 s, and then every two seconds."""
    work = SweepWork("mlp-16-tanh", 2, 3, "mnist-5k")
    epochs = [Epoch(0.5, 10 + 2 * i, 0.8, trial, 1.0) for i in range(3) for trial in "ab"]
    found = sweep_figures(work, 20.0, Outcome(epochs), at_a_time=2)
    assert found["trials_per_s"] == 0.1
    assert found["steady_trials_per_s"] == pytest.approx(4 / 4 / 3)


def test_a_part_that_takes_too_long_is_killed(tmp_path):
    config = GPUBenchmark(device="cpu", limit_s=0.2)
    found = measured(lambda: gpu.run(config, ["-c", "import time; time.sleep(60)"], lambda *_: {}, True))
    assert found == {"failed": "UserError: it took more than 0.2 s"}


def test_lanes_and_numbers_on_this_device(few_images, monkeypatch):
    monkeypatch.setattr(on_device, "load_dataset", lambda name: few_images)
    found = on_device.lanes("mlp-4-tanh", "few", "2", "1")
    assert found["in_a_batch"] == 2
    assert found["peak_mib"] is None
    one, two = on_device.numbers("mlp-4-tanh", "few", "1:default", "2:highest").values()
    assert len(one) == 4
    assert difference(two, one) < gpu.ROUNDING


def test_the_peak_is_what_the_device_says(monkeypatch):
    device = SimpleNamespace(memory_stats=lambda: {"peak_bytes_in_use": 3 * 2**20})
    monkeypatch.setattr("jax.local_devices", lambda: [device])
    assert on_device.memory_mib("peak_bytes_in_use") == 3
    assert on_device.memory_mib("bytes_limit") is None
