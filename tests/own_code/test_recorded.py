"""Own code that a sweep keeps: who signed it, and what then runs."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from mnist_tune import UserError
from mnist_tune.own_code import modules
from mnist_tune.own_code.loading import (
    load_own,
    names_in,
    own_code,
    refuse_unloaded,
    sources,
)
from mnist_tune.own_code.recorded import (
    files_of,
    load_recorded,
    refuse_other_calls,
    sign,
)
from mnist_tune.own_code.registry import ENTRIES
from mnist_tune.own_code.signature import RecordedCode, key_file, user_key

NET = "import layers\n\n\ndef mlp(data, width=4):\n    return layers.WIDTH, width\n"
CALLED = {"architecture": "net.py:mlp(width=8)"}


@pytest.fixture(autouse=True)
def user(tmp_path, monkeypatch):
    """A user with a home, who has trained a network. What a test loads is forgotten."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    (tmp_path / "code of mine").mkdir()
    monkeypatch.chdir(tmp_path / "code of mine")
    (tmp_path / "code of mine" / "net.py").write_text(NET)
    (tmp_path / "code of mine" / "layers.py").write_text("WIDTH = 64\n")
    for name in ("net", "layers"):  # those of other_call tests
        monkeypatch.delitem(sys.modules, name, raising=False)
    before = set(sys.modules)
    yield tmp_path
    forget_all(before)


def forget_all(before):
    """Have the process be as a new one."""
    for entries in ENTRIES.values():
        entries.clear()
    modules.forget({name for name in set(sys.modules) - before if name != __name__})


@pytest.fixture
def swept(user):
    """The folder of a sweep that trained the network, read in another process."""
    before = set(sys.modules)
    load_own(CALLED)
    content = {"code": sources(names_in(CALLED))}
    sign(content, [CALLED], pytest.fail)
    folder = user / "sweep"
    (folder / "code").mkdir(parents=True)
    for name, source in files_of(content["code"]).items():
        (folder / name).write_bytes(source)
    (folder / "sweep.json").write_text(json.dumps(content))
    forget_all(before)
    return folder


def recorded_in(folder, **changes):
    content = json.loads((folder / "sweep.json").read_text())
    return RecordedCode.of(content | changes)


def load(folder, recorded=None, called=CALLED, named_now=None, **options):
    """Go on with a sweep, and return the lines and what its network is."""
    lines = []
    load_own(named_now or {})
    load_recorded(
        recorded or recorded_in(folder),
        folder,
        [called],
        named_now or {},
        say=lines.append,
        **options,
    )
    return lines, ENTRIES["architecture"]["net.py:mlp"].factory(None)


def test_what_is_recorded_goes_to_the_processes_that_train(swept, user):
    """Also where nothing but these has called it yet, as in a resume without new
    trials."""
    recorded = recorded_in(swept)
    load_recorded(recorded, swept, [CALLED], {}, say=print)
    texts, loads = own_code()
    assert ("architecture", "net.py:mlp") in loads
    assert set(texts) == {"net", "layers"}


def test_nothing_is_imported_before_a_sweep_goes_on_or_records_it(swept, user):
    """What trials call is looked at before, and may yet be refused."""
    recorded = recorded_in(swept)
    load_recorded(recorded, swept, [CALLED], {}, say=print)
    assert not is_imported()
    [now] = sources(names_in(CALLED))
    assert now["files"] == recorded.factories[0]["files"]


def test_what_can_not_be_imported_is_a_line(swept, user, monkeypatch):
    def load_module(name):
        raise ModuleNotFoundError("No module named 'flax'")

    monkeypatch.setattr(modules, "load", load_module)
    load_recorded(recorded_in(swept), swept, [CALLED], {}, say=print)
    with pytest.raises(UserError, match=r"--architecture net.py:mlp: net.py can't be"):
        own_code()


def is_imported():
    return "net" in sys.modules or "layers" in sys.modules


