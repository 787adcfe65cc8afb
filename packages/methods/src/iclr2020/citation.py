"""What to cite: each method's module names its papers; `cite` prints those of what was used."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import NamedTuple, TextIO

from torch import nn

_PACKAGE = "iclr2020"


class Reference(NamedTuple):
    """A paper."""

    key: str
    title: str
    authors: tuple[str, ...]  #: each as BibTeX wants it: "Family, Given"
    year: int
    venue: str = "International Conference on Learning Representations"
    arxiv: str = ""
    url: str = ""

    def bibtex(self) -> str:
        """The entry for a bibliography."""
        in_journal = "arXiv" in self.venue or "Journal" in self.venue
        fields = {
            "title": self.title,
            "author": " and ".join(self.authors),
            "journal" if in_journal else "booktitle": self.venue,
            "year": str(self.year),
            "eprint": self.arxiv,
            "archivePrefix": "arXiv" if self.arxiv else "",
            "url": self.url,
        }
        lines = [f"  {name} = {{{value}}}," for name, value in fields.items() if value]
        kind = "article" if in_journal else "inproceedings"
        return "\n".join([f"@{kind}{{{self.key},", *lines, "}"])


def references(*objects: object) -> tuple[Reference, ...]:
    """The papers of what was used, each once, in the order in which they were met.

    Args:
        objects: modules, classes, functions and instances of this package. A `nn.Module` of yours
            counts with all that it contains, and so does a subclass of one of our classes.

    Raises:
        TypeError: one of them has nothing of this package in it.
    """
    found: dict[str, Reference] = {}
    for one in objects:
        papers = {paper.key: paper for part in _parts(one) for paper in _papers(part)}
        if not papers:
            raise TypeError(f"expected something of {_PACKAGE}, got {one!r}")
        found.update((key, paper) for key, paper in papers.items() if key not in found)
    return tuple(found.values())


def cite(*objects: object, file: TextIO | None = None) -> None:
    """Print the BibTeX of what was used.

    Args:
        objects: as for `references`.
        file: where to; standard output if it is None.

    Raises:
        TypeError: one of them has nothing of this package in it.

    Example:
        >>> from iclr2020.citation import Reference
        >>> print(Reference("a2020", "Title", ("Doe, Jane",), 2020, arxiv="2001.00001").bibtex())
        @inproceedings{a2020,
          title = {Title},
          author = {Doe, Jane},
          booktitle = {International Conference on Learning Representations},
          year = {2020},
          eprint = {2001.00001},
          archivePrefix = {arXiv},
        }
    """
    print("\n\n".join(paper.bibtex() for paper in references(*objects)), file=file)


def _parts(one: object) -> Iterator[object]:
    """The thing itself; of a network, all that it contains."""
    if isinstance(one, nn.Module):
        yield from one.modules()
    else:
        yield one


def _papers(one: object) -> Iterator[Reference]:
    """Those of the modules in which the thing, or its classes, were written."""
    for name in _module_names(one):
        if name == _PACKAGE or name.startswith(f"{_PACKAGE}."):
            yield from getattr(sys.modules.get(name), "REFERENCES", ())


def _module_names(one: object) -> Iterator[str]:
    if isinstance(one, ModuleType):
        yield one.__name__
    elif isinstance(one, type) or not hasattr(one, "__qualname__"):
        kind = one if isinstance(one, type) else type(one)
        yield from (each.__module__ for each in kind.__mro__)
    else:
        yield str(getattr(one, "__module__", ""))
