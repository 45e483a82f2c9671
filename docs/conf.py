"""The site of these pages, with a search. A link that leads nowhere is an error.

    python -m pip install -e '.[docs]'
    sphinx-build --fail-on-warning --quiet -c docs . site

Its pages are the Markdown of the clone, and its navigation has the shelves of
docs/README.md.
"""

import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT))

from docs.words import shelves  # noqa: E402

project = "mnist_tune"
author = project_copyright = "The mnist_tune authors"
extensions = ["myst_nb", "sphinx_copybutton"]
root_doc = "README"
include_patterns = ["*.md", "docs/*.md", "docs/tour.ipynb", "cluster/*.md"]
myst_heading_anchors = 4
nb_execution_mode = "off"
html_theme = "furo"
html_copy_source = False


def add_navigation(app: Any, page: str, source: list[str]) -> None:
    """Give the first page a table of contents, which becomes the navigation of all."""
    if page != root_doc:
        return
    shelves_by_title = {"Pages": [Path("docs/README")], **shelves()}
    for title, pages in shelves_by_title.items():
        lines = ["", "```{toctree}", ":hidden:", f":caption: {title}", ""]
        lines += ["/" + str(page).removesuffix(".md") for page in pages]
        lines += ["```", ""]
        source[0] += "\n".join(lines)


def begin_at_the_readme(app: Any, error: Exception | None) -> None:
    """Write the file that a browser opens in the site's folder."""
    if error is None:
        redirect = f'<meta http-equiv="refresh" content="0; url={root_doc}.html">'
        (Path(app.outdir) / "index.html").write_text(redirect)


def setup(app: Any) -> None:
    app.connect("source-read", add_navigation)
    app.connect("build-finished", begin_at_the_readme)
