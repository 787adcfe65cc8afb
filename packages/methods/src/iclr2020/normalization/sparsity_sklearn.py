"""Sparsity normalization as a transformer for scikit-learn's pipelines.

See `iclr2020.normalization.sparsity` for what it does. Needs scikit-learn:
`pip install "iclr2020-methods[sklearn]"`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from iclr2020.normalization.sparsity import REFERENCES, mean_count, normalize_sparsity

try:
    from scipy import sparse
    from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'scikit-learn 1.6 or later is needed; get it by: pip install "iclr2020-methods[sklearn]"'
    ) from error

__all__ = ["REFERENCES", "SparsityNormalizer"]


class SparsityNormalizer(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Zero for what is missing, and the rest of each row scaled up by how much is.

    In a dense array nan is missing. In a sparse matrix what isn't stored is missing, and what is
    stored was observed, zeros too; the result is sparse again.

    Attributes:
        k_: how many values a row of the training set has on average.

    Example:
        >>> import numpy as np
        >>> train = np.array([[1.0, np.nan], [1.0, 3.0]])
        >>> SparsityNormalizer().fit(train).transform([[2.0, np.nan]])
        array([[3., 0.]])
    """

    def fit(self, X: Any, y: Any = None) -> SparsityNormalizer:
        """Take K from the training set, (n_samples, n_features)."""
        X = self._validated(X, reset=True)
        if sparse.issparse(X):
            if not X.nnz:
                raise ValueError("X: expected something that was observed, got nothing")
            self.k_ = X.nnz / X.shape[0]
        else:
            self.k_ = mean_count(torch.from_numpy(~np.isnan(X)))
        return self

    def transform(self, X: Any) -> Any:
        """The normalized rows; sparse if they were."""
        check_is_fitted(self)
        X = self._validated(X, reset=False)
        if not sparse.issparse(X):
            values = torch.from_numpy(np.array(X))
            return normalize_sparsity(values, ~values.isnan(), self.k_).numpy()
        rows = X.tocsr(copy=True)
        count = np.maximum(np.diff(rows.indptr), 1)
        rows.data *= np.repeat(self.k_ / count, np.diff(rows.indptr)).astype(rows.dtype)
        return rows

    def _validated(self, X: Any, *, reset: bool) -> Any:
        return validate_data(
            self, X, reset=reset, accept_sparse="csr", dtype=(np.float64, np.float32),
            ensure_all_finite="allow-nan",
        )  # fmt: skip

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.input_tags.allow_nan = True
        return tags
