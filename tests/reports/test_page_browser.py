"""The page in a browser: headless Chromium, driven by Playwright. Without Chromium these tests are skipped."""

import csv
import io
import shutil
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from many_trials import many_trials

from mnist_tune import TrialConfig
from mnist_tune.reports import page_figures
from mnist_tune.reports.page import RELOAD_S, write_page
from mnist_tune.reports.page_figures import HEAD_HEIGHT, ROW_HEIGHT

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium"),
    pytest.mark.xdist_group("browser"),
]

WIDE, PHONE = {"width": 1400, "height": 900}, {"width": 400, "height": 800}


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield started
        started.close()


def model(name):
    return f"Bokeh.documents.at(-1).get_model_by_name('{name}')"


class Tab:
    """A tab that shows a page, and what it complained of or asked the network for."""

    def __init__(self, browser, path, clock=False, **options):
        self.context = browser.new_context(**({"viewport": WIDE, "accept_downloads": True} | options))
        self.page = self.context.new_page()
        self.page.set_default_timeout(120_000)  # the machine may be busy: Playwright would give up after 30 s
        self.meter = self.context.new_cdp_session(self.page)
        self.meter.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.wrong = []
        self.page.on("console", lambda said: self.note(said.type in ("error", "warning"), said.text))
        self.page.on("pageerror", lambda error: self.note(True, str(error)))
        self.page.on("dialog", lambda dialog: self.note(True, f"dialog {dialog.message}"))
        own = ("file:", "data:", "blob:")
        self.page.on("request", lambda asked: self.note(not asked.url.startswith(own), asked.url))
        if clock:
            self.page.clock.install()
        self.page.goto(f"file://{path}")
        self.wait()

    def note(self, wrong, what):
        self.wrong += [what] * wrong

    def wait(self):
        self.page.wait_for_function("window.page && page.ready")

    def js(self, code):
        return self.page.evaluate(code)

    def source(self, name, column):
        return self.js(f"Array.from({model(name)}.data['{column}'])")

    def shown(self, plot):
        """How many trials a plot shows."""
        return self.js(
            f"(() => {{ const view = {model(plot)}.renderers[0].view.filter, trials = {model('trials')};"
            " return view.compute_indices(trials).count; })()"
        )

    def state(self, what):
        return self.js(f"page.state.{what} instanceof Set ? [...page.state.{what}] : page.state.{what}")

    def at(self, plot, x, y):
        """Where a point of a plot is on the screen, in pixels; x and y are places on its axes."""
        return self.js(
            f"""(() => {{
              const view = Bokeh.index.find_one_by_id({model(plot)}.id);
              const box = view.canvas_view.events_el.getBoundingClientRect();
              const frame = view.frame;
              return [box.left + frame.x_scale.compute({x}), box.top + frame.y_scale.compute({y})];
            }})()"""
        )

    def show(self, what):
        """Scroll to an element, and wait until it stays where it is."""
        self.page.locator(what).scroll_into_view_if_needed()
        box = f"JSON.stringify(document.querySelector('{what}').getBoundingClientRect())"
        before = None
        while before != (before := self.js(box)):
            self.page.wait_for_timeout(100)

    def drag(self, plot, first, last, steps=6):
        """Drag over a plot, from one place to another; return how long the page computed for a move, in seconds: the
        least, since what else runs on the machine slows others."""
        from playwright.sync_api import TimeoutError as NotInTime

        for _ in range(3):  # a drag that begins while a busy page is still being drawn is lost: a user drags again
            took = self._drag(plot, first, last, steps)
            with suppress(NotInTime):
                self.page.wait_for_function("page.state.brush", timeout=30_000)  # on a busy machine late
                self.page.wait_for_timeout(500)  # the last selection, where an earlier one was taken up during the drag
                return took
        raise AssertionError("no drag was taken up")

    def _drag(self, plot, first, last, steps):
        self.show(f"#{plot}")
        (x0, y0), (x1, y1) = self.at(plot, *first), self.at(plot, *last)
        self.page.mouse.move(x0, y0)
        self.page.mouse.down()
        times = []
        for i in range(1, steps + 1):
            before = self.computed_s()
            self.page.mouse.move(x0 + (x1 - x0) * i / steps, y0 + (y1 - y0) * i / steps)
            self.js("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            times.append(self.computed_s() - before)
        self.page.mouse.up()
        return min(times[steps // 2 :])  # when half of the trials are selected

    def computed_s(self):
        """CPU seconds of the page's main thread so far; those of the clock depend on what else runs on the machine."""
        metrics = self.meter.send("Performance.getMetrics")["metrics"]
        return next(one["value"] for one in metrics if one["name"] == "TaskDuration")

    def axe(self):
        from axe_playwright_python.sync_playwright import Axe

        self.page.wait_for_selector("#table .slick-row")  # on a busy machine the table is drawn last
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in found if one["impact"] in ("serious", "critical")
        ]


@pytest.fixture(scope="module")
def small(tmp_path_factory, new_writer, epoch_row):
    """A sweep of 16 rates and two batch sizes, some of which diverge to NaN and infinity."""
    writer = new_writer(tmp_path_factory.mktemp("small") / "sweep")
    rates = np.geomspace(0.001, 4, 8)
    trials = [TrialConfig(learning_rate=float(rate), batch_size=size, epochs=4) for rate in rates for size in (32, 128)]
    writer.meta["trials"] = {f"{i:05d}": trial.to_dict() for i, trial in enumerate(trials)}
    for i, trial in enumerate(trials):
        lost = trial.learning_rate > 2
        for epoch in range(1, 2 if lost else 5):
            accuracy = 0.1 if lost else 0.98 - 0.8 * float(np.exp(-10 * epoch * trial.learning_rate)) - i / 1e4
            loss = (np.nan, np.inf)[i % 2] if lost else 1.02 - accuracy
            values = {"diverged": lost, "finite": not lost, "above_since": 1 if lost else None}
            writer.epoch(f"{i:05d}", epoch_row(epoch, loss, accuracy, **values), False)
        writer.end(f"{i:05d}", "diverged" if lost else "completed")
    return writer.finish(ended="now")


@pytest.fixture(scope="module")
def small_page(small, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page([small], path)
    return path


@pytest.fixture(scope="module")
def opened(browser, small_page):
    found = Tab(browser, small_page)
    yield found
    found.context.close()


@pytest.fixture
def tab(opened):
    """The page of the small sweep as it is when it was just opened."""
    yield opened
    opened.page.select_option("#metric", index=0)
    if opened.page.is_visible("#clear"):
        opened.page.click("#clear")
    opened.js("scrollTo(0, 0)")
    assert opened.wrong == []


def test_a_chip_filters_everything(tab, small):
    diverged = int((small.trials["regime"] == "diverged").sum())
    assert diverged
    tab.page.click("[data-regime=diverged]")
    tab.page.wait_for_timeout(200)
    shown = tab.shown("map-0")
    assert shown == len(small.trials) - diverged
    assert f"{shown} of {len(small.trials)} trials" in tab.page.inner_text("#found")
    assert "diverged" not in tab.source("curves-0-lines", "regime")
    tab.page.click("[data-regime=diverged]")
    assert "diverged" in tab.source("curves-0-lines", "regime")


def test_a_brush_on_the_map_changes_curves_slices_and_table(tab, small):
    xs, ys = tab.source("trials", "learning_rate"), tab.source("trials", "y")
    expected = sorted(i for i, x in enumerate(xs) if 0.06 <= x <= 1)
    assert 2 <= len(expected) < len(xs) - 2
    tab.drag("map-0", (0.06, 0.95 * min(ys)), (1, 1.05 * max(ys)))
    assert sorted(tab.state("brush")) == expected
    assert f"{len(expected)} of 16 trials are selected" in tab.page.inner_text("#chosen")
    assert f"16 of 16 trials, {len(expected)} of them selected" in tab.page.inner_text("#map-0-said")
    assert f"{len(expected)} of 16 trials" in tab.page.inner_text("#found")
    slices = tab.js(f"{model('setting-batch_size')}.renderers[0].data_source.selected.indices")
    assert sorted(slices) == expected
    strong = [alpha > 0.5 for alpha in tab.source("curves-0-lines", "alpha")]
    assert sum(strong) == len(expected)
    tab.page.keyboard.press("Escape")
    assert tab.state("brush") is None
    assert "16 of 16 trials" in tab.page.inner_text("#found")


def test_a_click_shows_a_trials_evidence_and_arrows_go_on_from_it(tab, small):
    rates = small.trials.sort_values(["learning_rate", "trial_id"])["learning_rate"].tolist()
    x, y = tab.source("trials", "learning_rate")[3], tab.source("trials", "y")[3]
    tab.show("#map-0")
    tab.page.mouse.click(*tab.at("map-0", x, y))
    tab.page.wait_for_timeout(100)
    row = small.trials.set_index("trial_id").loc[tab.source("trials", "trial")[tab.state("focus")]]
    assert row["learning_rate"] == x
    assert tab.page.inner_text("#trial .evidence") == row["regime_evidence"]
    waited = tab.page.locator("#trial dt", has_text="waited for, in s")
    assert waited.get_attribute("title") == "Time spent waiting, over all epochs."
    tab.page.keyboard.press("Escape")
    assert tab.page.is_hidden("#trial")
    seen = []
    for _ in rates:
        tab.page.keyboard.press("ArrowRight")
        seen += tab.source("focus", "learning_rate")
    assert seen == rates
    tab.page.keyboard.press("ArrowUp")
    assert tab.state("focus") == 14


def test_the_table_sorts_and_finds(tab, small):
    def column(number):
        cells = tab.page.locator(f"#table .slick-row .slick-cell.l{number}")
        return [cells.nth(i).inner_text() for i in range(cells.count())]

    titles = tab.page.locator("#table .slick-header-column").all_inner_texts()
    rate = titles.index("rate")
    tab.page.locator("#table .slick-header-column").nth(rate).click()
    tab.page.wait_for_timeout(200)
    shown = [float(text) for text in column(rate)]
    assert len(shown) == 16
    assert shown == sorted(shown)
    tab.page.fill("#find", "diverged 128")
    tab.page.wait_for_timeout(400)
    assert set(column(titles.index("regime"))) == {"diverged"}
    assert set(column(titles.index("batch size"))) == {"128"}
    found = len(column(rate))
    assert 1 <= found < 16
    assert tab.js(f"{model('table')}.height") == HEAD_HEIGHT + found * ROW_HEIGHT
    assert "Scroll sideways" not in tab.page.inner_text("#found")


def test_the_other_metrics(tab, small):
    tab.page.select_option("#metric", "train_loss")
    tab.page.wait_for_timeout(200)
    (top,) = tab.source("top", "y")
    lost = small.trials.set_index("trial_id")["train_loss"]
    for trial, y, said in zip(*(tab.source("trials", name) for name in ("trial", "y", "said")), strict=True):
        value = lost[trial]
        if np.isfinite(value):
            assert y == value
            assert float(said.removeprefix("training loss ")) == pytest.approx(value, rel=1e-3)
        else:
            assert y == top
            assert said == f"training loss {'–' if np.isnan(value) else 'infinite'}"
    assert top < tab.js(f"{model('y')}.end")
    tab.page.select_option("#metric", "train_error")
    tab.page.wait_for_timeout(100)
    assert tab.source("top", "y") == []
    ends = {
        trial: ys[-1]
        for trial, ys in zip(tab.source("curves-0-lines", "trial"), tab.source("curves-0-lines", "ys"), strict=True)
    }
    for row in small.trials.itertuples():
        assert ends[row.trial_id] == pytest.approx(1 - row.train_accuracy, rel=2e-4)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(tab, scheme):
    tab.page.emulate_media(color_scheme=scheme)
    tab.page.keyboard.press("ArrowRight")  # with a trial's details open
    assert tab.axe() == []
    tab.page.emulate_media(color_scheme="light")


def room_for_names(tab):
    """Pixels between the ends of the curves and the right edge of their plot."""
    return tab.js(
        f"(() => {{ const view = Bokeh.index.find_one_by_id({model('curves-0')}.id), frame = view.frame;"
        f" const xs = Array.from({model('curves-0-ends')}.data.x);"
        " return frame.bbox.right - frame.x_scale.compute(Math.max(...xs)); })()"
    )


def test_names_of_curves_are_not_cut(tab):
    assert room_for_names(tab) > 40  # five digits of 11 pixels, and their distance


def test_a_phone_and_print(browser, small_page):
    tab = Tab(browser, small_page, viewport=PHONE, has_touch=True)
    assert room_for_names(tab) > 40
    assert tab.js("document.scrollingElement.scrollWidth") <= PHONE["width"]
    assert tab.js(f"{model('map-0')}.toolbar.active_drag") is None
    assert "Scroll sideways to see all columns." in tab.page.inner_text("#found")
    tab.page.emulate_media(media="print")
    assert tab.page.is_visible(".printed")
    assert tab.page.is_hidden("#table")
    assert tab.page.locator(".printed tbody tr").count() == 16
    assert tab.wrong == []
    tab.context.close()


HOSTILE = (
    "<img src=x onerror=alert(1)>",
    "</script><script>alert(2)</script>",
    "$$\\alpha$$",
    "=1+1",
    "a\u202eb\u2028c",
)


def test_hostile_names_are_text_and_a_page_whose_losses_are_all_nan_lives_on(browser, small, tmp_path):
    names = [HOSTILE[i % len(HOSTILE)] for i in range(16)]
    lost = {"train_loss": np.nan, "test_loss": np.nan}
    trials = small.trials.assign(architecture=names, label=names, regime_evidence=names, error=names, node=names)
    meta = small.meta | {
        "command": [HOSTILE[1]],
        "dataset": small.meta["dataset"] | {"name": HOSTILE[0], "note": HOSTILE[1]},
    }
    path = tmp_path / "report.html"
    epochs = small.epochs.assign(**lost)
    write_page([replace(small, trials=trials.assign(**lost), epochs=epochs, meta=meta)], path)
    assert "\u202e" not in path.read_text()
    tab = Tab(browser, path)
    tab.page.keyboard.press("ArrowRight")
    tab.page.hover("#map-0")
    tab.page.wait_for_timeout(300)
    assert tab.page.locator("img").count() == 0
    cells = set(tab.page.locator("#table .slick-cell").all_inner_texts())
    assert set(HOSTILE[:4]) <= cells
    with tab.page.expect_download() as download:
        tab.page.click("#download")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(), newline="")))
    assert len(rows) == 16
    assert {row["label"] for row in rows} >= {"'=1+1", HOSTILE[0], HOSTILE[2]}
    for key in tab.page.locator("#metric option").evaluate_all("all => all.map(one => one.value)"):
        tab.page.select_option("#metric", key)
        tab.page.keyboard.press("ArrowRight")
        assert tab.page.is_visible("#trial")
    tab.page.reload()
    tab.wait()
    assert tab.wrong == []
    tab.context.close()


