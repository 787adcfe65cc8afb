"""Sphinx: one site for all packages, made of the pages that GitHub shows. `make docs` builds it.

The source folder is the repository's root: a link between two pages is the same here and there.
The built pages ask no other host for anything. Formulas are MathML, which browsers draw without
a script. The theme, furo, brings its own style and script, and a light and a dark side.
"""

import re
from pathlib import Path
from typing import Any

from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

import simple_gpu_scheduler

ROOT = Path(__file__).resolve().parent.parent

project = "simple-gpu-scheduler"
author = "The simple-gpu-scheduler maintainers"
release = simple_gpu_scheduler.__version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
]
root_doc = "docs/index"
include_patterns = [
    "docs/*.md",
    "packages/methods/docs/**.rst",
    "packages/*/*.md",
    "packages/scheduler/fake_nvml/README.md",
    "benchmarks/*.md",
    "examples/README.md",
    "[A-Z]*.md",
]
exclude_patterns = ["README.md", ".*", "**/build", "**/src", "**/tests", "runs"]
templates_path = ["templates"]

# Links to the sections of a page, as GitHub names them.
myst_heading_anchors = 4
# The docstrings that scikit-learn's classes hand down refer to its own glossary. `iclr2020.data`
# has names of its own modules, so some have two places.
suppress_warnings = ["ref.term", "ref.ref", "ref.python"]

autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autosummary_generate = True

html_theme = "furo"
html_title = "simple-gpu-scheduler"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_additional_pages = {"index": "to-the-first-page.html"}
html_copy_source = False

_LINK = re.compile(r"\[([^\[\]]*)\]\(([\w./-]+)\)")
_UNKNOWN = re.compile(r"<m[iot]>(\\\w+)")


def link_readmes(app: Sphinx, page: str, source: list[str]) -> None:
    """Send links to a folder to its README, as GitHub does; a folder without one is only named."""
    here = (ROOT / page).parent

    def to_readme(link: re.Match[str]) -> str:
        text, target = link.groups()
        if not (here / target).is_dir():
            return link[0]
        readme = f"{target.rstrip('/')}/README.md"
        return f"[{text}]({readme})" if (here / readme).is_file() else text

    source[0] = _LINK.sub(to_readme, source[0])


def leave_out(
    app: Sphinx, what: str, name: str, thing: object, options: Any, lines: list[str]
) -> None:
    """Leave out the text of the scheduler's modules: the page has its own introduction."""
    if what == "module" and name.startswith("simple_gpu_scheduler."):
        lines.clear()


def mathml(latex: str, display: str) -> str:
    """Turn a formula into MathML; a command that isn't known is an error."""
    lines = rf"\begin{{split}}{latex}\end{{split}}" if r"\\" in latex else latex
    formula = convert(lines, display=display)
    if unknown := _UNKNOWN.search(formula):
        raise ExtensionError(f"unknown command {unknown[1]} in the formula {latex}")
    return formula


def visit_math(writer: Any, node: nodes.math) -> None:
    """Write a formula within a line."""
    writer.body.append(mathml(node.astext(), "inline"))
    raise nodes.SkipNode


def visit_math_block(writer: Any, node: nodes.math_block) -> None:
    """Write a formula on lines of its own."""
    writer.body.append(mathml(node.astext(), "block"))
    raise nodes.SkipNode


def setup(app: Sphinx) -> None:
    """Connect the functions above."""
    app.connect("source-read", link_readmes)
    app.connect("autodoc-process-docstring", leave_out)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
