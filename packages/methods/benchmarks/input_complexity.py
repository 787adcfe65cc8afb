"""Complexity by several compressors, against Pillow's PNG."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work

from iclr2020.anomaly.input_complexity import complexity_bits


def _rivals(side: int) -> Mapping[str, Work]:
    torch.manual_seed(0)
    smooth = torch.randn(20, side, side).cumsum(1).cumsum(2)
    images = (smooth * 10 % 256).to(torch.uint8)
    return {
        "zlib over filters": lambda: complexity_bits(images, ["zlib"]),
        "png": lambda: complexity_bits(images, ["png"]),
        "bz2 over filters": lambda: complexity_bits(images, ["bz2"]),
        "lzma over filters": lambda: complexity_bits(images, ["lzma"]),
        "jpeg2000": lambda: complexity_bits(images, ["jpeg2000"]),
    }


BENCHMARKS = [
    Benchmark(
        "Complexity of 20 images",
        "side",
        (28, 128),
        _rivals,
        why="three filters are tried for the whole image, where PNG tries five for each row",
    )
]
