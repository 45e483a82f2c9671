"""What a new sweep, and one that is resumed, write down, note, try and refuse before they start."""

import json
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import ray
from kept_texts import assert_kept
from own_networks import patterns
from played import course, shown  # noqa: F401

from mnist_tune import TrialConfig, UserError
from mnist_tune.commands.search import Search
from mnist_tune.data.dataset import load_dataset
from mnist_tune.own_code.registry import ENTRIES, register, register_optimizer
from mnist_tune.runtime import placement
from mnist_tune.training import network_check
from mnist_tune.training.network import Network
from mnist_tune.tuning import opening
from mnist_tune.tuning.opening import check_networks, open_again, open_new, with_images_held_out
from mnist_tune.tuning.options import SweepOptions

SMALL: dict[str, list[dict[str, Any]]] = {
    "10 of 30 are not small, and 4 of 48 are told once": [{"batch_size": n} for n in (30, 48, 48)],
    "two are small": [{"batch_size": n} for n in (48, 60, 33)],
    "a quarter is not small": [{"batch_size": n} for n in (40, 20, 80, 100)],
    "they are left out": [{"batch_size": n, "drop_last": True} for n in (48, 33)],
    "images are held out": [{"batch_size": 33, "holdout": 1}, {"batch_size": 80, "holdout": 90}],
    "no batch is left": [{"batch_size": 60, "holdout": 50, "drop_last": True}],
    "more than there are": [{"batch_size": 101}],
    "an unknown network": [{"architecture": "mpl-4-tanh"}],
    "an unknown optimizer": [{"optimizer": "adm"}],
}
WARM: list[dict[str, Any]] = [{"batch_size": 30, "epochs": 3, "holdout": 40, "warmup_steps": n} for n in (5, 6, 9)]
STARTED: list[dict[str, Any]] = [
    {"lanes": 3, "sharpness": True},
    {"address": "head:6379", "cpus_per_trial": 2, "max_concurrent": 5},
    {"dashboard": True},
]
"""How a sweep is run."""


@pytest.fixture
def opened(course, monkeypatch):  # noqa: F811
    """The course of what is opened, with 100 images, and a network and an optimiser of one's own."""
    course.data = replace(load_dataset(patterns((4, 3), 3), train_images=100), source="data.npz")
    for name in ("mine", "of another search"):
        register(name)(lambda data: Network(lambda key: {}, lambda params, images: images))
    for name in ("check_session", "check_networks"):
        monkeypatch.setattr(opening, name, course.noting(name))
    monkeypatch.setattr(placement, "refuse_unholdable", course.noting("check cores:"))
    return course


def refused(course, call):  # noqa: F811
    """Note what is refused; else return what the call returns."""
    try:
        return call()
    except UserError as error:
        course.note(f"refused: {error}")


def test_what_is_checked_noted_and_recorded_before_a_sweep_starts(opened, tmp_path):
    def start(title, fields, **given):
        opened.section(title)
        usual = {"architecture": "mlp-4-tanh", "batch_size": 50}
        trials = {f"{i:05d}": TrialConfig(**usual | one) for i, one in enumerate(fields)}
        found = refused(opened, lambda: open_new("mine", trials, SweepOptions(output=tmp_path / title, **given)))
        if found:
            found[0].finish()

    for title, fields in SMALL.items():
        start(title, fields)
    for one in WARM:
        start(f"of 6 steps, {one['warmup_steps']} warm up", [one] * 2)
    for given in STARTED:
        start(f"with {' and '.join(given)}", [{}], **given)
    start("quiet", [{"batch_size": 48, "warmup_steps": 99}], quiet=True)
    start("one's own network", [{"architecture": "mine"}, {}])
    opened.section("a search")
    like = [TrialConfig(architecture=name, batch_size=48) for name in ("mlp-4-tanh", "mine")]
    options = SweepOptions(output=tmp_path / "search", data_dir=tmp_path, max_concurrent=3)
    writer, [data] = open_new("mine", {}, options, True, like, {"more": 1})
    writer.finish()
    assert data is opened.data
    opened.recorded(tmp_path / "search", SweepOptions().values())
    meta = json.loads((tmp_path / "search" / "sweep.json").read_text())
    opened.note(f"data: {shown({name: one for name, one in meta['dataset'].items() if name != 'checksums'})}")
    opened.note(f"code: {[(one['flag'], one['name']) for one in meta['code']]}")
    opened.note(f"command: {meta['command']}; trials: {meta['trials']}")
    opened.section("held out")
    for asked in (Search(), Search(holdout=5), Search(resume=tmp_path), Search(samples=3, quiet=True)):
        found = with_images_held_out(asked)
        opened.note(f"{found.holdout} {sorted(found.given)}")
    assert_kept("new sweeps", opened.text)


