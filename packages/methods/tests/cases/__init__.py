"""One file a method: the modules that `test_contract.py` holds to what every module has to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Case:
    """A module, and what it is called with; both are made anew for each test.

    Attributes:
        name: of the test.
        make: the module, on the default device and in the default dtype.
        inputs: what `forward` gets, smallest shapes that mean something.
        wrong: inputs of a wrong shape, which raise a ShapeError that says what was expected.
        eval_differs: in eval mode it does something else, on purpose.
        random: `forward` draws random numbers.
        gradcheck: its gradient is that of a smooth function of the first input there.
        permuted: the dimension of the first input along which order means nothing, if there is
            one; `equivariant` says whether the output is permuted likewise or stays.
    """

    name: str
    make: Callable[[], nn.Module]
    inputs: Callable[[], tuple[Tensor, ...]]
    wrong: Callable[[], tuple[Tensor, ...]]
    eval_differs: bool = False
    random: bool = False
    gradcheck: bool = True
    permuted: int | None = None
    equivariant: bool = False


CASES: Sequence[Case] = ()
