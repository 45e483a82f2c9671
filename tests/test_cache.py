"""The cache folder, and the temporary folder that replaces one that can't be
written."""

import logging
import os
import tempfile
from pathlib import Path

import jax
import platformdirs
import pytest

from mnist_tune import UserError
from mnist_tune.cache import cache_folder, writable_cache_folder, writable_or_temporary
from mnist_tune.execution.process_setup import (
    CACHE_BYTES,
    WorkerSettings,
    configure_jax,
)
from mnist_tune.machine import processor_model


@pytest.fixture(autouse=True)
def temporary(tmp_path, monkeypatch):
    """The temporary folder that replaces the cache folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "tmp"))
    return tmp_path / "tmp" / f"mnist_tune-{os.getuid()}"


@pytest.fixture
def unwritable(tmp_path):
    """A path below a regular file, where no folder can be created."""
    (tmp_path / "file").write_text("")
    return tmp_path / "file" / "cache"


@pytest.fixture
def default(monkeypatch):
    """A function that sets the user's default cache folder. `$MNIST_TUNE_CACHE` is
    unset."""
    monkeypatch.delenv("MNIST_TUNE_CACHE", raising=False)
    return lambda path: monkeypatch.setattr(
        platformdirs, "user_cache_path", lambda name: path
    )


def test_the_variable_names_the_folder(tmp_path, default, monkeypatch):
    default(tmp_path / "own")
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("MNIST_TUNE_CACHE", "")
    assert cache_folder() == tmp_path / "own"
    monkeypatch.setenv("MNIST_TUNE_CACHE", "~/there")
    assert cache_folder() == Path.home() / "there"
    monkeypatch.setenv("MNIST_TUNE_CACHE", "here")
    assert cache_folder() == Path.cwd() / "here"


def test_a_writable_cache_folder_is_created_and_left_empty(
    tmp_path, default, monkeypatch, caplog
):
    own = tmp_path / "own" / "cache"
    chosen = tmp_path / "chosen" / "cache"
    default(own)
    assert writable_cache_folder() == own
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(chosen))
    assert writable_cache_folder() == chosen
    assert list(own.iterdir()) == []
    assert list(chosen.iterdir()) == []
    assert caplog.text == ""


def test_a_temporary_folder_replaces_a_default_that_cannot_be_written(
    unwritable, default, temporary, caplog
):
    default(unwritable)
    with caplog.at_level(logging.WARNING):
        assert writable_cache_folder() == writable_cache_folder() == temporary
    [warning] = caplog.messages
    problem = f"can't write to the cache folder {unwritable} (Not a directory)"
    assert f"{problem}, using {temporary} instead" in warning
    assert "$MNIST_TUNE_CACHE" in warning
    assert temporary.stat().st_mode & 0o777 == 0o700


def test_a_chosen_folder_that_cannot_be_written_is_refused(unwritable, monkeypatch):
    monkeypatch.setenv("MNIST_TUNE_CACHE", str(unwritable))
    line = rf"can't write to \$MNIST_TUNE_CACHE, {unwritable}: Not a directory; set it"
    with pytest.raises(UserError, match=line):
        writable_cache_folder()


def test_compiled_programs_of_somebody_else_are_not_run(
    unwritable, temporary, monkeypatch
):
    temporary.mkdir()
    own = os.getuid()
    monkeypatch.setattr(os, "getuid", lambda: own + 1)
    temporary.with_name(f"mnist_tune-{own + 1}").mkdir()
    folder = writable_or_temporary(unwritable)
    assert folder.parent == temporary.parent
    assert folder.name not in {f"mnist_tune-{own}", f"mnist_tune-{own + 1}"}


@pytest.mark.parametrize(
    "place", ["the folder that the driver named", "a temporary one"]
)
def test_compiled_programs_are_kept_per_processor(
    place, tmp_path, unwritable, temporary, monkeypatch
):
    """This also holds on a node where the driver's folder can't be created."""
    set_ = {}
    named = unwritable if place == "a temporary one" else tmp_path / "named"
    monkeypatch.setattr(jax.config, "update", set_.__setitem__)
    folders = []
    for processor in (processor_model(), "Another CPU (AVX2)"):
        monkeypatch.setattr(
            "mnist_tune.execution.process_setup.processor_model",
            lambda: processor,  # noqa: B023
        )
        configure_jax(WorkerSettings("states", threads=None, cache_dir=str(named)))
        folders.append(Path(set_["jax_compilation_cache_dir"]))
    # without a limit, JAX locks no files
    assert set_["jax_compilation_cache_max_size"] == CACHE_BYTES
    assert set_["jax_persistent_cache_min_compile_time_secs"] == 0
    assert folders[0] != folders[1]
    assert folders[1].name == "Another-CPU-AVX2"
    for folder in folders:
        assert folder.is_dir()
        assert folder.parent.stat().st_mode & 0o777 == 0o700
        assert folder.is_relative_to(temporary if place == "a temporary one" else named)


@pytest.mark.parametrize(
    ("whose", "mode"),
    [("of others", 0o755), ("for others", 0o757), ("for a group", 0o775)],
)
def test_programs_that_others_may_have_written_are_not_run(
    whose, mode, tmp_path, temporary, monkeypatch, caplog
):
    programs = tmp_path / "named" / "xla"
    programs.mkdir(parents=True)
    programs.chmod(mode)
    if whose == "of others":
        own = os.getuid()
        monkeypatch.setattr(os, "getuid", lambda: own + 1)
    set_ = {}
    monkeypatch.setattr(jax.config, "update", set_.__setitem__)
    configure_jax(
        WorkerSettings("states", threads=None, cache_dir=str(tmp_path / "named"))
    )
    folder = Path(set_["jax_compilation_cache_dir"])
    assert folder.is_relative_to(temporary.parent)
    assert folder.is_dir()
    assert caplog.messages == [
        f"others may write to {programs}, so its programs are not run; remove it, or set $MNIST_TUNE_CACHE"
    ]
