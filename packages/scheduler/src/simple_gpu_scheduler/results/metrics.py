"""What the name of a metric tells: if it is a known one, on which data, and what is better."""

from __future__ import annotations

import re
from typing import NamedTuple

# Words of a metric's name, the likeliest metric first. The lists fill their lines.
# fmt: off
_HIGHER = (
    "accuracy", "acc", "top1", "top5", "auc", "auroc", "auprc", "f1", "ap", "miou", "iou", "dice",
    "mcc", "r2", "bleu", "rouge", "psnr", "ssim", "reward", "return", "score",
)
_LOWER = (
    "loss", "nll", "perplexity", "ppl", "error", "err", "mse", "rmse", "mae", "mape", "wer", "cer",
    "fid", "bpb", "bpc", "bpd", "regret", "cost",
)
_NOT_A_METRIC = frozenset((
    "weight", "weights", "coef", "coefficient", "scale", "scaling", "factor", "smoothing", "fn",
    "function", "threshold",
))
_SMALL_IS_GOOD = frozenset((
    "runtime", "cpu", "memory", "job", "attempt", "seconds", "time", "latency",
))
# fmt: on
# The data on which a metric was measured, the best to judge by first. 2: the name doesn't say.
_SPLITS = {"val": 0, "valid": 0, "validation": 0, "dev": 0, "eval": 0, "test": 1}
_SPLITS |= {"train": 3, "training": 3}


class Kind(NamedTuple):
    """A known metric: its place in the list, the likeliest first, and which value is better."""

    place: int
    higher_is_better: bool


_KINDS = {word: Kind(i, word in _HIGHER) for i, word in enumerate((*_HIGHER, *_LOWER))}


def kind(name: str) -> Kind | None:
    """Return the known metric that a name stands for; None if there is none."""
    words = _words(name)
    kinds = [_KINDS[word] for word in words if word in _KINDS]
    if not kinds or not _NOT_A_METRIC.isdisjoint(words):
        return None
    place, higher = min(kinds)
    return Kind(place, higher != ("neg" in words))  # scikit-learn's neg_log_loss


def split(name: str) -> int:
    """Return the place of the data that a metric's name says it was measured on."""
    return min((_SPLITS[word] for word in _words(name) if word in _SPLITS), default=2)


def is_a_cost(name: str) -> bool:
    """Return whether the name is that of a cost, such as seconds. Less of it is better."""
    return not _SMALL_IS_GOOD.isdisjoint(_words(name))


def _words(name: str) -> list[str]:
    return re.split(r"[\W_]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name[:200]).lower())
