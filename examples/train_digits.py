"""Train a small classifier of handwritten digits; an example of a job for a GPU queue.

    python examples/train_digits.py --lr 0.1 --batch-size 32

The data are scikit-learn's 1797 images of 8 x 8 pixels, which its package ships. The model is
a network with one hidden layer (`--hidden 0`: none, which is softmax regression), trained by
minibatch SGD with momentum and weight decay. Where PyTorch and a GPU are there it trains on
the GPU that `CUDA_VISIBLE_DEVICES` names, otherwise in NumPy on one CPU core: the same start,
the same batches and the same update, so the same result up to rounding.

The last line of the output is one JSON object with the settings and the metrics. That is all
a job has to do for `sgs results` to rank it.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

# Several jobs share the machine: one BLAS thread each, unless the user asks for more. These
# variables are read when NumPy is imported, so they are set before.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import numpy as np  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Array = NDArray[np.float32]
    Labels = NDArray[np.int64]
    Weights = list[Array]  # W1, b1, W2, b2; or W, b without a hidden layer

CLASSES = 10
SPLIT_SEED = 0  # the split does not depend on --seed: all runs are judged on the same images


@dataclass(frozen=True)
class Split:
    """Images as rows of 64 numbers in [0, 1], and their digits."""

    images: Array
    digits: Labels


def load_data() -> tuple[Split, Split, Split]:
    """Return 60 % of the images for training, 20 % for validation and 20 % for the test."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise SystemExit(
            "train_digits.py: error: the data come with scikit-learn, which is not installed; "
            "install it with: pip install scikit-learn"
        ) from None
    images, digits = load_digits(return_X_y=True)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(digits))
    first, second = len(order) * 6 // 10, len(order) * 8 // 10
    train, valid, test = (
        Split((images[rows] / 16).astype(np.float32), digits[rows].astype(np.int64))
        for rows in np.split(order, [first, second])
    )
    return train, valid, test


def initial_weights(inputs: int, hidden: int, rng: np.random.Generator) -> Weights:
    """Draw He-scaled weights and zero biases."""
    sizes = [inputs, hidden, CLASSES] if hidden else [inputs, CLASSES]
    weights: Weights = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        scale = math.sqrt(2 / fan_in)
        weights.append((rng.standard_normal((fan_in, fan_out)) * scale).astype(np.float32))
        weights.append(np.zeros(fan_out, dtype=np.float32))
    return weights


