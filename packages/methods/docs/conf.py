"""Sphinx: a page for each method, from its docstring."""

import iclr2020

project = "iclr2020-methods"
author = "The simple-gpu-scheduler maintainers"
release = iclr2020.__version__
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
]
autodoc_default_options = {"members": True, "show-inheritance": True, "member-order": "bysource"}
autodoc_typehints = "description"
autosummary_generate = True
templates_path = ["templates"]
html_theme = "alabaster"
# What scikit-learn's classes bring along refers to its own glossary; `iclr2020.data` has names of
# its rooms, so that some have two places.
suppress_warnings = ["ref.term", "ref.ref", "ref.python"]