def test_the_download_holds_the_tables_numbers(tab, small):
    with tab.page.expect_download() as download:
        tab.page.click("#download")
    rows = list(csv.DictReader(io.StringIO(download.value.path().read_text(), newline="")))
    trials = small.trials.set_index("trial_id")
    assert len(rows) == 16
    for row in rows:
        trial = trials.loc[row["trial"]]
        assert float(row["test_accuracy"]) == trial["test_accuracy"]
        assert row["train_loss"] == ("" if np.isnan(trial["train_loss"]) else row["train_loss"])
        assert float(row["train_loss"] or "nan") == pytest.approx(trial["train_loss"], rel=0, nan_ok=True)


def test_a_running_page_follows_the_sweep_and_keeps_what_was_chosen(browser, small, tmp_path, monkeypatch):
    """It has more trials than are redrawn during a drag, so they are selected when the drag ends."""
    monkeypatch.setattr(page_figures, "MOST_FOLLOWED", 10)
    path = tmp_path / "report.html"
    trials = small.trials.copy()
    trials.loc[trials["stop_reason"] == "diverged", "stop_reason"] = "running"
    write_page([replace(small, trials=trials.iloc[1:])], path)
    tab = Tab(browser, path, clock=True)
    running = int((trials["stop_reason"] == "running").sum())
    assert f"{15 - running} of 15 trials ended, {running} running" in tab.page.inner_text("main")
    tab.page.click("[data-regime=slow]")
    tab.page.select_option("#metric", "test_loss")
    tab.js("document.querySelector('#find').value = ''")
    tab.page.keyboard.press("ArrowRight")
    tab.show("#map-0")
    box = tab.page.locator("#map-0").bounding_box()
    places = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in ((0.3, 0.2), (0.9, 0.86))]
    tab.page.mouse.move(*places[0])
    tab.page.mouse.down()
    for part in np.linspace(0.1, 1, 10):
        tab.page.mouse.move(*(first + part * (last - first) for first, last in zip(*places, strict=True)))
        tab.page.clock.run_for(50)
    tab.page.mouse.up()
    tab.page.clock.run_for(1000)  # the drag has rested
    before = tab.source("trials", "trial")[tab.state("focus")]
    selected = {tab.source("trials", "trial")[i] for i in tab.state("brush")}
    write_page([replace(small, trials=trials)], path)
    tab.js("page.ready = 'old'")
    tab.page.clock.run_for(1000 * (RELOAD_S + 10))
    tab.page.wait_for_function("window.page && page.ready === true", timeout=60_000)
    assert len(tab.source("trials", "trial")) == 16
    assert tab.source("trials", "trial")[tab.state("focus")] == before
    assert {tab.source("trials", "trial")[i] for i in tab.state("brush")} == selected
    assert tab.state("off") == ["slow"]
    assert tab.page.get_attribute("[data-regime=slow]", "aria-pressed") == "false"
    assert tab.page.input_value("#metric") == "test_loss"
    assert tab.wrong == []
    tab.context.close()