@pytest.mark.promise("What you have trained goes on without its code being named again")
def test_what_this_user_recorded_runs_from_anywhere_without_being_named(
    swept, user, monkeypatch
):
    moved = user / "moved"
    swept.rename(moved)
    monkeypatch.chdir("/")
    assert load(moved) == ([], (64, 4))
    net = sys.modules["net"]
    assert net.__file__ == str(user / "code of mine" / "net.py")


def test_the_recorded_text_runs_and_a_line_names_the_flag_that_takes_the_file(
    swept, user
):
    (user / "code of mine" / "layers.py").write_text("WIDTH = 1\n")
    lines, network = load(swept)
    assert network == (64, 4)
    assert lines == [
        "note: layers.py has changed since, first in line 1: WIDTH = 1; what was "
        "recorded runs, and --architecture net.py:mlp --changed-code takes the file"
    ]
    (user / "code of mine" / "layers.py").write_text("# wide\nWIDTH = 64\n\n")
    assert load(swept) == ([], (64, 4)), "a comment is no change"
    (user / "code of mine" / "layers.py").write_text("# narrow\n\nWIDTH = 8\n")
    [line] = load(swept)[0]
    assert "first in line 3: WIDTH = 8;" in line, "and is not where it changed"


def test_a_named_file_is_used_as_it_is_now(swept, user):
    named_now = {"architecture": ["net.py:mlp"]}
    (user / "code of mine" / "net.py").write_text(f"# mine\n{NET}\n")
    assert load(swept, named_now=named_now, changed_code=False) == ([], (64, 4))
    (user / "code of mine" / "layers.py").write_text("WIDTH = 1\n")
    with pytest.raises(
        UserError, match=r"first in line 1: WIDTH = 1; .*--changed-code"
    ):
        load(swept, named_now=named_now, changed_code=False)
    lines, network = load(swept, named_now=named_now)
    assert network == (1, 4)
    assert lines[0].startswith("note: layers.py has changed since the sweep started")


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_code_of_another_user_runs_only_if_it_is_trusted(swept, user, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user / "another user"))
    with pytest.raises(UserError, match=r"not signed by you; .* --trust-code"):
        load(swept)
    assert not is_imported()
    assert load(swept, trust_code=True) == ([], (64, 4))


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
@pytest.mark.parametrize(
    "forged",
    [
        {"id": "another sweep"},
        {"code_signature": "0" * 64},
        {"code_signature": None},
        {"code_calls": {"architecture": ["net.py:mlp(width=9)"]}},
    ],
)
def test_a_forged_record_runs_nothing(swept, forged):
    with pytest.raises(UserError, match="not signed by you"):
        load(swept, recorded_in(swept, **forged))
    assert not is_imported()


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_neither_another_factory_nor_other_arguments_run(swept):
    code = json.loads((swept / "sweep.json").read_text())["code"]
    code[0]["attribute"] = "Network"
    with pytest.raises(UserError, match="not signed by you"):
        load(swept, recorded_in(swept, code=code))
    other_call = {"architecture": "net.py:mlp(width=10000)"}
    with pytest.raises(UserError, match="none of the calls you signed"):
        load(swept, called=other_call)
    assert not is_imported()
    load(swept)
    with pytest.raises(UserError, match="none of the calls you signed"):
        refuse_other_calls(recorded_in(swept), swept, [CALLED, other_call])
    refuse_other_calls(recorded_in(swept), swept, [CALLED])
    with pytest.raises(UserError, match="has not recorded"):
        refuse_unloaded(swept, [], {"architecture": "os:system"})


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
@pytest.mark.parametrize(
    "harm", ["a letter", "a link", "a pipe", "gone", "a module", "a folder elsewhere"]
)
def test_what_is_not_the_file_that_was_signed_is_not_imported(swept, harm):
    [source] = [
        file for file in (swept / "code").iterdir() if b"def" in file.read_bytes()
    ]
    content = source.read_bytes()
    recorded, trust = recorded_in(swept), False
    if harm == "a letter":
        source.write_bytes(content.replace(b"width=4", b"width=5"))
    elif harm == "a module":
        code = json.loads((swept / "sweep.json").read_text())["code"]
        code[0]["files"]["net.py"]["module"] = "../../etc"
        recorded, trust = recorded_in(swept, code=code), True
    elif harm == "a folder elsewhere":
        (swept / "code").rename(swept.parent / "elsewhere")
        (swept / "code").symlink_to(swept.parent / "elsewhere")
    else:
        source.unlink()
    if harm == "a link":
        source.symlink_to(swept.parent / "code of mine" / "net.py")
    if harm == "a pipe":
        os.mkfifo(source)
    with pytest.raises(UserError):
        load(swept, recorded, trust_code=trust)
    assert not is_imported()


