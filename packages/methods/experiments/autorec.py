"""AutoRec: what students would say of lecturers, from what they said of others."""

from __future__ import annotations

from argparse import Namespace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from iclr2020 import data

#: Without an improvement for so many epochs on the validation part, the training ends.
_PATIENCE = 5

#: The best learning rate is found on the validation part, for each way to fill.
_LEARNING_RATES = (0.0001, 0.001)


class Split(NamedTuple):
    """Ratings from 0.2 to 1 by students (rows) of lecturers (columns); nan where there is none."""

    train: Tensor  #: 80 %
    validation: Tensor  #: 10 %
    test: Tensor  #: 10 %


class Fitted(NamedTuple):
    """The best of a training, on the validation part."""

    validation: float  #: error
    predicted: Tensor  #: of all students for all lecturers


def split(ratings: data.Ratings) -> Split:
    """Each rating falls into one of the parts by a draw."""
    part = torch.rand(len(ratings.values))
    chosen = (part < 0.8, (part >= 0.8) & (part < 0.9), part >= 0.9)
    return Split(*(_matrix(ratings, one) for one in chosen))


def _matrix(ratings: data.Ratings, chosen: Tensor) -> Tensor:
    x = torch.full((ratings.user_count, ratings.item_count), torch.nan)
    x[ratings.users[chosen], ratings.items[chosen]] = ratings.values[chosen] / 5
    return x


def error(predicted: Tensor, x: Tensor) -> float:
    """The root of the mean squared error of the ratings that are there, in steps of the scale."""
    there = ~x.isnan()
    return 5 * (predicted[there] - x[there]).square().mean().sqrt().item()


def fit(given: Tensor, parts: Split, arguments: Namespace) -> Tensor:
    """What the network predicts that is best on the validation part, over all learning rates."""
    found = []
    for lr in _LEARNING_RATES:
        torch.manual_seed(arguments.seed)
        found.append(_train(given, parts, lr, arguments))
    return min(found, key=lambda one: one.validation).predicted


def _train(given: Tensor, parts: Split, lr: float, arguments: Namespace) -> Fitted:
    """As long as it gets better."""
    net = nn.Sequential(
        nn.Linear(given.shape[1], arguments.width), nn.Sigmoid(),
        nn.Linear(arguments.width, parts.train.shape[1]),
    ).to(given.device)  # fmt: skip
    optimizer = torch.optim.AdamW(net.parameters(), lr=lr, weight_decay=arguments.decay)
    there, wanted = ~parts.train.isnan(), parts.train.nan_to_num()
    best, since = Fitted(float("inf"), wanted), 0
    for _ in range(arguments.ratings_epochs):
        for batch in torch.randperm(len(given), device=given.device).split(64):
            squares = (net(given[batch]) - wanted[batch]).square() * there[batch]
            optimizer.zero_grad()
            (squares.sum() / there[batch].sum().clamp(min=1)).backward()
            optimizer.step()
        with torch.no_grad():
            predicted = net(given)
        now, since = Fitted(error(predicted, parts.validation), predicted), since + 1
        if now.validation < best.validation:
            best, since = now, 0
        if since == _PATIENCE:
            break
    return best


def lecturers_means(parts: Split) -> Tensor:
    """What needs no network: the mean of each lecturer's ratings."""
    means = parts.train.nanmean(0).nan_to_num(parts.train.nanmean().item())
    return means.expand_as(parts.train)
