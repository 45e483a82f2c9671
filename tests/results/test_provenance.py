"""What a sweep was run with."""

import subprocess
from pathlib import Path

import mnist_tune
from mnist_tune.results import provenance


def test_the_revision_is_that_of_the_package_wherever_the_user_stands(tmp_path, monkeypatch):
    command = ["git", "-C", str(Path(mnist_tune.__file__).parent), "rev-parse", "HEAD"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20)
    monkeypatch.chdir(tmp_path)
    found = provenance._git_revision()
    if done.returncode:  # not a checkout
        assert found is None
    else:
        assert found.removesuffix("-dirty").endswith(done.stdout.strip())
