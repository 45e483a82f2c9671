"""What a page's figures show, as text: a line for each property that is not as Bokeh has it."""

import numpy as np
import pandas as pd
from bokeh.core.property.vectorization import Field, Value
from bokeh.model import Model

from mnist_tune.reports.page_data import evenly
from mnist_tune.reports.page_figures import sections, trial_table

BOKEHS_OWN = (
    "css hatch_alpha hatch_color id minor_ticks muted_glyph overlay selected selection_policy sort_by top bottom"
)
BOKEHS_OWN = (*BOKEHS_OWN.split(), "handles", "mantissas")
NAMES = {"ColumnDataSource": "rows", "CDSView": "those", "CustomJSTickFormatter": "script", "PlainText": "plain"}
SHOWN = 5
"""The most values of a column that are written, evenly chosen."""


def described(data, *only):
    """What the sections of a page show, or these charts. What every figure has, and what one has as an earlier one,
    is said once."""
    text = Text()
    found = [
        (section, chart) for section, charts in sections(data) for chart in charts if chart.name in (only or chart)
    ]
    figures = {chart.name: dict(text.properties(chart.figure)) for _, chart in found if chart.figure is not None}
    first, *others = figures.values()
    every = {name for name, lines in first.items() if all(one.get(name) == lines for one in others)}
    yield from ["every figure", *(f"{name}: {line}" for name in first if name in every for line in first[name])]
    known, last = {}, None
    for section, chart in found:
        if section is not last:
            last = section
            yield f"== {section.name}: {section.title} {section.hint}".rstrip()
        yield f"-- {chart.name}"
        said = chart._replace(name="", figure=None, table=())._asdict()
        yield from (f"{name}: {value}" for name, value in said.items() if value)
        yield from (" | ".join(row) for row in (chart.table[0], *chart.table[1]) if row)
        alike = {}
        for name, lines in figures.get(chart.name, {}).items():
            if name in every:
                continue
            if (of := known.setdefault((name, *lines), chart.name)) == chart.name:
                yield from (f"{name}: {line}" for line in lines)
            else:
                alike.setdefault(of, []).append(name)
        yield from (f"as {of}: {', '.join(names)}" for of, names in alike.items())


def table(trials):
    """What the page's table of trials is."""
    return (f"{name}: {line}" for name, lines in Text().properties(trial_table(trials)) for line in lines)


def facts(model):
    """What is not as usual of a model, by name, but what Bokeh makes itself."""
    found = model.properties_with_values(include_defaults=False)
    in_order = sorted(found, key=lambda name: (name not in ("below", "left"), name == "center", name))
    return {name: found[name] for name in in_order if name not in BOKEHS_OWN and not plain(found[name])}


def plain(value):
    """Whether this is a model that is as usual."""
    return isinstance(value, Model) and not facts(value)


class Text:
    """Writes models. What several share is written where it comes first, and named elsewhere."""

    def __init__(self):
        self._known = {}

    def properties(self, model):
        """The names of a model's properties, each with the lines of what is in it."""
        for name, value in facts(model).items():
            parts = value if isinstance(value, list) else [value]
            if name in ("below", "left", "toolbar"):
                self._known[parts[0].id] = type(parts[0]).__name__
                yield from ((f"{name}.{part}", lines) for part, lines in self.properties(parts[0]))
            else:
                yield name, [self._of(one) for one in parts]

    def _of(self, value):
        if isinstance(value, Model):
            return self._model(value)
        if isinstance(value, (Field, Value)):
            return f"@{value.field}" if isinstance(value, Field) else self._of(value.value)
        if isinstance(value, dict):
            return "{" + ", ".join(f"{name}: {self._of(each)}" for name, each in value.items()) + "}"
        if isinstance(value, (list, tuple, np.ndarray, pd.Index, pd.Series)):
            few = evenly(list(value), SHOWN)
            return f"{len(value)} of " * (len(few) < len(value)) + f"[{', '.join(map(self._of, few))}]"
        if isinstance(value, (float, np.floating)):  # what is next to nothing depends on the processor
            return f"{round(float(value), 9) + 0.0:.4g}"
        return str(value)

    def _model(self, model):
        if model.id in self._known:
            return self._known[model.id]
        kind, found = NAMES.get(type(model).__name__, type(model).__name__), facts(model)
        self._known[model.id] = f"{kind}({model.name})" if model.name else kind
        if kind != "GlyphRenderer":
            return f"{kind}({self._named(found)})"
        self._known[model.id] = f"the {type(model.glyph).__name__}"
        usual, pale = facts(model.glyph), facts(found.pop("nonselection_glyph"))
        found["unselected"] = {
            name: value for name, value in pale.items() if self._of(value) not in ("0.1", self._of(usual.get(name)))
        }
        drawn, source = self._of(found.pop("glyph")), self._of(found.pop("data_source"))
        return f"{drawn} of {source} {self._named(found)}".rstrip()

    def _named(self, found):
        return ", ".join(f"{name}={self._of(value)}" for name, value in found.items() if value or value == 0)
