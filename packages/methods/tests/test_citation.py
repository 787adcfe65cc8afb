"""What is used can be cited."""

from __future__ import annotations

import importlib
import pkgutil

import pytest
from torch import nn

import iclr2020
from iclr2020 import citation
from iclr2020.generative import sumo

AREAS_WITHOUT_PAPERS = ("citation", "checks", "data")


def _methods() -> list[str]:
    names = [
        one.name for one in pkgutil.walk_packages(iclr2020.__path__, "iclr2020.") if not one.ispkg
    ]
    return [name for name in names if name.split(".")[1] not in AREAS_WITHOUT_PAPERS]


@pytest.mark.parametrize("name", _methods())
def test_every_method_names_its_papers(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    module = importlib.import_module(name)
    iclr2020.cite(module)
    printed = capsys.readouterr().out
    for paper in module.REFERENCES:
        assert printed.count(f"{{{paper.key},\n") == 1
        assert paper.arxiv or paper.url


def test_keys_are_of_one_paper_each() -> None:
    papers = {paper for name in _methods() for paper in importlib.import_module(name).REFERENCES}
    assert len({paper.key for paper in papers}) == len(papers)


def test_a_network_is_cited_with_all_that_it_contains() -> None:
    class Own(nn.Module):
        pass

    Own.__module__ = sumo.__name__

    class Derived(Own):
        pass

    network = nn.Sequential(nn.Linear(1, 1), nn.Sequential(Derived()), Own())
    assert iclr2020.references(network) == sumo.REFERENCES


def test_functions_are_cited_once() -> None:
    assert iclr2020.references(sumo.sumo, sumo.survival, sumo) == sumo.REFERENCES


@pytest.mark.parametrize("stranger", [nn.Linear(1, 1), print, 3, "sumo", citation])
def test_a_stranger_is_no_paper(stranger: object) -> None:
    with pytest.raises(TypeError, match="expected something of iclr2020, got "):
        iclr2020.cite(stranger)
