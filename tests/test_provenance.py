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
    revision = machine._git_revision()
    if done.returncode:  # not a checkout
        assert revision is None
    else:
        assert revision.removesuffix("-dirty").endswith(done.stdout.strip())


def test_a_project_in_which_the_package_is_installed_is_not_its_revision(
    tmp_path, monkeypatch
):
    package = tmp_path / "lib" / "mnist_tune"
    package.mkdir(parents=True)
    commit = "-c user.name=a -c user.email=a commit --allow-empty -m theirs"
    for command in ("init", commit):
        subprocess.run(
            ["git", "-C", tmp_path, *command.split()],
            check=True,
            capture_output=True,
            timeout=LONG_S,
        )
    monkeypatch.setattr(machine, "__file__", str(package / "machine.py"))
    assert machine._git_revision() is None


@pytest.mark.parametrize(
    ("git", "revision"),
    [
        ("v1-3-gabc-dirty\n", "v1-3-gabc-dirty"),
        ("", None),
        (FileNotFoundError("git"), None),
        (subprocess.TimeoutExpired("git", 10), None),
    ],
)
def test_the_environment_tells_all_that_numbers_depend_on(monkeypatch, git, revision):
    if isinstance(git, str):
        run = Mock(return_value=SimpleNamespace(stdout=git))
    else:
        run = Mock(side_effect=git)
    stand_in = SimpleNamespace(run=run, TimeoutExpired=subprocess.TimeoutExpired)
    # `platform` asks other programs
    monkeypatch.setattr(machine, "subprocess", stand_in)
    environment = machine.describe_environment()
    assert "--dirty" in run.call_args.args[0]
    versions = environment["versions"]
    names = {"mnist_tune", "jax", "jaxlib", "optax", "ray", "numpy", "pandas", "python"}
    assert set(versions) == names
    assert versions["jax"] == version("jax")
    assert versions["python"] == platform.python_version()
    assert environment["git_revision"] == revision
    assert environment["processor"] == processor_model()
    assert environment["cpus"] == usable_cpus()
    assert environment["host"] == platform.node()
    assert environment["platform"] == platform.platform()
    nothing_is_installed = Mock(side_effect=PackageNotFoundError)
    monkeypatch.setattr(machine.importlib.metadata, "version", nothing_is_installed)
    assert machine.describe_environment()["versions"]["jax"] is None
