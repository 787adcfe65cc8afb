"""What every module of this package does: one test a duty, over all of them."""

from __future__ import annotations

import copy
import importlib
import io
import pkgutil
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

import iclr2020
from iclr2020.checks import ShapeError

from . import cases
from .cases import Case

NO_GPU = "needs PyTorch and a GPU"


def _all() -> list[Case]:
    found: list[Case] = []
    for module in sorted(pkgutil.iter_modules(cases.__path__), key=lambda one: one.name):
        found += importlib.import_module(f"{cases.__name__}.{module.name}").CASES
    return found


@pytest.fixture(params=["default", pytest.param("cuda", marks=pytest.mark.gpu)], autouse=True)
def _device(request: pytest.FixtureRequest) -> Iterator[None]:
    """All of it again on a GPU, where there is one."""
    if request.param == "default":
        yield
        return
    if not torch.cuda.is_available():
        pytest.skip(NO_GPU)
    with torch.device("cuda"):
        yield


pytestmark = pytest.mark.parametrize("case", _all(), ids=lambda case: case.name)


def _call(module: nn.Module, inputs: tuple[Tensor, ...], seed: int = 0) -> tuple[Tensor, ...]:
    torch.manual_seed(seed)
    out = module(*inputs)
    flat = out if isinstance(out, tuple) else (out,)
    return tuple(one for part in flat for one in (part if isinstance(part, tuple) else (part,)))


def _smooth(outs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(one for one in outs if one.is_floating_point() and one.requires_grad)


def test_gradients_reach_every_parameter(case: Case) -> None:
    module = case.make()
    total = torch.stack(
        [one.square().sum() for one in _smooth(_call(module, case.inputs()))]
    ).sum()
    total.backward()
    for name, parameter in module.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_its_gradient_is_that_of_what_it_computes(case: Case) -> None:
    if not case.gradcheck:
        return
    module, inputs = case.make().double(), case.inputs()
    first = inputs[0].double().requires_grad_()
    rest = tuple(one.double() if one.is_floating_point() else one for one in inputs[1:])
    assert torch.autograd.gradcheck(lambda x: _smooth(_call(module, (x, *rest))), first)


def test_its_state_makes_another_one_the_same(case: Case) -> None:
    one, other, inputs = case.make(), case.make(), case.inputs()
    with torch.no_grad():
        for parameter in one.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    _call(one, inputs)  # what it learns of its inputs, such as moving averages
    file = io.BytesIO()
    torch.save(one.state_dict(), file)
    file.seek(0)
    device = inputs[0].device
    other.load_state_dict(torch.load(file, map_location=device, weights_only=True))
    same = [_call(each.eval(), inputs) for each in (one, other, copy.deepcopy(one))]
    for again in same[1:]:
        for left, right in zip(same[0], again, strict=True):
            torch.testing.assert_close(left, right, rtol=0, atol=0)


def test_the_same_seed_gives_the_same(case: Case) -> None:
    module, inputs = case.make().eval(), case.inputs()
    runs = [_call(module, inputs, seed) for seed in (0, 0, 1)]
    assert all(torch.equal(*pair) for pair in zip(runs[0], runs[1], strict=True))
    differs = any(not torch.equal(*pair) for pair in zip(runs[0], runs[2], strict=True))
    assert differs == case.random


def test_eval_changes_nothing_unless_it_says_so(case: Case) -> None:
    module, inputs = case.make(), case.inputs()
    training, evaluated = _call(module, inputs), _call(module.eval(), inputs)
    same = all(torch.equal(*pair) for pair in zip(training, evaluated, strict=True))
    assert same != case.eval_differs


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dtype_follows_the_input(case: Case, dtype: torch.dtype) -> None:
    inputs = tuple(one.to(dtype) if one.is_floating_point() else one for one in case.inputs())
    for out in _smooth(_call(case.make().to(dtype), inputs)):
        assert out.dtype == dtype
        assert out.device == inputs[0].device


def test_order_means_nothing_where_it_says_so(case: Case) -> None:
    if case.permuted is None:
        return
    module, (x, *rest) = case.make().eval(), case.inputs()
    order = torch.randperm(x.shape[case.permuted])
    given = _call(module, (x, *rest))
    permuted = _call(module, (x.index_select(case.permuted, order), *rest))
    for left, right in zip(given, permuted, strict=True):
        wanted = left.index_select(case.permuted, order) if case.equivariant else left
        torch.testing.assert_close(wanted, right)


def test_a_wrong_shape_is_told(case: Case) -> None:
    with pytest.raises(ShapeError, match=r"expected shape \(.*\), got \(.*\)"):
        _call(case.make(), case.wrong())


def test_it_can_be_cited(case: Case) -> None:
    assert iclr2020.references(nn.Sequential(case.make()))
