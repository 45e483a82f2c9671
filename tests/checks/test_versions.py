"""`checks/versions.py`: which releases it asks for."""

import pytest

from checks.versions import LOWEST, NEWEST, Pair, main, release
from mnist_tune import UserError


@pytest.mark.parametrize(
    ("requirement", "version", "asked"),
    [
        ("ray[tune]>=2.50,<3", LOWEST, "ray[tune]==2.50.0"),
        ("ray[tune]>=2.50,<3", NEWEST, "ray[tune]"),
        ("ray[default]>=2.50,<3", "2.55.1", "ray[default]==2.55.1"),
        ("jaxlib>=0.8", LOWEST, "jaxlib==0.8.0"),
    ],
)
def test_a_release_is_the_lowest_of_the_bound_the_newest_or_that_named(
    requirement, version, asked
):
    assert release(requirement, version) == asked


def test_ray_and_jax_are_of_the_pair_and_all_else_is_as_in_the_project():
    requirements = Pair("2.55.1", LOWEST).requirements(with_tests=True)
    assert "ray[tune]==2.55.1" in requirements
    assert "ray[default]==2.55.1" in requirements
    assert "jax==0.8.0" in requirements
    assert "jaxlib==0.8.0" in requirements
    assert any(requirement.startswith("optuna>=") for requirement in requirements)
    assert not any("mnist_tune" in requirement for requirement in requirements)
    without_tests = Pair("2.55.1", LOWEST).requirements(with_tests=False)
    assert not any("pytest" in requirement for requirement in without_tests)


def test_a_check_that_does_not_exist_is_a_line(monkeypatch):
    monkeypatch.setattr("sys.argv", ["versions.py", "--only", "sweeps"])
    with pytest.raises(UserError, match="there is no check 'sweeps'; known are sweep,"):
        main()
