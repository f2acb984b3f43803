"""Logistic regression of several domains that share a part of their weights."""

from typing import NamedTuple

import numpy as np
from scipy import sparse
from scipy.linalg import helmert
from scipy.special import logsumexp

# Share of the expected decrease that a step has to bring (Armijo).
_SUFFICIENT = 1e-4
# Steps of conjugate gradients for one step of Newton's method.
_MAX_CG = 500


class DomainRows(NamedTuple):
    """Labelled rows of one domain.

    Attributes
    ----------
    X : {ndarray, CSR matrix} of shape (n, d), float64
        Rows.
    codes : ndarray of shape (n,), int
        Class of each row, from 0 to n_classes - 1.
    weights : ndarray of shape (n,), float64
        Weights of the rows in the objective.
    reg : float
        Penalty of the domain's own weights.
    """

    X: object
    codes: np.ndarray
    weights: np.ndarray
    reg: float


class SharedLogistic(NamedTuple):
    """Solution of `solve_shared_logistic`.

    Attributes
    ----------
    shared : ndarray of shape (h, n_classes)
        V.
    specific : ndarray of shape (n_domains, d, n_classes)
        U_1, ..., U_K.
    intercept : ndarray of shape (n_classes,)
        b, with sum 0.
    objective : float
        Value of the objective.
    residual : float
        Largest entry of the gradient, each relative to what it would be if every row
        were certainly wrong.
    n_iter : int
        Steps of Newton's method.
    """

    shared: np.ndarray
    specific: np.ndarray
    intercept: np.ndarray
    objective: float
    residual: float
    n_iter: int


def solve_shared_logistic(
    domains, columns, reg, n_classes, *, tol, max_iter, start=None
):
    """Weights of all domains, split into what they share and what is their own.

    With A the selection of h columns, ``p(y | x; W, b)`` proportional to ``exp(w_y'x +
    b_y)`` and s_i the weights of the rows, the problem is ::

        min  reg ||V||^2 + sum_k reg_k ||U_k||^2
             - sum_k sum_(i in k) s_i log p(y_i | x_i; A'V + U_k, b)

    over V (h, c), U_k (d, c) and the unpenalised intercept b (c,). It is strictly
    convex, but for a number that may be added to all of b.

    Newton's method, each step by conjugate gradients. The rows are only multiplied
    by ``A'V + U_k``, so that a product costs one pass over the stored entries of X,
    not two as with a copy of each row in a shared and a domain's own block of columns.
    At the optimum each row of V, U_k and b has the sum 0 over the classes, so they
    are sought in a basis of these c - 1 dimensions: one for two classes. Variables
    are scaled to a unit diagonal of the Hessian at equal probabilities, which makes
    the course independent of the units of the columns.

    Parameters
    ----------
    domains : list of DomainRows
        Rows of each domain; classes that occur in none are not allowed.
    columns : ndarray of shape (h,), int
        Columns that have a shared weight, possibly none.
    reg : float
        Penalty of the shared weights, positive.
    n_classes : int
        Number of classes c.
    tol : float
        Residual to reach.
    max_iter : int
        Largest number of steps of Newton's method.
    start : SharedLogistic, default=None
        Where to start, such as the solution of a similar problem; it may lack the
        last domains. None: from 0.

    Returns
    -------
    SharedLogistic
    """
    problem = _Problem(domains, columns, reg, n_classes)
    theta = problem.start(start)
    point = problem.at(theta)
    gradient = problem.gradient(theta, point)
    residual, n_iter = problem.residual(gradient), 0
    while residual > tol and n_iter < max_iter:
        step = _conjugate_gradients(
            lambda direction: problem.hessian(direction, point), -gradient
        )
        moved = problem.line_search(theta, point, step, gradient)
        if moved is None:  # no step is better: rounding
            break
        theta, point = moved
        gradient = problem.gradient(theta, point)
        residual = problem.residual(gradient)
        n_iter += 1
    shared, specific, intercept = problem.solution(theta)
    return SharedLogistic(
        shared, specific, intercept, point.objective, residual, n_iter
    )


class _Point(NamedTuple):
    scores: list  # of each domain, (n_k, c - 1)
    probabilities: list  # of each domain, (n_k, c)
    objective: float


