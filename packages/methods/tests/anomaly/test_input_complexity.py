"""Input complexity: units, compressors, and a model that is the compressor itself."""

from __future__ import annotations

import lzma
import zlib

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from iclr2020.anomaly.input_complexity import (
    COMPRESSORS,
    complexity_bits,
    ood_score,
    per_dimension,
    png_filtered,
)


def pictures(count: int = 6, side: int = 12, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, side, side), generator=generator).to(torch.uint8)


@pytest.mark.parametrize("name", list(COMPRESSORS))
def test_a_flat_image_takes_least_and_noise_takes_all(name: str) -> None:
    ramp = torch.arange(32).repeat(32, 1).to(torch.uint8)
    flat, noise = torch.full((32, 32), 7, dtype=torch.uint8), pictures(1, 32)[0]
    sizes = complexity_bits(torch.stack([flat, ramp, noise]), [name])
    assert sizes[0] <= sizes[1] < sizes[2]
    assert sizes[2] >= 8 * 32 * 32 * 0.95  # noise can't be compressed


def test_it_is_the_least_of_all_and_in_bits() -> None:
    images = pictures()
    each = torch.stack([complexity_bits(images, [name]) for name in COMPRESSORS])
    torch.testing.assert_close(complexity_bits(images, list(COMPRESSORS)), each.amin(0))
    by_hand = min(len(zlib.compress(one, 9)) for one in png_filtered(images[0]))
    assert complexity_bits(images[:1], ["zlib"]).item() == 8 * by_hand


@given(st.integers(0, 1000), st.booleans())
def test_filters_can_be_undone(seed: int, colour: bool) -> None:
    image = pictures(1, 5, seed)[0]
    if colour:
        image = torch.stack([image, image + 1, image * 3], -1)
    plain, left, above = (
        torch.frombuffer(bytearray(one), dtype=torch.uint8).view(image.shape).int()
        for one in png_filtered(image)
    )
    assert torch.equal(plain.to(torch.uint8), image)
    assert torch.equal((left.cumsum(1) % 256).to(torch.uint8), image)
    assert torch.equal((above.cumsum(0) % 256).to(torch.uint8), image)


@pytest.mark.parametrize("channels", [1, 3])
def test_images_with_channels(channels: int) -> None:
    images = torch.stack([pictures(3)] * channels, -1)
    for name in COMPRESSORS:
        assert complexity_bits(images, [name]).shape == (3,)
    if channels == 1:
        everything = list(COMPRESSORS)
        grey = complexity_bits(pictures(3), everything)
        assert torch.equal(complexity_bits(images, everything), grey)


@pytest.mark.parametrize("side", [0, 1])
def test_the_smallest_images(side: int) -> None:
    assert complexity_bits(pictures(2, side)).gt(0).all()
    assert complexity_bits(pictures(0, side)).shape == (0,)


def test_lzmas_window_reaches_over_the_whole_image() -> None:
    half = pictures(1, 80)[0]
    image = torch.cat([half, half])  # what repeats is 6400 bytes away
    preset = {"id": lzma.FILTER_LZMA2, "preset": 9, "lc": 1}  # a window of 64 MiB
    wide = [
        len(lzma.compress(one, lzma.FORMAT_RAW, filters=[preset])) for one in png_filtered(image)
    ]
    assert complexity_bits(image[None], ["lzma"]).item() == 8 * min(wide)


def test_a_model_that_is_the_compressors_code_scores_0() -> None:
    images = pictures()
    bits = complexity_bits(images)
    assert ood_score(bits, bits).eq(0).all()


def test_a_simple_image_with_a_high_likelihood_is_found() -> None:
    """A model of the pixels' spread alone likes flat images best, and S doesn't."""
    torch.manual_seed(0)
    texture = (100 + 20 * torch.randn(40, 16, 16)).clamp(0, 255).to(torch.uint8)
    flat = (
        torch.full((40, 16, 16), 100, dtype=torch.uint8)
        + torch.arange(40).view(-1, 1, 1).to(torch.uint8) % 3
    )
    model = torch.distributions.Normal(100.0, 20.0)
    nll = torch.cat([-model.log_prob(x.double()).flatten(1).sum(1) for x in (texture, flat)])
    nll_bits = nll / torch.tensor(2.0).log()
    outside = [0] * 40 + [1] * 40
    complexity = complexity_bits(torch.cat([texture, flat]))
    assert roc_auc_score(outside, nll_bits) < 0.05
    assert roc_auc_score(outside, ood_score(nll_bits, complexity)) > 0.95
    wrong = nll_bits + complexity  # the sign as it is sometimes written
    assert roc_auc_score(outside, wrong) < 0.05


def test_a_constant_changes_no_ranking() -> None:
    torch.manual_seed(0)
    nll, bits = torch.rand(20), torch.rand(20)
    assert torch.equal(ood_score(nll, bits).argsort(), ood_score(nll, bits + 5).argsort())


def test_bits_per_dimension_are_the_same_ranking() -> None:
    nll, bits = torch.rand(9), torch.rand(9)
    whole = ood_score(nll, bits)
    torch.testing.assert_close(ood_score(per_dimension(nll, 4), per_dimension(bits, 4)), whole / 4)


@pytest.mark.parametrize("names", [[], ["flac"]])
def test_unknown_compressors_are_told(names: list[str]) -> None:
    with pytest.raises(ValueError, match="expected some of zlib, bz2"):
        complexity_bits(pictures(), names)


def test_images_that_are_no_bytes_are_told() -> None:
    with pytest.raises(ValueError, match=r"expected uint8, got torch\.float"):
        complexity_bits(torch.rand(1, 4, 4))
    with pytest.raises(ValueError, match=r"images: expected shape \(N, height, width\)"):
        complexity_bits(torch.zeros(4, 4, dtype=torch.uint8))
