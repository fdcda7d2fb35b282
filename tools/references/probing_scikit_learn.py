"""Figures of scikit-learn and SciPy that the tests of probing compare with.

    REFERENCE_PYTHON tools/references/probing_scikit_learn.py packages/lazarus-introspect/tests/probing_scikit_learn.json

Needs scikit-learn (1.9 was used) and SciPy in a scratch environment; neither is a dependency of the packages.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np
import scipy
import sklearn
from scipy.stats import mannwhitneyu
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.covariance import ledoit_wolf_shrinkage
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import (
    adjusted_rand_score,
    balanced_accuracy_score,
    brier_score_loss,
    roc_auc_score,
    silhouette_score,
)
from sklearn.preprocessing import StandardScaler

sys.path.insert(0, str(Path(__file__).parents[2] / "tests/support"))
from probing_inputs import CASES, CLUSTERS, PENALTIES, case, confidences, points


def linear(name: str) -> dict[str, object]:
    x, y = case(name)
    train, test = np.arange(len(x)) % 4 != 0, np.arange(len(x)) % 4 == 0
    scaler = StandardScaler().fit(x[train])
    a, b = scaler.transform(x[train]), scaler.transform(x[test])
    d = int((x[train].std(axis=0) > 0).sum())
    signs = np.where(y[train] == 1, 1.0, -1.0)
    ridge = RidgeCV(alphas=[each * d for each in PENALTIES]).fit(a, signs)
    logistic = LogisticRegression(C=1 / (0.1 * d), class_weight="balanced", tol=1e-10, max_iter=10_000).fit(
        a, y[train] == 1
    )
    centred = np.concatenate([x[y == each] - x[y == each].mean(axis=0) for each in (0, 1)])
    shrinkage = ledoit_wolf_shrinkage(centred, assume_centered=True)
    found = {
        "ridge": ridge.predict(b).tolist(),
        "penalty": float(ridge.alpha_ / d),
        "logistic": logistic.decision_function(b).tolist(),
        "shrinkage": float(shrinkage),
        "mann_whitney": [float(mannwhitneyu(x[y == 1, k], x[y == 0, k], method="asymptotic").pvalue) for k in range(3)],
    }
    if x.shape[1] < len(x) / 2:
        lda = LinearDiscriminantAnalysis(solver="lsqr", shrinkage=float(shrinkage)).fit(x[y < 2], y[y < 2])
        found["lda"] = lda.coef_[0].tolist()
    return found


def main(output: Path) -> None:
    warnings.simplefilter("error")
    states, classes = points()
    probabilities, right = confidences()
    guessed = np.where(np.arange(len(classes)) % 3 == 0, 0, classes)
    means = KMeans(CLUSTERS, n_init=50, random_state=0).fit(states)
    said = {
        "versions": {"scikit-learn": sklearn.__version__, "scipy": scipy.__version__},
        "linear": {name: linear(name) for name in CASES},
        "kmeans": means.labels_.tolist(),
        "ward": AgglomerativeClustering(CLUSTERS).fit(states).labels_.tolist(),
        "silhouette": float(silhouette_score(states, classes)),
        "adjusted_rand": float(adjusted_rand_score(classes, guessed)),
        "balanced_accuracy": float(balanced_accuracy_score(classes, guessed)),
        "auroc": float(roc_auc_score(right, probabilities)),
        "brier": float(brier_score_loss(right, probabilities)),
    }
    output.write_text(json.dumps(said, indent=1) + "\n", "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
