"""The page's HTML, and what it holds."""

import base64
import csv
import gzip
import hashlib
import json
import re
from dataclasses import replace
from itertools import product
from xml.etree import ElementTree

import numpy as np
import pytest
from changed_sweeps import with_meta, with_trials
from made_up_decisions import clearly_apart, mlp_settings, same_for_all_seeds
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
    svgs = re.findall(r"<svg .*?</svg>", html, re.DOTALL)
    return [ElementTree.fromstring(svg) for svg in svgs]


def words_in(drawing):
    return "".join(drawing.itertext())


def numbered(drawing, kind, which="t"):
    """The numbers of a drawing's elements of a kind, such as marks."""
    numbers = []
    for group in drawing.iter("g"):
        classes = group.get("class", "")
        if f"{classes} ".startswith(f"{kind} "):
            numbers += [element.get(f"data-{which}") for element in group.iter()]
    return [number for number in numbers if number]


def table_rows(html):
    rows = held_by(html)["rows"]
    return ElementTree.fromstring(f"<tbody>{rows}</tbody>").findall("tr")


def row_texts(html):
    """The words of each row of the table."""
    texts = []
    for row in table_rows(html):
        cells = [words_in(cell) for cell in row]
        texts.append(" ".join(cells).split())
    return texts


def best_of(html):
    return [row.get("class") for row in table_rows(html)].index("best")


@pytest.fixture(
    scope="module",
    params=["regimes", "edge", "search", "crossed", "own network", "decision"],
)
def any_page(request, new_writer, epoch_row, tmp_path_factory):
    """The page of a sweep of each kind."""
    kind = request.param
    folder = tmp_path_factory.mktemp("kinds") / "one"
    stored_kind = "regimes" if kind == "decision" else kind
    of_kind(stored_kind, folder, new_writer, epoch_row)
    sweep = load_sweep(folder)
    if kind == "decision":
        scores = clearly_apart(0.9, 0.95, 0.949)
        sweep = decision(sweep, mlp_settings(0.1, 0.2, 0.4), scores)
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
    for name in ("style", "script"):
        (text,) = re.findall(f"<{name}>(.*?)</{name}>", html, re.DOTALL)
        digest = hashlib.sha256(text.encode()).digest()
        checksum = base64.b64encode(digest).decode()
        assert f"{name}-src 'sha256-{checksum}'" in policy


def test_every_kind_of_sweep_has_a_sentence_two_pictures_and_a_row_a_setting(any_page):
    """Its colours are variables, so that the dark is dark: no name of one is left for a
    drawing to choose."""
    html = any_page
    assert re.search('<h1 class="answer[ a-z]*">[^<]+', html)
    figures = re.findall("<figure[^>]*>", html)
    shown = [figure for figure in figures if " hidden" not in figure]
    assert len(shown) == 2
    assert len(table_rows(html)) >= 3
    for drawing in drawings(html):
        for element in drawing.iter():
            for use in ("fill", "stroke"):
                colour = element.get(use, "none")
                assert colour == "none" or colour.startswith("var(")


def test_marks_and_curves_know_their_trials(sweep):
    """One trial diverged to NaN, one has no epoch: what is not drawn shifts no
    number."""
    html = page([sweep(DONE, DIVERGED, DIVERGED, CUT)])
    all_drawings = drawings(html)
    marks = all_drawings[0]
    curves = all_drawings[8]
    assert sorted(numbered(marks, "mark")) == ["0", "1", "2"]
    assert sorted(numbered(curves, "line")) == ["0", "1", "2"]
    assert held_by(html)["of"] == [0, 1, 2, 3]
    assert numbered(marks, "ring", "s") == [str(best_of(html))]
    in_the_strip = ",".join(numbered(marks, "seg", "s"))
    assert {*in_the_strip.split(",")} == {"0", "1", "2"}


@pytest.mark.parametrize("count", [0, 2])
def test_a_sweep_without_any_epoch_or_trial_has_a_page_and_a_picture(
    new_writer, tmp_path, count
):
    writer = new_writer(tmp_path / "sweep", count=count)
    sweep = Sweep.of(writer.finish(ended=None))
    html = sweep.report().read_text()
    untrained = "No trial has finished an epoch"
    assert untrained in html
    assert len(held_by(html)["ids"]) == count
    [text] = sweep.plot().texts
    assert text.get_text() == untrained


@pytest.mark.promise("The same results give the same bytes")
def test_an_ended_sweep_has_the_same_bytes_again_and_a_running_one_says_how_far_it_is(
    made_up_sweep, monkeypatch
):
    """And while it runs, one measure is drawn."""
    sweep = made_up_sweep([0.01, 0.1, 1])
    ended = page([sweep])
    monkeypatch.setattr("mnist_tune.reports.page.time.time", lambda: 1234.5)
    reasons = ["completed", "running", "waiting"]
    running = with_trials(sweep, stop_reason=reasons, epochs_run=[4, 2, 0])
    html = page([with_meta(running, ended=None)])
    assert "1 of 3 trials ended, 1 running, 1 waiting" in html
    assert '<progress max="12" value="6">' in html
    assert held_by(html)["written"] == 1_234_500
    last_row = row_texts(html)[2]
    assert last_row[0] == "1"
    assert "undecided" not in last_row, "it has not begun"
    assert held_by(ended)["running"] is False
    assert held_by(ended)["written"] == 0
    assert len(drawings(ended)) == 3 * len(drawings(html))
    assert page([sweep]) == ended


