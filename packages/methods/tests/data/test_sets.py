"""The real data sets out of the real packages; the large ones out of archives made alike."""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import tarfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from iclr2020 import data
from iclr2020.data import images, sources
from iclr2020.data.sources import DataError, DataSet, Source


def test_5000_digits(small: Path) -> None:
    pictures, labels = data.mnist_5k()
    assert pictures.shape == (5000, 28, 28)
    assert pictures.dtype == torch.uint8
    assert labels.bincount().tolist() == [500] * 10
    assert pictures.max() == 255
    middle, edge = pictures[:, 8:20, 8:20], pictures[:, :, :2]
    assert middle.float().mean() > 100 * edge.float().mean()


def test_animals(small: Path) -> None:
    pictures, labels = data.animals()
    assert pictures.shape == (10_000, 28, 28)
    assert pictures.dtype == torch.uint8
    assert labels.dtype == torch.int64
    assert labels.unique().tolist() == list(range(10))


def test_digits_come_with_scikit_learn() -> None:
    pictures, labels = data.digits()
    assert pictures.shape == (1797, 8, 8)
    assert (pictures.min(), pictures.max()) == (0, 16)
    assert len(labels) == 1797


def test_mutag(small: Path) -> None:
    graphs = data.mutag()
    assert graphs.nodes.shape == (3371, 7)
    assert graphs.nodes.sum(1).eq(1).all()
    assert graphs.labels.bincount().tolist() == [63, 125]
    assert graphs.edges.shape == (2, 7442)
    assert torch.equal(graphs.graph[graphs.edges[0]], graphs.graph[graphs.edges[1]])
    assert graphs.graph.diff().ge(0).all()
    assert graphs.graph.unique().tolist() == list(range(188))
    assert {tuple(edge) for edge in graphs.edges.T.tolist()} == {
        tuple(edge) for edge in graphs.edges.flip(0).T.tolist()
    }


@pytest.mark.parametrize(("split", "count"), [("train", 1025), ("test", 257)])
def test_molecules(small: Path, split: str, count: int) -> None:
    graphs = data.molecules(split)
    assert len(graphs.labels) == count
    assert graphs.graph.unique().tolist() == list(range(count))
    assert torch.equal(graphs.graph[graphs.edges[0]], graphs.graph[graphs.edges[1]])
    assert graphs.nodes.sum(1).eq(1).all()
    assert -12 < graphs.labels.min() < graphs.labels.max() < 2
    assert graphs.kinds == data.molecules("test").kinds


def test_patients(small: Path) -> None:
    names, values, labels = data.rhc()
    assert values.shape == (5735, len(names))
    assert labels.sum() == 1918
    missing = dict(zip(names, values.isnan().float().mean(0).tolist(), strict=True))
    assert missing["urin1"] == pytest.approx(0.528, abs=1e-3)
    assert missing["adld3p"] == pytest.approx(0.7486, abs=1e-3)
    assert missing["age"] == 0
    assert not {"dth30", "death", "t3d30", "swang1", "ptid"} & set(names)
    assert values[:, names.index("wtkilo1")].nan_to_num(1).min() > 0


def test_showers(small: Path) -> None:
    names, values, labels = data.magic()
    assert values.shape == (19_020, len(names))
    assert values.isfinite().all()
    assert labels.bincount().tolist() == [6688, 12_332]
    assert len(values.unique(dim=0)) == 19_020 - 115
    alpha = values[:, names.index("fAlpha")]  # the angle to the source
    assert (alpha.min(), alpha.max()) == (0, 90)
    assert alpha[labels == 1].mean() < alpha[labels == 0].mean()


def test_plays(small: Path) -> None:
    text = data.shakespeare()
    assert len(text) == 5_057_198 - 0
    assert "\r" not in text
    assert "To be, or not to be" in text
    assert "Paradise" not in text[:100_000]


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_another_split_is_told(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ICLR2020_DATA", str(tmp_path))
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path)
    with pytest.raises(DataError, match="test images"):
        getattr(data, name)("test")
    with pytest.raises(DataError, match="isn't in"):
        getattr(data, name)("train")


def archive(folder: Path, path: str, content: bytes) -> None:
    """An sdist with one file."""
    with tarfile.open(folder / "large-1.0.tar.gz", "w:gz") as made:
        about = tarfile.TarInfo(f"large-1.0/{path}")
        about.size = len(content)
        made.addfile(about, io.BytesIO(content))


class Large(NamedTuple):
    """What the large package is like."""

    content: bytes
    decoded: str  #: the checksum of what is to come out


