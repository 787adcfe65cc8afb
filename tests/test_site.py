"""The site: built without a warning, a page for all that is public, no request to another host."""

from __future__ import annotations

import importlib
import pkgutil
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import iclr2020
from once import made_once
from simple_gpu_scheduler.queue.records import STATES

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "packages/methods/experiments"
PUBLIC = ["client", "executor", "testing"]

pytestmark = pytest.mark.timeout(900)  # to build the site is much work for a busy machine

#: What a browser fetches by itself to show a page; links that a reader follows are not among it.
_FETCHED = [
    re.compile(r"<(?:script|img|iframe|source|video|object|embed)\b[^>]*(?:src|data)=\"([^\"]*)"),
    re.compile(r"<img\b[^>]*srcset=\"([^\"]*)"),
    re.compile(
        r"<link\b(?=[^>]*rel=\"(?:stylesheet|preload|icon|preconnect))[^>]*href=\"([^\"]*)"
    ),
    re.compile(r"url\(['\"]?([^)'\"]*)"),
    re.compile(r"@import ['\"]([^'\"]*)"),
]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built pages, from a copy: the pages of the methods are made beside their sources."""
    return made_once(tmp_path_factory, "site", build)


def build(folder: Path) -> None:
    hidden = shutil.ignore_patterns(".*", "build", "pages", "runs", "src", "tests")
    command = [sys.executable, "-m", "sphinx", "--fail-on-warning", "--quiet"]
    with tempfile.TemporaryDirectory() as around:
        source = Path(around) / "copy"
        shutil.copytree(ROOT, source, ignore=hidden)
        done = subprocess.run(
            [*command, "-c", source / "docs", source, folder],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr


def texts(site: Path, *endings: str) -> Iterator[tuple[Path, str]]:
    for path in sorted(site.rglob("*")):
        if path.suffix in endings and path.is_file():
            yield path, path.read_text("utf-8")


def fetched(text: str) -> list[str]:
    return [link for pattern in _FETCHED for link in pattern.findall(text)]


def test_no_page_asks_another_host(site: Path) -> None:
    found = {
        str(path.relative_to(site)): foreign
        for path, text in texts(site, ".html", ".css", ".svg")
        if (foreign := [link for link in fetched(text) if re.match(r"(?:https?:)?//", link)])
    }
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://cdn.example.org/mathjax.js"></script>',
        '<link rel="stylesheet" href="//fonts.example.org/a.css">',
        "@font-face { src: url('https://fonts.example.org/a.woff2'); }",
        '<img alt="a" src="http://example.org/a.svg">',
        '@import "https://example.org/a.css";',
    ],
)
def test_what_would_ask_another_host_is_noticed(text: str) -> None:
    assert any(re.match(r"(?:https?:)?//", link) for link in fetched(text))


def test_all_that_a_page_fetches_is_there(site: Path) -> None:
    missing = [
        (str(path.relative_to(site)), link)
        for path, text in texts(site, ".html", ".css")
        for link in fetched(text)
        if not link.startswith(("data:", "#")) and not (path.parent / plain(link)).is_file()
    ]
    assert missing == []


def plain(link: str) -> str:
    return re.split("[?#]", link)[0]


def test_every_local_link_leads_somewhere(site: Path) -> None:
    broken = [
        (str(path.relative_to(site)), link)
        for path, text in texts(site, ".html")
        for link in re.findall(r"<a\b[^>]*href=\"([^\"#:]+)[\"#]", text)
        if not (path.parent / link).exists()
    ]
    assert broken == []


@pytest.mark.parametrize("name", PUBLIC)
def test_all_of_a_public_module_is_on_the_page_of_the_interface(site: Path, name: str) -> None:
    module = f"simple_gpu_scheduler.{name}"
    page = (site / "docs/api.html").read_text("utf-8")
    names = importlib.import_module(module).__all__
    assert [name for name in names if f'id="{module}.{name}"' not in page] == []


def test_every_module_of_the_methods_has_its_page(site: Path) -> None:
    pages = site / "packages/methods/docs/pages"
    modules = [one.name for one in pkgutil.walk_packages(iclr2020.__path__, "iclr2020.")]
    public = [name for name in modules if "._" not in name]
    assert len(public) > 16
    assert [name for name in public if not (pages / f"{name}.html").is_file()] == []


def test_the_page_of_each_method_with_an_experiment_has_an_example(site: Path) -> None:
    sources = "".join(path.read_text() for path in EXPERIMENTS.glob("*.py"))
    modules = set(re.findall(r"\(`(iclr2020[\w.]+)`\)", sources))
    assert len(modules) >= 16
    pages = site / "packages/methods/docs/pages"
    without = [name for name in modules if "Example" not in (pages / f"{name}.html").read_text()]
    assert without == []


def test_formulas_are_drawn_by_the_browser_itself(site: Path) -> None:
    page = (site / "packages/methods/docs/pages/iclr2020.generative.sumo.html").read_text("utf-8")
    assert page.count("<math") > 3
    assert "MathJax" not in page
    assert "<mtd" in (
        site / "packages/methods/docs/pages/iclr2020.flows.normalizing.html"
    ).read_text("utf-8"), "lines of a formula are aligned"


def test_a_formula_that_cannot_be_drawn_ends_the_build(tmp_path: Path) -> None:
    (tmp_path / "index.md").write_text("# Page\n\n```{math}\na \\unheardof b\n```\n")
    only = ["-D", "root_doc=index", "-D", "include_patterns=index.md"]
    command = [sys.executable, "-m", "sphinx", "--quiet", "-c", ROOT / "docs", *only]
    done = subprocess.run(
        [*command, tmp_path, tmp_path / "html"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert r"unknown command \unheardof in the formula a \unheardof b" in done.stderr


def test_the_glossary_has_every_state_of_a_job() -> None:
    glossary = (ROOT / "docs/glossary.md").read_text()
    assert [state for state in STATES if f"**{state}**" not in glossary] == []


def test_a_term_stands_in_the_glossary_once() -> None:
    terms = re.findall(r"\*\*([^*]+)\*\*", (ROOT / "docs/glossary.md").read_text())
    assert len(terms) > 40
    assert sorted(terms) == sorted(set(terms))


def test_the_address_of_the_folder_leads_to_the_first_page(site: Path) -> None:
    target = re.search(r"url=([^\"]+)", (site / "index.html").read_text("utf-8"))
    assert target
    assert (site / target[1]).is_file()