def test_seeds_are_counted_and_a_setting_of_them_has_one_row(made_up_sweep):
    sweep = made_up_sweep([0.1, 1], seeds=3)
    sweep.trials.loc[2, "regime"] = "oscillating"
    html = page([sweep])
    drawing = drawings(html)[0]
    assert numbered(drawing, "mean converged", "s") == ["0", "1"]
    assert numbered(drawing, "mean oscillating", "s") == []
    first, second = row_texts(html)
    assert first[:4] == ["0.1", "2", "of", "3"]
    assert second[:5] == ["1", "3", "of", "3", "converged"]


def test_crossed_settings_have_a_line_each_and_the_sentence_says_which_is_best(
    made_up_sweep,
):
    networks = ("mlp-4-tanh", "mlp-8-relu")
    html = page([made_up_sweep([0.01, 0.1, 1], architectures=networks)])
    words = {element.text for element in drawings(html)[0].iter("text")}
    assert words >= set(networks)
    assert "Train with mlp-4-tanh, learning rate" in html
    settings = [tuple(row[:2]) for row in row_texts(html)]
    assert settings == list(product(networks, ("0.01", "0.1", "1")))


def test_a_decision_shows_its_gaps_first_and_who_left_when(made_up_sweep):
    base = made_up_sweep([0.1])
    scores = clearly_apart(0.9, 0.95)
    html = page([decision(base, mlp_settings(0.1, 0.2), scores)])
    assert "accuracy below the best" in words_in(drawings(html)[0])
    first, second = row_texts(html)
    assert first[:3] == ["0.2", "–", "best"]
    assert "worse" in second


def test_a_name_with_a_colon_is_in_one_piece(made_up_sweep):
    sweep = made_up_sweep([0.1], label="net: a")
    settings = [{"label": "a: b"}, {"label": "c"}]
    contest = decision(sweep, settings, same_for_all_seeds(0.9, -0.1))

    def first_sentence(shown_sweep):
        return re.search('class="answer.*?>(.*?) <small>', page([shown_sweep]))[1]

    assert first_sentence(sweep) == "Train with net: a, learning rate 0.1"
    assert first_sentence(contest) == "Train with a: b, learning rate 0.1"


def test_an_edge_says_where_it_was_expected_and_how_many_learned(edge_sweep):
    html = page([edge_sweep])
    drawing = drawings(html)[0]
    assert "expected at 1.6" in words_in(drawing)
    assert "share of seeds that learn" in words_in(drawing)
    assert numbered(drawing, "mark")
    assert "of" in row_texts(html)[0]


def test_at_most_so_many_curves_are_drawn_and_rows_beyond_sixty_are_folded():
    html = page([many_trials(320, 3)])
    charts = [drawing for drawing in drawings(html) if drawing.get("data-axes")]
    assert charts
    for chart in charts:
        assert len(numbered(chart, "line")) <= MOST_CURVES
    assert held_by(html)["shown"] == 60
    assert len(table_rows(html)) > 100
    assert len(held_by(html)["curves"]["test_accuracy"]) == 320


def test_of_crowded_rates_those_about_the_best_have_a_drawing_of_their_own(
    made_up_sweep,
):
    rates = np.geomspace(0.001, 3, 60)
    html = page([made_up_sweep(rates)])
    assert 'data-choice="rates near the best"' in html
    pattern = 'data-choice="rates near the best".*?(<svg .*?</svg>)'
    near = ElementTree.fromstring(re.search(pattern, html, re.DOTALL)[1])
    shown = {int(number) for number in numbered(near, "mark")}
    assert best_of(html) in shown
    assert len(shown) < 30


def test_several_sweeps_have_a_sentence_and_a_picture_each_and_one_table(made_up_sweep):
    sweep = made_up_sweep([0.1, 1])
    other = replace(sweep, path=sweep.path.with_name("other"))
    html = page([sweep, other])
    assert html.count('<h2 class="answer') == 2
    assert "<h1>sweep · other</h1>" in html
    titles = [row[0] for row in row_texts(html)]
    assert titles == ["sweep", "sweep", "other", "other"]
    numbers = [row.get("data-sweep") for row in table_rows(html)]
    assert numbers == ["0", "0", "1", "1"]


def test_numbers_that_json_lacks_are_held_too(made_up_sweep):
    sweep = with_trials(
        made_up_sweep([0.1, 1]),
        train_loss=[np.inf, np.nan],
        test_loss=[-np.inf, 0.1 + 0.2],
    )
    first, second = csv.DictReader(held_by(page([sweep]))["csv"])
    assert first["train_loss"] == "inf"
    assert first["test_loss"] == "-inf"
    assert second["train_loss"] == ""
    assert second["test_loss"] == str(0.1 + 0.2)


def test_a_page_that_cannot_be_written(new_writer, tmp_path):
    sweep = Sweep.of(new_writer(tmp_path / "sweep").finish(ended=None))
    path = tmp_path / "nowhere" / "x.html"
    message = "can't write the page .*/nowhere/x.html: No such file.*; name another"
    with pytest.raises(UserError, match=f"{message} file"):
        sweep.report(path)