@pytest.mark.promise("A resume joins no cluster that the folder names")
def test_what_a_resume_notes_and_refuses(opened, tmp_path, monkeypatch):
    where = tmp_path / "sweep"
    writer, _ = open_new(
        "mine", {}, SweepOptions(output=where), True, [TrialConfig(architecture="mine", batch_size=48)]
    )
    writer.finish()
    monkeypatch.setattr(opening, "changed_versions", lambda meta: {})
    file, before = where / "sweep.json", json.loads((where / "sweep.json").read_text())

    def again(title, options=SweepOptions(), search=True, **changed):  # noqa: B008
        opened.section(title)
        old = before["options"] | changed.pop("asked", {})
        file.write_text(json.dumps(before | changed | {"options": old, "search": not changed.get("as_sweep")}))
        found = refused(opened, lambda: open_again(where, options, search))
        if found:
            found[1].finish()
            opened.recorded(where, before | old | {"output": None})

    there, elsewhere = (SweepOptions(address=address, lanes=2) for address in ("head:6379", "head:1"))
    again("as it was")
    again("a search is no sweep", search=False)
    again("a sweep is no search", as_sweep=True)
    here, evil = SweepOptions(), "evil:6379; rm"
    for address, options in ((None, there), (evil, here), ("head:6379", there), ("head:6379", elsewhere)):
        again(f"it ran on {address}, and goes on on {options.address}", options, asked={"address": address})
    again("quiet, on another machine", SweepOptions(quiet=True), asked={"address": "head:6379"})
    again("arrays are given again, by Python alone", asked={"dataset": "arrays"})
    again("other data", dataset=before["dataset"] | {"checksums": {"a": "b"}, "name": "those"})
    ENTRIES["architecture"].pop("mine")
    again("its network is unknown")
    assert_kept("resumed sweeps", opened.text)


def test_a_sweep_without_output_goes_to_a_folder_of_its_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trials = {"00000": TrialConfig(architecture="mlp-4-tanh")}
    writer, _ = open_new("mine", trials, SweepOptions(dataset="mnist-5k", quiet=True))
    writer.finish()
    assert writer.path.parent == tmp_path / "results" / "mine"


def test_each_network_and_optimizer_is_tried_once_in_a_process_of_its_own(monkeypatch):
    said, data = [], load_dataset(patterns((4, 3), 3))

    def check(trial, spec, images, labels):
        said.append(f"try {trial.optimizer} {trial.loss} {trial.seed} on {len(images)} images, {len(labels)} labels")
        if trial.optimizer == "picky":
            raise UserError("picky can't train")

    def remote(**how):
        said.append(f"a process with {how}")
        return lambda function: SimpleNamespace(remote=function)

    monkeypatch.setattr(network_check, "check", check)
    monkeypatch.setattr(ray, "remote", remote)
    monkeypatch.setattr(ray, "get", lambda found: found)
    monkeypatch.setenv("JAX_PLATFORMS", "")
    one = TrialConfig(architecture="mlp-4-tanh")
    check_networks([one, replace(one, seed=1), replace(one, loss="mse"), replace(one, schedule="cosine")], data)
    register_optimizer("picky")(lambda learning_rate: None)
    for order in (("picky", "sgd"), ("sgd", "picky")):
        with pytest.raises(UserError, match="picky can't train"):
            check_networks([replace(one, optimizer=name) for name in order], data)
    assert said == [
        "a process with {'num_cpus': 1, 'max_calls': 1}",
        "try sgd cross-entropy 1 on 8 images, 8 labels",
        "try sgd mse 0 on 8 images, 8 labels",
        "try sgd cross-entropy 0 on 8 images, 8 labels",
        "a process with {'num_cpus': 1, 'max_calls': 1}",
        "try picky cross-entropy 0 on 8 images, 8 labels",
        "a process with {'num_cpus': 1, 'max_calls': 1}",
        "try sgd cross-entropy 0 on 8 images, 8 labels",
        "try picky cross-entropy 0 on 8 images, 8 labels",
    ]