SLOWER = 10
"""The page should be ready within 2 s and follow a drag within 0.1 s. A slow or busy machine passes. What this notices
is work that grows with the square of the trials."""


def test_thousands_of_trials(browser, tmp_path):
    path, sweep = tmp_path / "report.html", many_trials(page_figures.MOST_FOLLOWED, 50)
    write_page([sweep], path)
    assert path.stat().st_size < 5e6
    tab = Tab(browser, path)
    if tab.computed_s() >= 2 * SLOWER:  # once more: the machine may have been busy
        tab = Tab(browser, path)
    assert tab.computed_s() < 2 * SLOWER
    assert tab.source("curves-0-lines", "xs") == []
    low, high = (tab.js(f"{model('y')}.{end}") for end in ("start", "end"))
    assert tab.drag("map-0", (0.01, low), (1, high), steps=12) < 0.1 * SLOWER
    selected = len(tab.state("brush"))
    assert selected > 300
    assert f"300 of {selected:,} selected trials" in tab.page.inner_text("#curves-0-said")
    assert len(tab.source("curves-0-lines", "xs")) == 300
    tab.page.select_option("#metric", "train_loss")
    tab.page.wait_for_timeout(300)
    (top,) = tab.source("top", "y")
    ys = np.array(tab.source("trials", "y"))
    assert (ys == top).sum() == (~np.isfinite(sweep.trials["train_loss"])).sum() > 200
    assert tab.wrong == []
    tab.context.close()


