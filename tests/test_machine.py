"""What this machine is."""

import os

from mnist_tune.machine import processor_model, usable_cpus


def test_usable_cpus_follow_the_affinity():
    assert usable_cpus() == len(os.sched_getaffinity(0))


def test_the_processor_names_its_vectors(monkeypatch, tmp_path):
    told = "processor\t: 0\nmodel name\t: Some CPU @ 2.60GHz\nflags\t\t: fpu avx avx2 avx512f\n"
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: told)
    assert processor_model() == "Some CPU @ 2.60GHz (AVX-512)"
    monkeypatch.setattr("pathlib.Path.read_text", lambda path: told.replace(" avx512f", ""))
    assert processor_model() == "Some CPU @ 2.60GHz (AVX2)"


def test_a_system_that_does_not_tell_its_processor(monkeypatch):
    def missing(path):
        raise FileNotFoundError

    monkeypatch.setattr("pathlib.Path.read_text", missing)
    assert processor_model()
