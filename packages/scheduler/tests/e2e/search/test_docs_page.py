"""docs/hypersearch.md is whole; its examples are run by tests/test_docs.py."""

import re
from pathlib import Path

PAGE = Path(__file__).parents[5] / "docs" / "hypersearch.md"


def test_the_page_names_every_option(hypersearch):
    text = PAGE.read_text()
    for option in re.findall(
        r"(?<![\w-])--?[a-z0][a-z-]*", "\n".join(hypersearch.lines("--help"))
    ):
        if option in ("-d", "-w", "--lr", "--bs", "--out"):  # of the examples
            continue
        assert option in text
