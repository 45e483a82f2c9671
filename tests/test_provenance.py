"""What a sweep was run with."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import pytest
from waiting import LONG_S

import mnist_tune
from mnist_tune import machine
from mnist_tune.machine import processor_model, usable_cpus


def test_the_revision_is_that_of_the_package_wherever_the_user_stands(
    tmp_path, monkeypatch
):
    command = ["git", "-C", str(Path(mnist_tune.__file__).parent), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_S)
    monkeypatch.chdir(tmp_path)
    found = machine._git_revision()
    if done.returncode:  # not a checkout
        assert found is None
    else:
        assert found.removesuffix("-dirty").endswith(done.stdout.strip())


def test_a_project_in_which_the_package_is_installed_is_not_its_revision(
    tmp_path, monkeypatch
):
    (tmp_path / "lib" / "mnist_tune").mkdir(parents=True)
    for command in (
        ["init"],
        [
            "-c",
            "user.name=a",
            "-c",
            "user.email=a",
            "commit",
            "--allow-empty",
            "-m",
            "theirs",
        ],
    ):
        subprocess.run(
            ["git", "-C", tmp_path, *command],
            check=True,
            capture_output=True,
            timeout=LONG_S,
        )
    monkeypatch.setattr(
        machine, "__file__", str(tmp_path / "lib" / "mnist_tune" / "machine.py")
    )
    assert machine._git_revision() is None


@pytest.mark.parametrize(
    ("git", "revision"),
    [
        (
            {"return_value": SimpleNamespace(stdout="v1-3-gabc-dirty\n")},
            "v1-3-gabc-dirty",
        ),
        ({"return_value": SimpleNamespace(stdout="")}, None),
        ({"side_effect": FileNotFoundError("git")}, None),
        ({"side_effect": subprocess.TimeoutExpired("git", 10)}, None),
    ],
)
def test_the_environment_tells_all_that_numbers_depend_on(monkeypatch, git, revision):
    run = Mock(**git)
    stand_in = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    # `platform` asks other programs
    monkeypatch.setattr(machine, "subprocess", stand_in)
    found = machine.describe_environment()
    assert "--dirty" in run.call_args.args[0]
    names = {"mnist_tune", "jax", "jaxlib", "optax", "ray", "numpy", "pandas", "python"}
    assert set(found["versions"]) == names
    assert found["versions"]["jax"] == version("jax")
    assert found["versions"]["python"] == platform.python_version()
    assert (found["git_revision"], found["processor"], found["cpus"]) == (
        revision,
        processor_model(),
        usable_cpus(),
    )
    assert (found["host"], found["platform"]) == (platform.node(), platform.platform())
    monkeypatch.setattr(
        machine.importlib.metadata, "version", Mock(side_effect=PackageNotFoundError)
    )
    assert machine.describe_environment()["versions"]["jax"] is None
