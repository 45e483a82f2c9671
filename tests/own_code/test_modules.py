"""The user's modules in another process, which does not see their files."""

import importlib
import inspect
import json
import pickle
import shutil
import subprocess
import sys
import traceback

import pytest
from waiting import LONG_S

from mnist_tune.own_code import modules
from mnist_tune.own_code.loading import load_own, own_code

DATACLASS = """from dataclasses import dataclass
import jax
import jax.numpy as jnp
from mnist_tune import Network


@jax.tree_util.register_dataclass
@dataclass
class Params:
    weights: jax.Array


def mlp(data):
    init = lambda key: Params(jnp.zeros((data.size, data.classes)))
    return Network(init, lambda params, images: images.reshape(len(images), -1) @ params.weights)
"""

NESTED = """import functools
from pathlib import Path
from layers.blocks.dense import dense
from mnist_tune import Network

HERE = Path(__file__).name


def made(data, width):
    init = lambda key: {"w": dense(data.size, data.classes), "width": dense(1, width)}
    return Network(init, lambda params, images: images.reshape(len(images), -1) @ params["w"])


mlp = functools.partial(made, width=3)
"""

FORKS = """
import os, pickle, sys
import jax
from mnist_tune.data_spec import DataSpec
from mnist_tune.own_code.loading import register_own
from mnist_tune.training.architectures import architecture
while True:
    name, code = pickle.load(sys.stdin.buffer)
    if not (fork := os.fork()):  # each asks a process that knows nothing of the others
        # it is sent on, by the actor that starts lane servers
        register_own(pickle.loads(pickle.dumps(code)))
        network = architecture(name, DataSpec("mine", (4, 4), (2, 2, 2), 3))
        params = network.init(jax.random.key(0))
        print(network.apply(params, jax.numpy.ones((5, 4, 4))).shape, len(jax.tree.leaves(params)), flush=True)
        os._exit(0)
    if os.waitpid(fork, 0)[1]:
        sys.exit("a fork failed")
"""


@pytest.fixture(scope="module")
def another():
    """A process that has imported JAX and the package, but sees none of the user's
    files."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", FORKS], cwd="/", **pipes) as process:
        yield process
        process.kill()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def elsewhere(folder, another):
    """A function that uses a named network in another process, after the files have
    gone."""

    def use(name):
        load_own({"architecture": [name]})
        shipped = pickle.dumps((name, own_code()))
        for path in folder.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        another.stdin.write(shipped)
        another.stdin.flush()
        return another.stdout.readline().decode().strip()

    return use


@pytest.mark.parametrize("file", ["mine.py", "mine/__init__.py"])
def test_the_folder_of_what_is_imported_elsewhere_hides_no_installed_module(
    folder, monkeypatch, file
):
    monkeypatch.setattr(modules, "TEXTS", {})
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = list(sys.path)
    modules.receive({"mine": modules.Source(str(folder / file), b"")})
    assert sys.path == [*before, str(folder)]


def test_whose_a_module_is():
    """Also in a clone of this package, where ours are beside the user's."""
    own = {(name, "/x/net.py") for name in ("net", "mnist_tuned.net", "net.mnist_tune")}
    not_own = {
        ("mnist_tune", "/x/__init__.py"),
        ("mnist_tune.trial", "/x/trial.py"),
        ("json", json.__file__),
    }
    not_own |= {
        ("net", f"/x/{place}/net.py") for place in ("site-packages", "dist-packages/y")
    }
    not_own |= {("net", file) for file in (None, "", "/x/net.so")}
    assert {module for module in own | not_own if modules.is_own(*module)} == own


def test_a_module_that_was_imported_from_a_file_is_imported_again_from_the_text(
    folder, monkeypatch
):
    monkeypatch.setattr(modules, "TEXTS", {})
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    monkeypatch.syspath_prepend(folder)
    (folder / "imported_before.py").write_text("VALUE = 1\n")
    assert importlib.import_module("imported_before").VALUE == 1
    modules.receive(
        {
            "imported_before": modules.Source(
                str(folder / "imported_before.py"), b"VALUE = 2\n"
            )
        }
    )
    try:
        assert importlib.import_module("imported_before").VALUE == 2
    finally:
        del sys.modules["imported_before"]


@pytest.mark.parametrize("now", ["# another line\nVALUE = 2\n", None])
def test_tracebacks_and_inspect_show_the_text_that_runs(folder, monkeypatch, now):
    """Also where the user's file is another by now, or is not on this machine."""
    monkeypatch.setattr(modules, "TEXTS", {})
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    text = b"def width():\n    raise ArithmeticError\n"
    file = folder / "recorded_net.py"
    if now is not None:
        file.write_text(now)
    modules.receive({"recorded_net": modules.Source(str(file), text, True)})
    module = importlib.import_module("recorded_net")
    with pytest.raises(ArithmeticError) as raised:
        module.width()
    assert "    raise ArithmeticError\n" in "".join(
        traceback.format_exception(raised.value)
    )
    assert inspect.getsource(module.width) == text.decode()
    assert module.__file__ == str(file)


