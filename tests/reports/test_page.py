"""The page's HTML, and what it holds."""

import base64
import csv
import gzip
import hashlib
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
from made_up_sweeps import decision, of_kind
from many_trials import many_trials

from mnist_tune import Sweep, UserError, load_sweep
from mnist_tune.reports.page import page
from mnist_tune.reports.view import MOST_CURVES

DONE, DIVERGED, CUT = ("completed",), ("diverged",), ("interrupted",)


def held_by(html):
    """What the page's script works on."""
    packed = re.search(r'<script type="text/plain" id="data">(.*?)</script>', html)[1]
    return json.loads(gzip.decompress(base64.b64decode(packed)))


def drawings(html):
    return [
        ElementTree.fromstring(one)
        for one in re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    ]


def numbered(drawing, kind, which="t"):
    """The numbers of a drawing's elements of a kind, such as marks."""
    groups = [
        one
        for one in drawing.iter("g")
        if f"{one.get('class', '')} ".startswith(f"{kind} ")
    ]
    return [
        one.get(f"data-{which}")
        for group in groups
        for one in group.iter()
        if one.get(f"data-{which}")
    ]


def table_rows(html):
    return ElementTree.fromstring(f"<tbody>{held_by(html)['rows']}</tbody>").findall(
        "tr"
    )


def row_texts(html):
    """The words of each row of the table."""
    return [
        " ".join("".join(cell.itertext()) for cell in row).split()
        for row in table_rows(html)
    ]


def best_of(html):
    return [row.get("class") for row in table_rows(html)].index("best")


@pytest.fixture(
    scope="module",
    params=["regimes", "edge", "search", "crossed", "own network", "decision"],
)
def any_page(request, new_writer, epoch_row, tmp_path_factory):
    """The page of a sweep of each kind."""
    kind, folder = request.param, tmp_path_factory.mktemp("kinds") / "one"
    of_kind("regimes" if kind == "decision" else kind, folder, new_writer, epoch_row)
    sweep = load_sweep(folder)
    if kind == "decision":
        settings = [
            {"architecture": "mlp-4-tanh", "learning_rate": one}
            for one in (0.1, 0.2, 0.4)
        ]
        sweep = decision(
            sweep,
            settings,
            lambda seed, one: (0.9, 0.95, 0.949)[one] + 0.001 * (seed % 3),
        )
    return page([sweep])


@pytest.mark.promise("The page's scripts and styles are its own, by a strict policy")
def test_a_page_runs_and_styles_nothing_but_its_own(any_page):
    """Its policy names what it holds by hashes; so no attribute may hold a style or a
    script."""
    html = any_page
    policy = re.search('Content-Security-Policy" content="(.*?)"', html)[1]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<[^>]*\s(style|on\w+)=", html)
    assert "url(" not in html.partition("</style>")[2]
    for name, kind in (("style", "style"), ("script", "script")):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", html, re.DOTALL)
        said = base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{said}'" in policy


def test_every_kind_of_sweep_has_a_sentence_two_pictures_and_a_row_a_setting(any_page):
    """Its colours are variables, so that the dark is dark: no name of one is left for a
    drawing to choose."""
    html = any_page
    assert re.search('<h1 class="answer[ a-z]*">[^<]+', html)
    shown = [one for one in re.findall("<figure[^>]*>", html) if " hidden" not in one]
    assert len(shown) == 2
    assert len(table_rows(html)) >= 3
    colours = {
        one.get(of, "none")
        for drawing in drawings(html)
        for one in drawing.iter()
        for of in ("fill", "stroke")
    }
    assert all(one == "none" or one.startswith("var(") for one in colours)


def test_marks_and_curves_know_their_trials(sweep):
    """One trial diverged to NaN, one has no epoch: what is not drawn shifts no
    number."""
    html = page([sweep(DONE, DIVERGED, DIVERGED, CUT)])
    marks, curves = (drawings(html)[i] for i in (0, 8))
    assert sorted(numbered(marks, "mark")) == ["0", "1", "2"]
    assert sorted(numbered(curves, "line")) == ["0", "1", "2"]
    assert held_by(html)["of"] == [0, 1, 2, 3]
    assert numbered(marks, "ring", "s") == [str(best_of(html))]
    in_the_strip = ",".join(numbered(marks, "seg", "s")).split(",")
    assert {*in_the_strip} == {"0", "1", "2"}


@pytest.mark.parametrize("count", [0, 2])
def test_a_sweep_without_any_epoch_or_trial_has_a_page_and_a_picture(
    new_writer, tmp_path, count
):
    sweep = Sweep.of(new_writer(tmp_path / "sweep", count=count).finish(ended=None))
    html = sweep.report().read_text()
    assert "No trial has finished an epoch" in html
    assert len(held_by(html)["ids"]) == count
    assert [text.get_text() for text in sweep.plot().texts] == [
        "No trial has finished an epoch"
    ]


@pytest.mark.promise("The same results give the same bytes")
def test_an_ended_sweep_has_the_same_bytes_again_and_a_running_one_says_how_far_it_is(
    made_up_sweep, monkeypatch
):
    """And while it runs, one measure is drawn."""
    sweep = made_up_sweep([0.01, 0.1, 1])
    trials = sweep.trials.assign(
        stop_reason=["completed", "running", "waiting"], epochs_run=[4, 2, 0]
    )
    ended = page([sweep])
    monkeypatch.setattr("mnist_tune.reports.page.time.time", lambda: 1234.5)
    html = page([replace(sweep, trials=trials, meta=sweep.meta | {"ended": None})])
    assert "1 of 3 trials ended, 1 running, 1 waiting" in html
    assert '<progress max="12" value="6">' in html
    assert held_by(html)["written"] == 1_234_500
    assert row_texts(html)[2][0] == "1"
    assert "undecided" not in row_texts(html)[2], "it has not begun"
    done = held_by(ended)
    assert (done["running"], done["written"]) == (False, 0)
    assert len(drawings(ended)) == 3 * len(drawings(html))
    assert page([sweep]) == ended


