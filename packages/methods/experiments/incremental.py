"""Incremental learning: in which order, and how far apart, values are learned at each depth."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path

import torch
from common import Experiment, Row, Rows, Verdict, main, mean, pick

from iclr2020.optimization.incremental import DeepLinear, Factorized, is_incremental, passed, train

DEPTHS = (1, 2, 3, 4)


def run(arguments: Namespace) -> Iterator[Row]:
    """Targets that are drawn around 4, 3, 2, 1; then a symmetric matrix with these values."""
    torch.set_default_dtype(torch.float64)
    targets = torch.tensor([4.0, 3.0, 2.0, 1.0]) + 0.4 * (torch.rand(4) - 0.5)
    depth = arguments.depth
    model = Factorized(4, depth, arguments.start)
    path = train(
        model,
        lambda x: (x - targets).square().sum() / 2,
        lambda x: x,
        lr=arguments.lr,
        steps=arguments.steps,
    )
    yield from _rows("factors", depth, path, targets)
    for step in range(0, len(path), max(1, len(path) // 200)):
        yield {"model": "path", "depth": depth, "step": step, "values": path[step].tolist()}
    turn = torch.linalg.qr(torch.randn(4, 4)).Q
    target = turn @ torch.diag(targets) @ turn.T
    path = train(
        DeepLinear(4, depth, arguments.start),
        lambda x: (x - target).square().sum() / 2,
        torch.linalg.svdvals,
        lr=arguments.lr,
        steps=arguments.steps,
    )
    yield from _rows("deep linear net", depth, path, targets)


def _rows(model: str, depth: int, path: torch.Tensor, targets: torch.Tensor) -> Iterator[Row]:
    low, high = passed(path, targets)
    told = {f"starts {n}": step for n, step in enumerate(low.tolist(), 1)}
    told |= {f"ends {n}": step for n, step in enumerate(high.tolist(), 1)}
    one_by_one = is_incremental(path, targets, 0.1, 0.9).double().mean().item()
    yield {"model": model, "depth": depth, "one by one": one_by_one, **told}


def judge(rows: Rows) -> Verdict:
    """One after the other from three factors on, and not with fewer."""
    depths = sorted({row["depth"] for row in rows})
    found = {
        (model, depth): mean(rows, "one by one", model=model, depth=depth)
        for model in ("factors", "deep linear net")
        for depth in depths
    }
    why = "share of neighbouring values that are learned one after the other: " + "; ".join(
        f"{model} {', '.join(f'{found[model, depth]:.2f}' for depth in depths)} for depths "
        f"{', '.join(map(str, depths))}"
        for model in ("factors", "deep linear net")
    )
    deep = all(found[key] == 1 for key in found if key[1] >= 3)
    shallow = all(found[key] < 1 for key in found if key[1] < 3)
    if deep and shallow:
        return Verdict("reproduced", why)
    return Verdict("partly" if deep or shallow else "not at this scale", why)


def figure(rows: Rows, path: Path) -> None:
    """The values over the steps, a panel a depth."""
    from matplotlib import pyplot

    depths, seed = sorted({row["depth"] for row in rows}), min(row["seed"] for row in rows)
    drawing, panels = pyplot.subplots(
        1, len(depths), figsize=(11, 2.6), sharey=True, squeeze=False
    )
    for axes, depth in zip(panels[0], depths, strict=True):
        points = pick(rows, model="path", depth=depth, seed=seed)
        axes.plot([row["step"] for row in points], [row["values"] for row in points])
        axes.set(title=f"depth {depth}", xlabel="step")
    panels[0, 0].set_ylabel("value")
    drawing.tight_layout()
    drawing.savefig(path, dpi=120)
    pyplot.close(drawing)


def options(parser: ArgumentParser) -> None:
    """How much of it."""
    add = parser.add_argument
    add("--depth", type=int, default=3, help="factors of each value (default: 3)")
    add("--start", type=float, default=1e-4, help="what each value begins as (default: 1e-4)")
    add("--lr", type=float, default=2e-3, help="of gradient descent (default: 0.002)")
    add("--steps", type=int, default=20_000, help="of gradient descent (default: 20000)")


EXPERIMENT = Experiment(
    name="incremental",
    method="Incremental learning (`iclr2020.optimization.incremental`)",
    claim="The deeper the product of factors, the more clearly gradient descent learns one value "
    "after the other, the largest first; without depth it learns all at once.",
    data="four targets near 4, 3, 2 and 1; the same as singular values of a symmetric matrix",
    setting="all values begin as 1e-4; 20,000 steps of gradient descent with rate 0.002; steps at "
    "which each value passes 10 % (starts) and 90 % (ends) of its target, -1 for never",
    sweep={"seed": range(3), "depth": DEPTHS},
    options=options,
    run=run,
    by=("model", "depth"),
    metrics={
        "one by one": ".2f",
        **{f"{what} {n}": ".0f" for n in range(1, 5) for what in ("starts", "ends")},
    },
    judge=judge,
    quick=("--steps", "20"),
    figure=figure,
)

if __name__ == "__main__":
    main(EXPERIMENT)