def batches(count: int, size: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    """Yield the row numbers of one epoch's batches, in a new order."""
    order = rng.permutation(count)
    for start in range(0, count, size):
        yield order[start : start + size]


class NumpyModel:
    """The network, its gradient and its SGD step, written out in NumPy."""

    device = "cpu"

    def __init__(self, weights: Weights, args: argparse.Namespace) -> None:
        self.weights = [w.copy() for w in weights]
        self.velocity = [np.zeros_like(w) for w in weights]
        self.lr, self.momentum, self.weight_decay = args.lr, args.momentum, args.weight_decay

    def _forward(self, images: Array) -> tuple[Array, Array]:
        """Return the last layer's inputs and the log-probabilities of the classes."""
        features = images
        if len(self.weights) == 4:
            features = np.maximum(images @ self.weights[0] + self.weights[1], 0)
        logits = features @ self.weights[-2] + self.weights[-1]
        logits = logits - logits.max(axis=1, keepdims=True)
        return features, logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def step(self, images: Array, digits: Labels) -> None:
        """Move the weights once against the gradient of the batch's mean cross-entropy."""
        features, log_p = self._forward(images)
        delta = np.exp(log_p)
        delta[np.arange(len(digits)), digits] -= 1
        delta /= len(digits)
        gradients = [features.T @ delta, delta.sum(axis=0)]
        if len(self.weights) == 4:
            delta = (delta @ self.weights[2].T) * (features > 0)
            gradients = [images.T @ delta, delta.sum(axis=0), *gradients]
        for weight, velocity, gradient in zip(self.weights, self.velocity, gradients, strict=True):
            velocity *= self.momentum
            velocity += gradient + self.weight_decay * weight
            weight -= self.lr * velocity

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Return the mean cross-entropy and the share of right answers."""
        log_p = self._forward(split.images)[1]
        loss = -log_p[np.arange(len(split.digits)), split.digits].mean()
        return float(loss), float((log_p.argmax(axis=1) == split.digits).mean())

    def export(self) -> Weights:
        """Return the weights as NumPy arrays."""
        return self.weights


class TorchModel:
    """The same network and the same step in PyTorch, on the GPU where there is one."""

    def __init__(self, weights: Weights, args: argparse.Namespace) -> None:
        import torch

        self.torch = torch
        torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.weights = [torch.tensor(w, device=self.device, requires_grad=True) for w in weights]
        self.optimizer = torch.optim.SGD(
            self.weights, lr=args.lr, momentum=args.momentum, weight_decay=args.weight_decay
        )

    def _logits(self, images: Array) -> Any:
        features = self.torch.from_numpy(images).to(self.device)
        if len(self.weights) == 4:
            features = self.torch.relu(features @ self.weights[0] + self.weights[1])
        return features @ self.weights[-2] + self.weights[-1]

    def step(self, images: Array, digits: Labels) -> None:
        """Move the weights once against the gradient of the batch's mean cross-entropy."""
        answers = self.torch.from_numpy(digits).to(self.device)
        loss = self.torch.nn.functional.cross_entropy(self._logits(images), answers)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()

    def evaluate(self, split: Split) -> tuple[float, float]:
        """Return the mean cross-entropy and the share of right answers."""
        with self.torch.no_grad():
            logits = self._logits(split.images)
            answers = self.torch.from_numpy(split.digits).to(self.device)
            loss = self.torch.nn.functional.cross_entropy(logits, answers)
            right = (logits.argmax(dim=1) == answers).float().mean()
        return float(loss), float(right)

    def export(self) -> Weights:
        """Return the weights as NumPy arrays."""
        return [w.detach().cpu().numpy() for w in self.weights]


def choose_model(backend: str) -> type[NumpyModel] | type[TorchModel]:
    """PyTorch if asked for, or if it is installed and sees a GPU; else NumPy."""
    if backend == "numpy":
        return NumpyModel
    try:
        import torch
    except ImportError:
        if backend == "torch":
            raise SystemExit(
                "train_digits.py: error: --backend torch needs PyTorch: https://pytorch.org"
            ) from None
        return NumpyModel
    return TorchModel if backend == "torch" or torch.cuda.is_available() else NumpyModel


def train(args: argparse.Namespace) -> dict[str, Any]:
    """Train, say how it goes, and return the settings and the metrics."""
    train_split, valid_split, test_split = load_data()
    rng = np.random.default_rng(args.seed)
    weights = initial_weights(train_split.images.shape[1], args.hidden, rng)
    model = choose_model(args.backend)(weights, args)

    started = time.perf_counter()
    diverged = False
    for epoch in range(1, args.epochs + 1):
        for rows in batches(len(train_split.digits), args.batch_size, rng):
            model.step(train_split.images[rows], train_split.digits[rows])
        loss, accuracy = model.evaluate(valid_split)
        print(
            f"epoch {epoch}/{args.epochs}  val_loss {loss:.4f}  val_accuracy {accuracy:.4f}",
            flush=True,
        )
        diverged = not math.isfinite(loss)
        if diverged:
            print("diverged: the loss is not a number; a smaller --lr helps", flush=True)
            break
    seconds = time.perf_counter() - started

    metrics: dict[str, float | None] = {}
    for name, split in (("train", train_split), ("val", valid_split), ("test", test_split)):
        loss, accuracy = model.evaluate(split)
        metrics[f"{name}_loss"] = None if diverged else round(loss, 6)
        metrics[f"{name}_accuracy"] = None if diverged else round(accuracy, 6)
    if args.output:
        save(args.output, model.export())
    settings = {name: value for name, value in vars(args).items() if name != "output"}
    return settings | {
        "device": model.device,
        **metrics,
        "diverged": diverged,
        "train_seconds": round(seconds, 3),
    }


def save(path: str, weights: Weights) -> None:
    """Write the weights to a NumPy .npz file, which is there either whole or not at all."""
    names = ["W1", "b1", "W2", "b2"] if len(weights) == 4 else ["W", "b"]
    temporary = f"{path}.{os.getpid()}.tmp"
    try:
        with open(temporary, "wb") as file:
            np.savez(file, **dict(zip(names, weights, strict=True)))
        os.replace(temporary, path)
    except OSError as error:
        raise SystemExit(f"train_digits.py: error: --output {path}: {error.strerror}") from None


def positive(text: str) -> float:
    """Parse a number above 0."""
    value = float(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected a number above 0, got {text}")
    return value


def not_negative(text: str) -> float:
    """Parse a number of at least 0."""
    value = float(text)
    if not (value >= 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"expected a number of at least 0, got {text}")
    return value


def fraction(text: str) -> float:
    """Parse a number in [0, 1)."""
    value = float(text)
    if not 0 <= value < 1:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to below 1, got {text}")
    return value


def count(text: str) -> int:
    """Parse a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return value


def size(text: str) -> int:
    """Parse a whole number of at least 0."""
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 0, got {text}")
    return value


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Train a small classifier of handwritten digits (scikit-learn's digits).",
        epilog="The last line of the output is a JSON object with the settings and metrics.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--lr", type=positive, default=0.1, help="learning rate")
    add("--batch-size", type=count, default=32, help="images a step")
    add("--epochs", type=count, default=200, help="passes over the training images")
    add("--hidden", type=size, default=256, help="hidden units; 0: softmax regression")
    add("--momentum", type=fraction, default=0.0, help="momentum of SGD")
    add("--weight-decay", type=not_negative, default=0.0, help="L2 penalty's weight")
    add("--seed", type=size, default=0, help="of the initial weights and the batches")
    add(
        "--backend",
        choices=("auto", "numpy", "torch"),
        default="auto",
        help="auto: PyTorch where it is installed and sees a GPU, else NumPy",
    )
    add("--output", metavar="FILE", help="save the trained weights here (NumPy .npz)")
    return parser.parse_args(argv)


def main() -> int:
    """Train once and print the result as the last line."""
    with np.errstate(all="ignore"):  # a run that diverges is reported, not warned about
        result = train(parse_args())
    print(json.dumps(result, allow_nan=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
