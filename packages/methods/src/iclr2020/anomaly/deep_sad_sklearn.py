"""Deep SAD and Deep SVDD as an outlier detector of scikit-learn.

See `iclr2020.anomaly.deep_sad` for what it does. Needs scikit-learn:
`pip install "iclr2020-methods[sklearn]"`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from iclr2020.anomaly.deep_sad import REFERENCES, DeepSAD, deep_sad_loss, dense_encoder

try:
    from sklearn.base import BaseEstimator, OutlierMixin
    from sklearn.utils import check_random_state
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'scikit-learn 1.6 or later is needed; get it by: pip install "iclr2020-methods[sklearn]"'
    ) from error

__all__ = ["REFERENCES", "DeepSADDetector"]


class DeepSADDetector(OutlierMixin, BaseEstimator):  # type: ignore[misc]
    """Tell outliers by a small network; labels of some examples help.

    Each feature is scaled to lie between 0 and 1 in the training set. It isn't centred: a network
    without biases maps 0 to 0, which is away from the centre.

    Args:
        hidden: widths of the hidden layers.
        features: of the space of the centre.
        eta: the weight of labelled examples.
        epochs: of training.
        batch_size: examples in a batch.
        lr: learning rate of Adam.
        weight_decay: lambda.
        contamination: the share of the training set that is taken for outliers, up to 0.5.
        random_state: of the initial weights and of the batches.
        device: such as "cuda"; None: the CPU.

    Attributes:
        model_: the trained `DeepSAD`.
        offset_: scores below this are outliers.

    Example:
        >>> import numpy as np
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> detector = DeepSADDetector(random_state=0).fit(x)
        >>> detector.predict([[0.0, 0.1], [9.0, 9.0]])
        array([ 1, -1])
    """

    def __init__(
        self,
        *,
        hidden: tuple[int, ...] = (64, 32),
        features: int = 16,
        eta: float = 1.0,
        epochs: int = 50,
        batch_size: int = 128,
        lr: float = 1e-3,
        weight_decay: float = 1e-4,
        contamination: float = 0.1,
        random_state: Any = None,
        device: str | None = None,
    ) -> None:
        self.hidden = hidden
        self.features = features
        self.eta = eta
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.contamination = contamination
        self.random_state = random_state
        self.device = device

    def fit(self, X: Any, y: Any = None, semi: Any = None) -> DeepSADDetector:
        """Train on (n_samples, n_features).

        Args:
            X: examples.
            y: not used: outlier detectors of scikit-learn get class labels there.
            semi: (n_samples,): 0 unlabelled, 1 normal, -1 anomalous; None: no labels.
        """
        if not 0 < self.contamination <= 0.5:
            raise ValueError(f"contamination: expected 0 to 0.5, got {self.contamination}")
        X = validate_data(self, X, dtype=np.float64)
        self._low, span = X.min(0), np.ptp(X, 0)
        self._span = np.where(span > 0, span, 1.0)
        labels = torch.zeros(len(X)) if semi is None else torch.as_tensor(np.asarray(semi)).float()
        if labels.shape != (len(X),):
            raise ValueError(f"semi: expected shape ({len(X)},), got {tuple(labels.shape)}")
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self._train(self._tensor(X), labels.to(self.device or "cpu"))
        self.offset_ = np.percentile(self.score_samples(X), 100 * self.contamination)
        return self

    def _train(self, x: torch.Tensor, labels: torch.Tensor) -> None:
        encoder = dense_encoder(x.shape[1], tuple(self.hidden), self.features)
        self.model_ = DeepSAD(encoder, self.features).to(x.device, x.dtype)
        self.model_.set_centre(x[labels >= 0])
        optimizer = torch.optim.Adam(
            self.model_.parameters(), lr=self.lr, weight_decay=self.weight_decay
        )
        for _ in range(self.epochs):
            for batch in torch.split(torch.randperm(len(x), device=x.device), self.batch_size):
                optimizer.zero_grad()
                loss = deep_sad_loss(self.model_(x[batch]), labels[batch], eta=self.eta)
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()

    def score_samples(self, X: Any) -> Any:
        """Minus the squared distance to the centre: larger is more normal."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=np.float64, reset=False)
        with torch.no_grad():
            return -self.model_(self._tensor(X)).cpu().numpy().astype(np.float64)

    def decision_function(self, X: Any) -> Any:
        """The scores above the offset: below 0 for outliers."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: Any) -> Any:
        """1 for inliers, -1 for outliers."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    def _tensor(self, X: Any) -> torch.Tensor:
        scaled = (X - self._low) / self._span
        return torch.as_tensor(scaled, dtype=torch.float32, device=self.device or "cpu")