def test_a_class_that_its_library_registers_is_what_it_was(folder, elsewhere):
    (folder / "net.py").write_text(DATACLASS)
    assert elsewhere("net.py:mlp") == "(5, 3) 1"


@pytest.mark.parametrize("packages", [True, False])
def test_packages_in_the_folder_go_with_a_file_also_without_a_file_of_their_own(
    folder, elsewhere, packages
):
    (folder / "layers" / "blocks").mkdir(parents=True)
    for package in (folder / "layers", folder / "layers" / "blocks"):
        if packages:
            (package / "__init__.py").write_text("")
    (folder / "layers" / "blocks" / "dense.py").write_text(
        "import jax.numpy as jnp\n\ndense = lambda *s: jnp.zeros(s)\n"
    )
    (folder / "my.net.v2.py").write_text(NESTED)
    assert elsewhere("my.net.v2.py:mlp") == "(5, 3) 2"


def test_a_process_that_serves_another_sweep_trains_the_text_of_that_one(folder):
    """Also of a module that both files import: no class of the former sweep is left."""
    codes = []
    for width in (3, 4):
        (folder / "net.py").write_text(
            "from common import WIDTH\n\n\ndef mlp(data):\n    return WIDTH\n"
        )
        (folder / "common.py").write_text(f"WIDTH = {width}\n")
        load_own({"architecture": ["net.py:mlp"]})
        codes.append(pickle.dumps(own_code()))
    script = f"""
import pickle
from mnist_tune.own_code import loading, registry
for code in {codes!r}:
    loading.register_own(pickle.loads(code))
    print(registry.ENTRIES["architecture"]["net.py:mlp"].factory(None))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=LONG_S,
    )
    assert done.stdout == "3\n4\n", done.stderr


NOTEBOOK = """
import os, pickle, subprocess, sys
import common
from mnist_tune import register, register_optimizer
from mnist_tune.own_code.loading import own_code
class Mine:
    width = common.WIDTH
register("mine")(lambda data: (Mine, common.Shared))
register_optimizer("other")(lambda rate: (Mine, common.Shared))
code = pickle.dumps(own_code())
os.remove("common.py")
sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]], input=code, cwd="/").returncode)
"""

USED = """
import pickle, sys
from mnist_tune.own_code import loading, registry
loading.register_own(pickle.loads(sys.stdin.buffer.read()))
both = registry.ENTRIES["architecture"], registry.ENTRIES["optimizer"]
[(mine, shared), other] = [e.factory(0) for all in both for e in all.values()]
assert (mine, shared) == other
print(mine.width, shared.__module__, sys.modules["common"].__file__)
"""


def test_functions_in_no_file_go_by_value_and_what_they_import_as_text(folder):
    (folder / "common.py").write_text("WIDTH = 5\n\n\nclass Shared:\n    pass\n")
    done = subprocess.run(
        [sys.executable, "-c", NOTEBOOK, USED],
        capture_output=True,
        text=True,
        timeout=LONG_S,
    )
    assert done.stdout == f"5 common {folder}/common.py\n", done.stderr


def test_a_module_that_runs_its_sweep_while_it_is_imported_is_not_imported_elsewhere(
    folder,
):
    """It would start the sweep again, in each process."""
    (folder / "experiment.py").write_text("""
import pickle
from mnist_tune import register
from mnist_tune.own_code.loading import own_code

def mlp(data):
    return 3

register("mine")(mlp)
CODE = pickle.dumps(own_code())
""")
    sys.path.insert(0, str(folder))
    texts, loads = pickle.loads(importlib.import_module("experiment").CODE)
    del sys.modules["experiment"]
    assert not texts
    assert loads["architecture", "mine"]()(None) == 3
    assert "experiment" not in sys.modules


def test_a_file_in_another_encoding_is_sent_and_one_that_is_gone_is_not(
    folder, elsewhere
):
    (folder / "latin_net.py").write_bytes(
        b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\nimport gone\n" + DATACLASS.encode()
    )
    (folder / "gone.py").write_text("")
    sys.path.insert(0, str(folder))
    importlib.import_module("gone")
    (folder / "gone.py").unlink()
    load_own({"architecture": ["latin_net.py:mlp"]})
    assert list(own_code()[0]) == ["latin_net"]
    (folder / "gone.py").write_text("")
    assert elsewhere("./latin_net.py:mlp") == "(5, 3) 1"
