"""Loops by name: this process does not import their files, and what a sweep records of
them is this user's."""

import subprocess
import sys

import pytest

from mnist_tune import SweepOptions, UserError
from mnist_tune.own_code.loading import load_own, names_in, own_code, sources
from mnist_tune.own_code.modules import Attribute
from mnist_tune.own_code.recorded import files_of, load_recorded, sign
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.own_code.signature import RecordedCode
from mnist_tune.storage import read
from mnist_tune.tuning.tasks import load_data


def test_the_file_of_a_loop_is_not_imported_here(levels, tmp_path):
    (tmp_path / "beside.py").write_text("import flax\n")
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text("import beside\n" + file.read_text())
    load_own({"loop": levels})
    texts, loads = own_code()
    assert {*texts} == {tmp_path.name, "beside"}
    place = loads["architecture", levels]
    assert isinstance(place, Attribute)
    assert place.module == tmp_path.name
    assert tmp_path.name not in sys.modules
    assert "beside" not in sys.modules


def test_its_facts_are_those_of_the_data(levels):
    load_own({"loop": levels})
    calls = (f"{levels}(width=3)", f"{levels}(width=4)")
    data = load_data(SweepOptions(loop=calls, target=0.9, quiet=True), ())
    assert data.spec.flag == "loop"
    assert data.spec.train_images == 1500
    assert data.spec.test_images == 500
    assert data.spec.chance == 0.1
    assert data.shared == ("level",)
    assert data.target == 0.9
    assert data.loop.env == {"LEVELS": "set"}


def test_a_signed_loop_runs_without_being_named(levels, tmp_path):
    load_own({"loop": levels})
    names = names_in({"loop": levels})
    content = {"code": sources(names)}
    sign(content, [{"loop": levels}], print)
    for name, text in files_of(content["code"]).items():
        place = tmp_path / name
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(text)
    facts = ENTRIES["loop"].pop(levels).loop
    recorded = RecordedCode.of(content)
    assert recorded.is_signed
    load_recorded(recorded, tmp_path, [{"loop": levels}], {}, say=print)
    entry = ENTRIES["loop"][levels]
    assert entry.loop == facts
    assert entry.modules == (tmp_path.name,)
    assert tmp_path.name not in sys.modules
    assert {*own_code()[0]} == {tmp_path.name}
    assert read(tmp_path / "code" / "none") is None


def test_changed_facts_are_not_what_was_signed(levels):
    load_own({"loop": levels})
    content = {"code": sources(names_in({"loop": levels}))}
    sign(content, [{"loop": levels}], print)
    [factory] = content["code"]
    factory["loop"]["env"] = {"LD_PRELOAD": "/tmp/planted.so"}
    assert not RecordedCode.of(content).is_signed


def test_a_changed_file_is_loaded_anew(levels, tmp_path):
    load_own({"loop": levels})
    file = tmp_path / f"{tmp_path.name}.py"
    text = file.read_text()
    file.write_text(text.replace("train_examples=1000", "train_examples=2000"))
    load_own({"loop": levels})
    assert ENTRIES["loop"][levels].loop.train_examples == 2000
    assert tmp_path.name not in sys.modules


@pytest.mark.parametrize(
    ("name", "line"),
    [
        pytest.param(
            "levls",
            "{file} has no function 'levls'; did you mean 'levels'?",
            id="misspelt",
        ),
        pytest.param(
            "none",
            "{file} has no function 'none'; it is of type int, so write a function that returns it",
            id="number",
        ),
    ],
)
def test_what_is_no_loop_is_refused(name, line, levels):
    file = levels.partition(":")[0]
    line = line.format(file=file)
    with pytest.raises(UserError) as refused:
        load_own({"loop": f"{file}:{name}"})
    assert str(refused.value) == f"--loop {file}:{name}: {line}"


def test_a_file_may_need_its_variables_to_be_imported(tmp_path):
    file = tmp_path / f"{tmp_path.name}.py"
    lines = [
        "import os",
        "from mnist_tune import Loop",
        "assert os.environ['NEEDED_BY_A_TEST'] == 'yes'",
        "loop = Loop(None, guess=2.3, env={'NEEDED_BY_A_TEST': 'yes'})",
    ]
    file.write_text("\n".join(lines))
    load_own({"loop": f"{file}:loop"})
    assert ENTRIES["loop"][f"{file}:loop"].loop.guess == 2.3


def test_a_function_is_no_loop(levels):
    file = levels.partition(":")[0]
    with pytest.raises(UserError, match="is of type function; name a mnist_tune"):
        load_own({"loop": f"{file}:train"})


def test_a_file_that_can_not_be_imported_is_a_line(tmp_path):
    file = tmp_path / "broken_of_a_test.py"
    file.write_text("import nothing_of_this_name\n")
    with pytest.raises(UserError, match="No module named 'nothing_of_this_name'"):
        load_own({"loop": f"{file}:loop"})


def test_a_process_that_dies_is_a_line(tmp_path):
    file = tmp_path / "dying_of_a_test.py"
    file.write_text("import os\nos._exit(1)\n")
    with pytest.raises(UserError, match="the process that imported it died"):
        load_own({"loop": f"{file}:loop"})


def test_two_files_can_not_be_one_module(levels, tmp_path):
    load_own({"loop": levels})
    other = tmp_path / "other" / f"{tmp_path.name}.py"
    other.parent.mkdir()
    other.write_text((tmp_path / other.name).read_text())
    with pytest.raises(UserError, match="another file is a module"):
        load_own({"loop": f"{other}:levels"})


@pytest.mark.promise(
    "Neither a command nor a trial's process imports JAX for a loop itself"
)
@pytest.mark.slow
def test_neither_the_command_nor_a_trials_process_imports_jax_itself(tmp_path):
    file = tmp_path / f"{tmp_path.name}.py"
    file.write_text(
        "import jax\nfrom mnist_tune import Loop\nloop = Loop(None, guess=2.3)\n"
    )
    lines = [
        "import sys",
        "import mnist_tune.tuning.trainable, mnist_tune.tuning.tuner",
        "from mnist_tune import SweepOptions",
        "from mnist_tune.own_code.loading import load_own, own_code, register_own",
        "from mnist_tune.tuning.tasks import load_data",
        f"options = SweepOptions(loop='{file}:loop')",
        "load_own(options)",
        "assert load_data(options, ()).loop.guess == 2.3",
        "register_own(own_code())",
        "assert 'jax' not in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True)
