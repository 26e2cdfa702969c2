"""The probe: a multinomial logistic regression on standardised vectors, kernel features and neighbour distances."""

from dataclasses import dataclass

import numpy as np
from scipy import optimize, special
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold

__all__ = ["Landmarks", "Probe", "calibrate", "fit_probe"]

_PENALTIES = (0.003, 0.03, 0.3)  # inverse strengths of the ridge penalty tried, chosen by held-out log loss


@dataclass(frozen=True, slots=True)
class Landmarks:
    """Nyström features of a Gaussian kernel (Williams & Seeger 2001)."""

    points: np.ndarray  # (m, d)
    gamma: float  # 1 / median squared distance between training rows and landmarks
    whitening: np.ndarray  # (m, m)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Kernel features (n, m) of standardised rows (n, d)."""
        squared = (rows**2).sum(1)[:, None] + (self.points**2).sum(1) - 2 * rows @ self.points.T
        return np.exp(-self.gamma * np.maximum(squared, 0)) @ self.whitening


def choose_landmarks(rows: np.ndarray, *, rng: np.random.Generator, count: int = 500) -> Landmarks:
    """Draw kernel landmarks from standardised rows (n, d); kernel features are scaled to the norm of linear ones."""
    points = rows[rng.choice(len(rows), min(count, len(rows)), replace=False)]
    kernel = (points**2).sum(1)[:, None] + (points**2).sum(1) - 2 * points @ points.T
    gamma = 1 / max(float(np.median(kernel)), 1e-12)
    values, vectors = np.linalg.eigh(np.exp(-gamma * np.maximum(kernel, 0)))
    values = np.maximum(values, 1e-6 * values[-1])
    return Landmarks(points, gamma, vectors / np.sqrt(values) * np.sqrt(rows.shape[1]))


@dataclass(frozen=True, slots=True)
class Probe:
    """Linear classifier that gives uncalibrated class log-odds; `calibrate` corrects them with held-out scores."""

    landmarks: Landmarks
    weights: np.ndarray  # (features, classes)
    intercept: np.ndarray  # (classes,)

    def logits(self, rows: np.ndarray, neighbour_features: np.ndarray) -> np.ndarray:
        """Uncalibrated log-posteriors up to a constant, (n, classes)."""
        return _features(self.landmarks, rows, neighbour_features) @ self.weights + self.intercept


def fit_probe(rows: np.ndarray, neighbour_features: np.ndarray, labels: np.ndarray, *, seed: int) -> Probe:
    """Fit a probe to standardised rows (n, d), neighbour features (n, classes) and class labels 0 … K (n,)."""
    landmarks = choose_landmarks(rows, rng=np.random.default_rng(seed))
    features = _features(landmarks, rows, neighbour_features)
    model = _fitted(features, labels, _choose_penalty(features, labels, seed))
    if len(model.classes_) == 2:
        weights = np.concatenate([np.zeros_like(model.coef_), model.coef_]).T
        return Probe(landmarks, weights, np.array([0.0, model.intercept_[0]]))
    return Probe(landmarks, model.coef_.T, model.intercept_)


def calibrate(logits: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """Bias-corrected temperature scaling (Alexandari et al. 2020) on held-out logits, with equal class weights.

    Returns the inverse temperature and one bias per class (the first is zero) that minimise the balanced log loss. The
    targets are Platt's, which assume one mislabelled item per class, so that separable classes do not get probabilities
    of 0 and 1.
    """
    classes = logits.shape[1]
    counts = np.bincount(labels, minlength=classes)
    weight = (1 / counts)[labels] / classes
    doubt = (1 / (counts + 2))[labels][:, None]  # Platt (1999): (n + 1)/(n + 2) and 1/(n + 2) instead of 1 and 0
    onehot = np.eye(classes)[labels]
    target = onehot * (1 - doubt) + (1 - onehot) * doubt / (classes - 1)

    def loss(parameters: np.ndarray) -> tuple[float, np.ndarray]:
        scale, bias = np.exp(parameters[0]), np.concatenate([[0.0], parameters[1:]])
        scores = scale * logits + bias
        residual = (special.softmax(scores, axis=1) - target) * weight[:, None]
        value = float((weight * (special.logsumexp(scores, axis=1) - (scores * target).sum(1))).sum())
        return value, np.concatenate([[scale * (residual * logits).sum()], residual.sum(0)[1:]])

    limits = [(-3.0, 3.0)] + [(-10.0, 10.0)] * (classes - 1)
    best = optimize.minimize(loss, np.zeros(classes), jac=True, method="L-BFGS-B", bounds=limits)
    return float(np.exp(best.x[0])), np.concatenate([[0.0], best.x[1:]])


def _features(landmarks: Landmarks, rows: np.ndarray, neighbour_features: np.ndarray) -> np.ndarray:
    return np.concatenate([rows, landmarks(rows), neighbour_features], axis=1)


def _choose_penalty(features: np.ndarray, labels: np.ndarray, seed: int) -> float:
    split = StratifiedKFold(3, shuffle=True, random_state=seed)
    train, held_out = next(iter(split.split(features, labels)))

    def held_out_loss(penalty: float) -> float:
        model = _fitted(features[train], labels[train], penalty)
        return -float(model.predict_log_proba(features[held_out])[np.arange(len(held_out)), labels[held_out]].mean())

    return min(_PENALTIES, key=held_out_loss)


def _fitted(features: np.ndarray, labels: np.ndarray, penalty: float) -> LogisticRegression:
    # 1,000 iterations converge on standardised features to the tolerance asked for
    return LogisticRegression(C=penalty, class_weight="balanced", max_iter=1000, tol=1e-3).fit(features, labels)
