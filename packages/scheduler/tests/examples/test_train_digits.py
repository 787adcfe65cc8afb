import importlib.util
import json
import subprocess
import sys

import pytest

pytest.importorskip("sklearn", reason="the example's data come with scikit-learn")
np = pytest.importorskip("numpy")


@pytest.fixture
def train(root):
    def run(*options, python=(sys.executable,)):
        return subprocess.run(
            [*python, "examples/train_digits.py", *map(str, options)],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


@pytest.fixture
def result(train):
    def run(*options):
        done = train(*options)
        assert done.stderr == ""
        assert done.returncode == 0
        return json.loads(done.stdout.splitlines()[-1])

    return run


def test_it_learns(result):
    found = result("--lr", 0.3, "--epochs", 10, "--hidden", 32)
    for split in ("train", "val", "test"):
        assert found[f"{split}_accuracy"] > 0.9  # chance is 0.1
        assert found[f"{split}_loss"] < 0.5
    assert found["device"] in ("cpu", "cuda")
    assert found["train_seconds"] > 0
    settings = {"lr": 0.3, "batch_size": 32, "epochs": 10, "hidden": 32, "momentum": 0.0}
    settings |= {"weight_decay": 0.0, "seed": 0, "diverged": False}
    assert settings.items() <= found.items()


def test_softmax_regression_learns(result):
    assert result("--hidden", 0, "--epochs", 5)["val_accuracy"] > 0.8


def test_learning_rate_and_batch_size_matter(result):
    slow = result("--lr", 0.001, "--batch-size", 512, "--epochs", 3)
    good = result("--lr", 0.3, "--batch-size", 16, "--epochs", 3)
    assert good["val_loss"] < slow["val_loss"] / 2


def test_a_seed_gives_the_same_numbers_again(result):
    options = ("--epochs", 2, "--momentum", 0.9, "--weight-decay", 1e-4, "--backend", "numpy")
    first, second, other = result(*options), result(*options), result(*options, "--seed", 1)
    for found in (first, second, other):
        del found["train_seconds"]
    assert first == second
    assert first["train_loss"] != other["train_loss"]


def test_it_prints_a_line_an_epoch(train):
    lines = train("--epochs", 3, "--hidden", 0).stdout.splitlines()
    assert len(lines) == 4
    assert lines[0].startswith("epoch 1/3  val_loss ")


def test_divergence_is_a_result(train):
    done = train("--lr", 1e35, "--backend", "numpy")
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["diverged"] is True
    assert found["val_loss"] is None
    assert found["val_accuracy"] is None
    assert "epoch 2/" not in done.stdout


def test_weights_are_saved_whole(result, tmp_path):
    path = tmp_path / "weights of a run"
    result("--epochs", 1, "--hidden", 8, "--output", path)
    with np.load(path) as weights:
        shapes = {name: weights[name].shape for name in weights.files}
    assert shapes == {"W1": (64, 8), "b1": (8,), "W2": (8, 10), "b2": (10,)}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--lr", "0"], "--lr: expected a number above 0, got 0"),
        (["--lr", "-1"], "--lr: expected a number above 0, got -1"),
        (["--lr", "nan"], "--lr: expected a number above 0, got nan"),
        (["--lr", "fast"], "--lr: invalid positive value: 'fast'"),
        (["--batch-size", "0"], "--batch-size: expected a whole number of at least 1, got 0"),
        (["--hidden", "-1"], "--hidden: expected a whole number of at least 0, got -1"),
        (["--momentum", "1"], "--momentum: expected a number from 0 to below 1, got 1"),
        (["--weight-decay", "inf"], "--weight-decay: expected a number of at least 0, got inf"),
    ],
)
def test_wrong_options(train, options, message):
    done = train(*options)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written(train):
    done = train("--epochs", 1, "--output", "no such folder/weights.npz")
    assert done.returncode == 1
    assert done.stderr == (
        "train_digits.py: error: --output no such folder/weights.npz: No such file or directory\n"
    )


def test_without_scikit_learn_it_says_what_to_install(train):
    code = (
        "import runpy, sys; sys.modules['sklearn.datasets'] = None; sys.argv = sys.argv[1:]; "
        "runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    done = train(python=(sys.executable, "-c", code))
    assert done.returncode == 1
    assert "pip install scikit-learn" in done.stderr
    assert "Traceback" not in done.stderr


def load_module(root):
    spec = importlib.util.spec_from_file_location(
        "train_digits", root / "examples" / "train_digits.py"
    )
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    try:
        spec.loader.exec_module(module)
    finally:
        del sys.modules[spec.name]
    return module


def test_the_numpy_step_follows_the_gradient(root):
    """Against central differences of the loss, in double precision."""
    module = load_module(root)
    rng = np.random.default_rng(0)
    images, digits = rng.random((7, 5)), rng.integers(0, module.CLASSES, 7)
    for hidden in (0, 4):
        args = module.parse_args(["--lr", "1", "--weight-decay", "0"])
        start = [w.astype(np.float64) for w in module.initial_weights(5, hidden, rng)]
        model = module.NumpyModel(start, args)
        model.step(images, digits)
        for k, weight in enumerate(start):
            numeric = np.zeros_like(weight)
            for index in np.ndindex(weight.shape):
                losses = []
                for sign in (1, -1):
                    moved = [w.copy() for w in start]
                    moved[k][index] += sign * 1e-6
                    probe = module.NumpyModel(moved, args)
                    losses.append(probe.evaluate(module.Split(images, digits))[0])
                numeric[index] = (losses[0] - losses[1]) / 2e-6
            assert np.allclose(weight - model.weights[k], numeric, atol=1e-7)


@pytest.mark.gpu
def test_on_a_gpu_torch_trains_to_the_same_numbers(result):
    if importlib.util.find_spec("torch") is None or not _has_gpu():
        pytest.skip("needs PyTorch and a GPU")
    options = ("--epochs", 3, "--momentum", 0.9, "--weight-decay", 1e-3, "--lr", 0.05)
    numpy, torch = (result(*options, "--backend", name) for name in ("numpy", "torch"))
    for name, value in numpy.items():
        if name.endswith(("_loss", "_accuracy")):
            assert torch[name] == pytest.approx(value, abs=2e-3)


def _has_gpu():
    import torch

    return torch.cuda.is_available()