def test_code_that_a_signed_sweep_does_not_record_is_not_offered_in_a_command(swept):
    with pytest.raises(UserError, match="os:system, which its sweep did not") as error:
        refuse_other_calls(
            recorded_in(swept), swept, [{"architecture": "os:system('x')"}]
        )
    assert "--architecture" not in str(error.value)


def test_bytecode_beside_a_file_is_not_read(swept, user):
    """It may be of another text, of as many bytes and within the same second."""
    before = set(sys.modules)
    source = user / "code of mine" / "layers.py"
    sys.path.insert(0, str(source.parent))
    __import__("layers")
    forget_all(before)
    now = source.stat()
    source.write_text("WIDTH = 65\n")
    os.utime(source, (now.st_atime, now.st_mtime))
    assert load(swept)[1] == (64, 4)


def test_a_key_that_others_can_read_is_replaced(swept):
    assert load(swept)[1] == (64, 4)
    key = user_key()
    assert key_file().stat().st_mode & 0o777 == 0o600
    key_file().chmod(0o644)
    with pytest.raises(UserError, match=r"others can read your key .*key; read .*code"):
        load(swept)
    lines = []
    sign({"code": sources(names_in(CALLED))}, [CALLED], lines.append)
    assert len(lines) == 1
    assert "a new one signs from now on" in lines[0]
    assert user_key() != key
    assert key_file().stat().st_mode & 0o777 == 0o600
    with pytest.raises(UserError, match="not signed by you"):
        load(swept)


@pytest.mark.parametrize("place", ["a file", "of all", "a link"])
def test_without_a_private_place_a_line_says_that_code_is_not_signed(
    user, monkeypatch, place
):
    config = user / "config" / "mnist_tune"
    if place == "a file":
        (user / "config").write_text("")
    else:
        config.mkdir(parents=True)
    if place == "of all":
        config.chmod(0o777)
    if place == "a link":
        key_file().mkdir()
    load_own(CALLED)
    content, lines = {"code": sources(names_in(CALLED))}, []
    sign(content, [CALLED], lines.append)
    [line] = lines
    assert "--trust-code" in line
    assert not RecordedCode.of(content).is_signed


def test_the_files_are_named_by_their_content(swept):
    for file in (swept / "code").iterdir():
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


@pytest.mark.promise("A folder runs no code but what you have signed, or trust")
def test_an_installed_function_is_not_called_in_another_way_than_signed():
    """No module of it is kept, since every node has it."""
    called = {"architecture": "json:dumps(1)"}
    before = set(sys.modules)
    load_own(called)
    content = {"code": sources(names_in(called))}
    sign(content, [called], pytest.fail)
    recorded = RecordedCode.of(content)
    forget_all(before)
    load_recorded(recorded, Path("x"), [called], {}, say=pytest.fail)
    refuse_other_calls(recorded, Path("x"), [called])
    with pytest.raises(UserError, match="none of the calls you signed"):
        refuse_other_calls(recorded, Path("x"), [{"architecture": "json:dumps(2)"}])


def test_to_ask_who_signed_makes_no_key(swept, user, monkeypatch):
    monkeypatch.setenv("XDG_CONFIG_HOME", str(user / "another user"))
    assert not recorded_in(swept).is_signed
    assert not (user / "another user").exists()
