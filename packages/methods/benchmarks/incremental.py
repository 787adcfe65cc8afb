"""Times to reach a share: quadrature against an integrator of the flow, and a step of training."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from common import Benchmark, Work
from scipy.integrate import solve_ivp

from iclr2020.optimization.incremental import flow, time_to_reach

DEPTH, START, SHARE = 3, 1e-3, 0.9


def _targets(count: int) -> torch.Tensor:
    return torch.linspace(1, 5, count, dtype=torch.float64)


def integrated(targets: torch.Tensor) -> torch.Tensor:
    """Each by itself, until the share is reached."""
    found = []
    for target in targets:

        def velocity(_: float, x: object, target: torch.Tensor = target) -> object:
            return flow(torch.as_tensor(x), target, DEPTH).numpy()

        def reached(_: float, x: object, target: torch.Tensor = target) -> float:
            return float(torch.as_tensor(x)[0] - SHARE * target)

        reached.terminal = True  # type: ignore[attr-defined]
        done = solve_ivp(velocity, (0, 1e4), [START], events=reached, rtol=1e-6, atol=1e-9)
        found.append(float(done.t_events[0][0]))
    return torch.tensor(found, dtype=torch.float64)


def _rivals(count: int) -> Mapping[str, Work]:
    targets = _targets(count)
    return {
        "time_to_reach": lambda: time_to_reach(SHARE, START, targets, DEPTH),
        "solve_ivp": lambda: integrated(targets),
    }


def _same(count: int) -> None:
    targets = _targets(count)
    torch.testing.assert_close(
        time_to_reach(SHARE, START, targets, DEPTH), integrated(targets), rtol=1e-3, atol=1e-3
    )


BENCHMARKS = [Benchmark("Time to learn a value", "values", (4, 32), _rivals, same=_same)]
