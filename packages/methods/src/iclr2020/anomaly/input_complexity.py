r"""Input complexity: correct the likelihood of a generative model by how simple an input is.

Simple images get a high likelihood from any model, also from one that has never seen their kind. A
lossless compressor says how simple an image is; what it needs is taken off what the model needs.

.. math::
    S(x) = -\log_2 p_M(x) - L(x), \qquad
    L(x) = \min_{\text{compressors}} \text{bits of the compressed } x

High S: out of the distribution. It is a likelihood ratio test against the universal code
:math:`2^{-L}`. Both terms in bits (`per_dimension` divides both).

Assumptions: p_M is a probability of whole pixel values: of a density of dequantised pixels, use
`iclr2020.flows.normalizing.bits_per_dimension`.

Trap: L is added to the log-likelihood, and so subtracted from the negative one; "subtract the
complexity from the likelihood" has the sign wrong.

Compressors: "zlib", "bz2" and "lzma" of the standard library, over the pixels filtered as PNG does
it; "png" and "jpeg2000" with Pillow: `pip install "iclr2020-methods[compressors]"`.

References:
    | Input complexity and out-of-distribution detection with likelihood-based generative models
      (Serra et al., 2020) | https://arxiv.org/abs/1909.11480
"""

from __future__ import annotations

import bz2
import io
import lzma
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from iclr2020.checks import sizes
from iclr2020.citation import Reference

REFERENCES = (
    Reference(
        key="serra2020complexity",
        title="Input complexity and out-of-distribution detection with likelihood-based "
        "generative models",
        authors=(
            "Serr{\\`a}, Joan",
            "{\\'A}lvarez, David",
            "G{\\'o}mez, Vicen{\\c{c}}",
            "Slizovskaia, Olga",
            "N{\\'u}{\\~n}ez, Jos{\\'e} F.",
            "Luque, Jordi",
        ),
        year=2020,
        arxiv="1909.11480",
    ),
)

Compressor = Callable[[Tensor], int]

_LEAST_WINDOW = 4096  #: bytes, of LZMA


def png_filtered(image: Tensor) -> list[bytes]:
    """An image by each of three filters of PNG: none, the difference to the left, and to above.

    Args:
        image: (height, width) or (height, width, channels) uint8.

    Returns:
        The bytes of each.

    Example:
        >>> [list(one) for one in png_filtered(torch.tensor([[5, 5], [5, 6]], dtype=torch.uint8))]
        [[5, 5, 5, 6], [5, 0, 5, 1], [5, 5, 0, 1]]
    """
    rows = image.cpu().int()
    found = [rows]
    for dim in (1, 0):
        before = rows.roll(1, dim)
        before.narrow(dim, 0, min(1, rows.shape[dim])).zero_()
        found.append((rows - before) % 256)
    return [one.to(torch.uint8).numpy().tobytes() for one in found]


def _filtered(compress: Callable[[bytes], bytes]) -> Compressor:
    return lambda image: min(len(compress(one)) for one in png_filtered(image))


def _lzma(data: bytes) -> bytes:
    """With a window as large as the data: that of the preset takes long to make, for nothing."""
    window = max(_LEAST_WINDOW, len(data))
    only = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 1, "dict_size": window}
    return lzma.compress(data, lzma.FORMAT_RAW, filters=[only])


def _pillow(kind: str, **options: Any) -> Compressor:
    def size(image: Tensor) -> int:
        try:
            from PIL import Image
        except ImportError:
            raise ImportError(
                'Pillow is needed; get it by: pip install "iclr2020-methods[compressors]"'
            ) from None
        file = io.BytesIO()
        grey = image.dim() == 3 and image.shape[-1] == 1
        pixels = image[..., 0] if grey else image
        Image.fromarray(pixels.cpu().numpy()).save(file, kind, **options)
        return file.tell()

    return size


COMPRESSORS: dict[str, Compressor] = {
    "zlib": _filtered(lambda data: zlib.compress(data, 9)),
    "bz2": _filtered(bz2.compress),
    "lzma": _filtered(_lzma),
    "png": _pillow("PNG", optimize=True),
    "jpeg2000": _pillow("JPEG2000", irreversible=False),
}


def complexity_bits(
    images: Tensor, compressors: Sequence[str] = ("zlib", "bz2", "lzma")
) -> Tensor:
    """L of each image: 8 times the bytes of what compresses it best.

    Args:
        images: (N, height, width) or (N, height, width, channels), uint8.
        compressors: names of `COMPRESSORS`. Headers count: take the same for all that you compare.

    Returns:
        (N,) in the default dtype, on the images' device.

    Raises:
        ValueError: there is no such compressor, or the images aren't bytes.

    Example:
        >>> flat, noisy = torch.zeros(28, 28), torch.randint(0, 256, (28, 28))
        >>> plain, complicated = complexity_bits(torch.stack([flat, noisy]).to(torch.uint8))
        >>> bool(plain < complicated / 10)
        True
    """
    if images.dtype != torch.uint8:
        raise ValueError(f"images: expected uint8, got {images.dtype}")
    if images.dim() != 4:
        sizes("images", images, "N height width")
    unknown = [name for name in compressors if name not in COMPRESSORS]
    if unknown or not compressors:
        known = ", ".join(COMPRESSORS)
        raise ValueError(f"compressors: expected some of {known}, got {list(compressors)}")
    chosen = [COMPRESSORS[name] for name in compressors]
    bits = [8.0 * min(one(image) for one in chosen) for image in images]
    return torch.tensor(bits, device=images.device)


def ood_score(nll_bits: Tensor, complexity: Tensor) -> Tensor:
    """S: high for what lies outside the distribution.

    Args:
        nll_bits: (N,): -log2 p of each image.
        complexity: (N,): L, in the same unit: bits, or bits per dimension.

    Returns:
        (N,).

    Example:
        >>> ood_score(torch.tensor([100.0]), torch.tensor([90.0]))
        tensor([10.])
    """
    (n,) = sizes("nll_bits", nll_bits, "N")
    sizes("complexity", complexity, "N", N=n)
    return nll_bits - complexity.to(nll_bits)


def per_dimension(bits: Tensor, dimensions: int) -> Tensor:
    """Bits of images as bits per dimension.

    Example:
        >>> per_dimension(torch.tensor([784.0]), 784)
        tensor([1.])
    """
    return bits / dimensions