def test_a_sweep_and_a_search_for_an_edge_side_by_side(browser, small, edge_sweep, tmp_path):
    path = tmp_path / "report.html"
    write_page([edge_sweep, small], path)
    tab = Tab(browser, path)
    assert (tab.shown("map-0"), tab.shown("map-1")) == (len(edge_sweep.trials), 16)
    xs = [tab.at(f"map-{k}", 1, 1)[0] for k in (0, 1)]
    assert xs[1] > xs[0] + 300
    assert tab.js(f"{model('edge-0')}.renderers.length") == 4  # band, median, ticks of both outcomes
    x, y = tab.at("edge-0", 1.4, 0.5)
    box = tab.page.locator("#edge-0").bounding_box()
    assert box["x"] < x < box["x"] + box["width"]
    assert box["y"] < y < box["y"] + box["height"]
    assert tab.axe() == []
    assert tab.wrong == []
    tab.context.close()


def test_a_searchs_best_so_far_and_a_menu_that_says_which_setting_makes_the_lines(browser, small, tmp_path):
    path = tmp_path / "report.html"
    trials = small.trials.assign(momentum=[0.0, 0.9] * 8)
    write_page([replace(small, trials=trials, meta=small.meta | {"search": True})], path)
    tab = Tab(browser, path)
    shown = f"{model('best-shown')}.booleans"
    assert tab.js(shown) == [True]
    tab.page.select_option("#metric", "train_error")
    assert tab.js(shown) == [False], "hidden where another metric is shown"
    assert "The winner is trial 00010" in tab.page.inner_text("#progress-said")
    tab.show("#progress")
    x, y = tab.source("trials", "number")[2], tab.source("trials", "y")[2]
    tab.page.mouse.click(*tab.at("progress", x, y))
    assert tab.state("focus") == 2

    options = tab.page.locator(".choice option").all_inner_texts()
    assert options == ["batch size", "momentum"]
    for chosen in (*options, options[0]):
        tab.page.select_option(".choice", chosen)
        tab.page.wait_for_timeout(300)
        seen = tab.page.locator(".part[data-choice]:visible")
        assert {seen.nth(i).get_attribute("data-choice") for i in range(seen.count())} == {chosen}
        assert seen.locator(".plot").first.bounding_box()["width"] > 300
    tab.page.select_option(".choice", "momentum")
    tab.page.reload()
    tab.wait()
    assert tab.page.input_value(".choice") == "momentum", "kept"
    assert tab.page.is_visible(".part[data-choice=momentum]")
    assert tab.wrong == []
    tab.context.close()