def test_seeds_are_counted_and_a_setting_of_them_has_one_row(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=3)
    sweep.trials.loc[2, "regime"] = "oscillating"
    html = page([sweep])
    assert [
        numbered(drawings(html)[0], f"mean {of}", "s")
        for of in ("converged", "oscillating")
    ] == [["0", "1"], []]
    first, second = row_texts(html)
    assert first[:4] == ["0.1", "2", "of", "3"]
    assert second[:5] == ["1", "3", "of", "3", "converged"]


def test_crossed_settings_have_a_line_each_and_the_sentence_says_which_is_best(
    made_up_sweep,
):
    html = page(
        [made_up_sweep([0.01, 0.1, 1], architectures=("mlp-4-tanh", "mlp-8-relu"))]
    )
    names = [one.text for one in drawings(html)[0].iter("text")]
    assert {"mlp-4-tanh", "mlp-8-relu"} <= set(names)
    assert "Train with mlp-4-tanh, learning rate" in html
    assert [row[:2] for row in row_texts(html)] == [
        [name, rate]
        for name in ("mlp-4-tanh", "mlp-8-relu")
        for rate in ("0.01", "0.1", "1")
    ]


def test_a_decision_shows_its_gaps_first_and_who_left_when(made_up_sweep):
    settings = [
        {"architecture": "mlp-4-tanh", "learning_rate": one} for one in (0.1, 0.2)
    ]
    html = page(
        [
            decision(
                made_up_sweep([0.1]),
                settings,
                lambda seed, one: (0.9, 0.95)[one] + 0.001 * (seed % 3),
            )
        ]
    )
    assert "accuracy below the best" in "".join(drawings(html)[0].itertext())
    first, second = row_texts(html)
    assert first[:3] == ["0.2", "–", "best"]
    assert "worse" in second


def test_a_name_with_a_colon_is_in_one_piece(made_up_sweep):
    sweep = made_up_sweep([0.1], label="net: a")
    contest = decision(
        sweep, [{"label": one} for one in ("a: b", "c")], lambda seed, one: 0.9 - one
    )
    firsts = [
        re.search('class="answer.*?>(.*?) <small>', page([one]))[1]
        for one in (sweep, contest)
    ]
    assert firsts == [
        "Train with net: a, learning rate 0.1",
        "Train with a: b, learning rate 0.1",
    ]


def test_an_edge_says_where_it_was_expected_and_how_many_learned(edge_sweep):
    html = page([edge_sweep])
    said = "".join(drawings(html)[0].itertext())
    for one in ("expected at 1.6", "share of seeds that learn"):
        assert one in said
    assert numbered(drawings(html)[0], "mark")
    assert "of" in row_texts(html)[0]


def test_at_most_so_many_curves_are_drawn_and_rows_beyond_sixty_are_folded():
    html = page([many_trials(320, 3)])
    curves = [one for one in drawings(html) if one.get("data-axes")]
    assert curves
    assert all(len(numbered(one, "line")) <= MOST_CURVES for one in curves)
    assert held_by(html)["shown"] == 60
    assert len(table_rows(html)) > 100
    assert len(held_by(html)["curves"]["test_accuracy"]) == 320


def test_of_crowded_rates_those_about_the_best_have_a_drawing_of_their_own(
    made_up_sweep,
):
    rates = np.geomspace(0.001, 3, 60)
    html = page([made_up_sweep(rates)])
    assert 'data-choice="rates near the best"' in html
    near = re.search(
        'data-choice="rates near the best".*?(<svg .*?</svg>)', html, re.DOTALL
    )[1]
    shown = {int(one) for one in numbered(ElementTree.fromstring(near), "mark")}
    assert best_of(html) in shown
    assert len(shown) < 30


def test_several_sweeps_have_a_sentence_and_a_picture_each_and_one_table(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    html = page([sweep, replace(sweep, path=sweep.path.with_name("other"))])
    assert html.count('<h2 class="answer') == 2
    assert "<h1>sweep · other</h1>" in html
    assert [row[0] for row in row_texts(html)] == ["sweep", "sweep", "other", "other"]
    assert [row.get("data-sweep") for row in table_rows(html)] == ["0", "0", "1", "1"]


def test_numbers_that_json_lacks_are_held_too(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    trials = sweep.trials.assign(
        train_loss=[np.inf, np.nan], test_loss=[-np.inf, 0.1 + 0.2]
    )
    found = [*csv.DictReader(held_by(page([replace(sweep, trials=trials)]))["csv"])]
    assert [row["train_loss"] for row in found] == ["inf", ""]
    assert [row["test_loss"] for row in found] == ["-inf", str(0.1 + 0.2)]


def test_a_page_that_cannot_be_written(new_writer, tmp_path):
    sweep = Sweep.of(new_writer(tmp_path / "sweep").finish(ended=None))
    with pytest.raises(
        UserError,
        match=r"can't write the page .*/nowhere/x.html: No such file.*; name another file",
    ):
        sweep.report(tmp_path / "nowhere" / "x.html")