@pytest.fixture(scope="session")
def content() -> Large:
    """60,000 images of zeros but for one pixel, as the large package has them."""
    pixels = np.zeros((60_000, 784))
    pixels[np.arange(60_000), np.arange(60_000) % 784] = 0.255
    labels = np.arange(60_000) % 10
    pickled = pickle.dumps({"train_X": pixels, "train_Y(num)": labels.astype(float)}, 4)
    wanted = np.concatenate([np.rint(pixels * 1000).astype(np.uint8).ravel(), labels])
    digest = hashlib.sha256(wanted.astype(np.uint8)).hexdigest()
    return Large(gzip.compress(pickled, 1), digest)


@pytest.fixture
def large(content: Large, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A data folder with that package."""
    archive(tmp_path, "x/images.gz", content.content)
    digest = hashlib.sha256(content.content).hexdigest()
    source = Source("large", "1.0", False, {"x/images.gz": digest})
    monkeypatch.setattr(sources, "SETS", {"mnist": DataSet("", source)})
    monkeypatch.setattr(images, "_DECODED", {"mnist": content.decoded})
    monkeypatch.setenv("ICLR2020_DATA", str(tmp_path))
    return tmp_path


def test_thousandths_become_bytes_and_are_kept(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    train, validation = data.mnist("train"), data.mnist("validation")
    assert train.images.shape == (50_000, 28, 28)
    assert validation.images.shape == (10_000, 28, 28)
    assert validation.labels[:3].tolist() == [0, 1, 2]
    assert train.images.flatten(1).max(1).values.eq(255).all()
    assert train.images[5].flatten().argmax() == 5
    with pytest.raises(DataError, match="got 'all'"):
        data.mnist("all")

    def fail(name: str) -> None:
        raise AssertionError("it was kept")

    monkeypatch.setattr(images, "_of_pickle", fail)
    assert torch.equal(data.mnist("train").images, train.images)


@pytest.mark.parametrize("torn", [b"", b"\x93NUMPY", b"garbage"])
def test_what_was_kept_and_torn_is_made_anew(large: Path, torn: bytes) -> None:
    before = data.mnist("train")
    kept = large / "decoded" / "mnist.npy"
    whole = kept.read_bytes()
    kept.write_bytes(torn or whole[:-1] + bytes([whole[-1] ^ 1]))
    assert torch.equal(data.mnist("train").labels, before.labels)
    assert kept.read_bytes() == whole


def test_two_may_make_it_at_once(large: Path) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(data.mnist, ["train", "train"])
    assert torch.equal(first.images, second.images)
    assert [path.name for path in (large / "decoded").iterdir()] == ["mnist.npy"]


def test_where_nothing_can_be_kept_it_is_read_all_the_same(large: Path) -> None:
    (large / "decoded").write_bytes(b"a file where the folder should be")
    assert len(data.mnist("validation").labels) == 10_000


def test_what_is_decoded_is_held_to_a_checksum(
    large: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(images, "_DECODED", {"mnist": "0" * 64})
    with pytest.raises(DataError, match="read as something else"):
        data.mnist()


def idx(array: np.ndarray) -> bytes:
    head = bytes((0, 0, 8, array.ndim)) + b"".join(n.to_bytes(4, "big") for n in array.shape)
    return gzip.compress(head + array.astype(np.uint8).tobytes())


def test_debians_fashion_has_a_test_split(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digests = {}
    for part, count in (("train", 60_000), ("t10k", 10_000)):
        for what, array in (
            ("images-idx3", np.zeros((count, 2, 2))),
            ("labels-idx1", np.arange(count) % 10),
        ):
            content = idx(array)
            (tmp_path / f"{part}-{what}-ubyte.gz").write_bytes(content)
            digests[f"{part}-{what}-ubyte.gz"] = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr(sources, "_DEBIAN", tmp_path)
    monkeypatch.setattr(sources, "FASHION_IDX", digests)
    sizes = {split: len(data.fashion_mnist(split).labels) for split in
             ("train", "validation", "test")}  # fmt: skip
    assert sizes == {"train": 50_000, "validation": 10_000, "test": 10_000}


def test_ratings_are_numbered_from_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = b'"","s","d","y"\n"1","10","7",5\n"2","9","7",2\n"3","10","80",1\n'
    archive(tmp_path, "csv/InstEval.csv", content)
    source = Source(
        "large", "1.0", False, {"csv/InstEval.csv": hashlib.sha256(content).hexdigest()}
    )
    monkeypatch.setattr(sources, "SETS", {"inst_eval": DataSet("", source)})
    monkeypatch.setenv("ICLR2020_DATA", str(tmp_path))
    found = data.inst_eval()
    assert found.users.tolist() == [1, 0, 1]
    assert found.items.tolist() == [0, 0, 1]
    assert found.values.tolist() == [5, 2, 1]
    assert (found.user_count, found.item_count) == (2, 2)