def test_esc_and_shift_show_all_regimes_again(tab, small):
    tab.page.click("[data-regime=slow]", modifiers=["Shift"])
    assert 0 < tab.shown("map-0") < 16
    tab.page.click("[data-regime=slow]", modifiers=["Shift"])
    assert tab.shown("map-0") == 16
    tab.page.click("[data-regime=diverged]")
    assert tab.page.is_visible("#clear")
    tab.page.keyboard.press("Escape")
    assert tab.shown("map-0") == 16
    assert not tab.page.is_visible("#clear")


def test_a_number_finds_what_equals_it(tab, small):
    rate = next(one for one in tab.source("trials", "rate") if "." in one)
    for asked, found in ((rate, 2), (f"{rate} 128", 1), (rate[:-1], 0), ("00003", 1)):
        tab.page.fill("#find", asked)
        tab.page.wait_for_timeout(400)
        assert tab.page.inner_text("#found").startswith(f"{found} of 16 trials")


def test_the_evidence_of_a_chosen_trial_is_in_view(tab):
    tab.page.set_viewport_size({"width": 1400, "height": 600})
    tab.show("#map-0")
    tab.page.keyboard.press("ArrowRight")
    tab.page.wait_for_timeout(300)
    box = tab.page.locator("#trial .evidence").bounding_box()
    tab.page.set_viewport_size(WIDE)
    assert 0 <= box["y"] <= 600 - box["height"]
