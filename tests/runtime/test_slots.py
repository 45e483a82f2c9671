"""How many trials a cluster holds."""

import pytest
import ray

from mnist_tune.runtime.slots import trial_slots


def node(alive=True, **resources):
    return {"Alive": alive, "Resources": resources}


@pytest.mark.parametrize(
    ("resources", "slots"),
    [
        ({"CPU": 1}, 13),
        ({"CPU": 2}, 6),  # a trial has its cores on one node
        ({"CPU": 0.25}, 52),
        ({"CPU": 1, "GPU": 0.3333}, 6),
        ({"CPU": 1, "GPU": 0.1}, 8),
        ({"CPU": 4, "GPU": 1}, 2),
        ({"CPU": 1, "trial_slot": 1}, 2),
        ({"CPU": 0.1}, 130),
        ({"CPU": 9}, 1),  # Ray waits for a node that holds it
    ],
)
def test_a_slot_is_the_room_for_a_trial_on_one_node(monkeypatch, resources, slots):
    nodes = [node(CPU=8.0, GPU=2.0, trial_slot=2.0), node(CPU=3.0), node(CPU=2.0), node(alive=False, CPU=64.0), node()]
    monkeypatch.setattr(ray, "nodes", lambda: nodes)
    assert trial_slots(resources) == slots