class _Problem:
    """Objective and derivatives in scaled variables phi, V = scale * phi and so on."""

    def __init__(self, domains, columns, reg, n_classes):
        self.domains, self.columns = domains, columns
        self.basis = helmert(n_classes)  # (c - 1, c), orthonormal rows of sum 0
        self.h, self.d = len(columns), domains[0].X.shape[1]
        K = len(domains)
        own = np.repeat([domain.reg for domain in domains], self.d)
        self.penalty = np.concatenate([np.full(self.h, float(reg)), own, [0.0]])
        sums = [_column_sums(domain) for domain in domains]
        first = np.array([first for first, _ in sums]).reshape(K, self.d)
        second = np.array([second for _, second in sums]).reshape(K, self.d)
        total = float(sum(domain.weights.sum() for domain in domains))
        self.wrong = self._stack(first.sum(axis=0)[columns], first, total)
        curvature = self._stack(second.sum(axis=0)[columns], second, total)
        self.scale = 1.0 / np.sqrt(2.0 * self.penalty + curvature / n_classes)

    def _stack(self, shared, specific, intercept):
        return np.concatenate([shared, specific.ravel(), [intercept]])

    def _split(self, theta):
        """V, the U_k and b in the reduced basis."""
        W = self._rows(theta) * self.scale[:, np.newaxis]
        U = W[self.h : -1].reshape(len(self.domains), self.d, W.shape[1])
        return W[: self.h], U, W[-1]

    def _rows(self, theta):
        """One row for each row of V, of the U_k and b."""
        return theta.reshape(len(self.scale), len(self.basis))

    def start(self, solution):
        W = np.zeros((len(self.scale), len(self.basis)))
        if solution is not None:
            known = np.concatenate(solution.specific)
            W[: self.h] = solution.shared @ self.basis.T
            W[self.h : self.h + len(known)] = known @ self.basis.T
            W[-1] = solution.intercept @ self.basis.T
        return (W / self.scale[:, np.newaxis]).ravel()

    def solution(self, theta):
        V, U, b = self._split(theta)
        return V @ self.basis, U @ self.basis, b @ self.basis

    def _products(self, theta):
        """``X_k (A'V + U_k) + b`` of each domain."""
        V, U, b = self._split(theta)
        products = []
        for domain, own in zip(self.domains, U):
            W = own.copy()
            W[self.columns] += V
            products.append(domain.X @ W + b)
        return products

    def _transposed(self, errors):
        """Derivative by the variables, given that by the products of each domain."""
        own = np.array([domain.X.T @ E for domain, E in zip(self.domains, errors)])
        intercept = sum(E.sum(axis=0) for E in errors)
        W = np.concatenate(
            [
                own.sum(axis=0)[self.columns],
                own.reshape(len(own) * self.d, len(self.basis)),
                intercept[np.newaxis],
            ]
        )
        return (W * self.scale[:, np.newaxis]).ravel()

    def _penalties(self):
        return np.repeat(self.penalty * self.scale**2, len(self.basis))

    def at(self, theta, scores=None):
        scores = self._products(theta) if scores is None else scores
        probabilities, loss = [], 0.0
        for domain, Z in zip(self.domains, scores):
            S = Z @ self.basis
            log_p = S - logsumexp(S, axis=1, keepdims=True)
            loss -= float(domain.weights @ log_p[np.arange(len(S)), domain.codes])
            probabilities.append(np.exp(log_p))
        objective = loss + float((self._penalties() * theta) @ theta)
        return _Point(scores, probabilities, objective)

    def gradient(self, theta, point):
        errors = []
        for domain, P in zip(self.domains, point.probabilities):
            E = P.copy()
            E[np.arange(len(E)), domain.codes] -= 1.0
            errors.append((E * domain.weights[:, np.newaxis]) @ self.basis.T)
        return self._transposed(errors) + 2.0 * self._penalties() * theta

    def hessian(self, direction, point):
        """Product of the Hessian with a direction."""
        errors = []
        changes = self._products(direction)
        for domain, P, change in zip(self.domains, point.probabilities, changes):
            dS = P * (change @ self.basis)
            dS -= P * dS.sum(axis=1, keepdims=True)
            errors.append((dS * domain.weights[:, np.newaxis]) @ self.basis.T)
        return self._transposed(errors) + 2.0 * self._penalties() * direction

    def residual(self, gradient):
        raw = self._rows(gradient) / self.scale[:, np.newaxis]
        found = self.wrong > 0  # a column of zeros has no gradient
        relative = np.abs(raw[found]) / self.wrong[found, np.newaxis]
        return float(relative.max(initial=0.0))

    def line_search(self, theta, point, step, gradient):
        """The next variables and point, or None if no step is better."""
        slope = float(gradient @ step)
        # The objective is a sum of as many terms as there are rows.
        rounding = 1e-14 * max(1.0, abs(point.objective))
        changes = self._products(step)
        length = 1.0
        while length > 1e-10:
            scores = [Z + length * dZ for Z, dZ in zip(point.scores, changes)]
            moved = theta + length * step
            candidate = self.at(moved, scores)
            allowed = point.objective + _SUFFICIENT * length * slope + rounding
            if candidate.objective <= allowed:
                return moved, candidate
            length /= 2
        return None


def _conjugate_gradients(product, rhs):
    """Approximate solution of a positive definite system, good enough for a step.

    The accuracy grows with the size of the right-hand side, so that Newton's method
    converges superlinearly.
    """
    solution, rest = np.zeros_like(rhs), rhs.copy()
    norm = float(np.sqrt(rhs @ rhs))
    target = min(0.1, np.sqrt(norm)) * norm
    direction, square = rest.copy(), float(rest @ rest)
    for _ in range(_MAX_CG):
        if np.sqrt(square) <= target:
            break
        image = product(direction)
        length = square / float(direction @ image)
        solution += length * direction
        rest -= length * image
        square, before = float(rest @ rest), square
        direction = rest + (square / before) * direction
    return solution


def _column_sums(domain):
    """Weighted sums of ``|x_j|`` and of ``x_j^2`` over the rows of a domain."""
    X, weights = domain.X, domain.weights
    if sparse.issparse(X):
        return abs(X).T @ weights, X.multiply(X).T @ weights
    return weights @ np.abs(X), weights @ X**2
