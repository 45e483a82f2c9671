"""The benchmark of GPUs: what it does without one, after a failure, and how it compares numbers."""

import json
import sys

import pytest

from benchmarks import comparison, gpu
from benchmarks.gpu import GPUBenchmark, difference, measured, parts
from benchmarks.sides import on_device
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
