"""What skada's scorers without target labels say of candidates fitted here.

    with open_peer("skada") as skada:
        for task in tasks(3):
            scores, failures = skada_scores(skada, ...)

One process serves all tasks. skada's scorers ask fitted models for predictions; the
models of the other side look up those that are given. With that

- `PredictionEntropyScorer`, `SoftNeighborhoodDensity` and `MaNoScorer` (which takes
  probabilities as they are where the model is no network) are exact: they look at
  probabilities of target rows only.
- `ImportanceWeightedScorer` is exact in its weights, kernel densities of bandwidth 1
  on the columns that are given. skada scores models that did not see the rows, which
  held-out source predictions are.
- `MixValScorer` is exact in its formula, with the partners that are given instead of
  those that it would draw.
- `DeepEmbeddedValidation` is exact in its weights and its split of the source, given
  the mapped columns. skada would map rows of a fold by a map fitted on the others.
  **Its value in skada 0.6.0 is not the one of the paper**: weights (n, 1) times losses
  (n,) are all products, so that no loss is weighted by its own row, and the control
  variate comes from the first two losses.
- `CircularValidation` refits the model with the parts exchanged: it is given what that
  model, fitted on the target rows and their predicted classes, says of the source
  rows, and is left out otherwise.

All values are means over one set of rows, not over folds. `SupervisedScorer` is left
out: it needs target labels.
"""

import numpy as np


def skada_scores(
    peer,
    X,
    y,
    sample_domain,
    held_out,
    target,
    *,
    mixed=None,
    partner=None,
    reverse=None,
    maps=None,
    timeout=600.0,
):
    """Scores of k candidates by skada; larger is better in all of them.

    Parameters
    ----------
    peer : Peer
        The open environment of skada.

    X : ndarray of shape (n + m, d)
        Columns on which densities are estimated, with bandwidth 1: bring them to
        unit variance.

    y : ndarray of shape (n + m,)
        Classes of the source rows as numbers 0 .. C - 1, the columns of the
        probabilities. Those of target rows are not read.

    sample_domain : ndarray of shape (n + m,)
        Positive for the n source rows, negative for the m target rows.

    held_out : ndarray of shape (k, n, C)
        Probabilities of the source rows by models that did not see them.

    target : ndarray of shape (k, m, C)
        Probabilities of the target rows.

    mixed : ndarray of shape (k, m, C), default=None
        Probabilities at .55 times a target row plus .45 times its partner.

    partner : ndarray of shape (m,), default=None
        A permutation: the partner of each target row. Needed with `mixed`.

    reverse : ndarray of shape (k, n), default=None
        Class of each source row by the model with the parts exchanged.

    maps : list of k ndarrays of shape (n + m, d_j), default=None
        Mapped columns, the same object where candidates share them.

    timeout : float, default=600.0
        Seconds after which the peer is killed.

    Returns
    -------
    scores : dict of str to ndarray of shape (k,)
        By the name of the scorer; NaN for a candidate on which it failed.

    failures : dict of str to str
        The first failure of each scorer that failed.
    """
    source = sample_domain > 0
    k, _, n_classes = np.shape(target)

    def by_row(of_source, of_target, *shape):
        """One array over all rows, candidates along the second axis."""
        rows = np.zeros((len(source), k, *shape))
        for mask, values in ((source, of_source), (~source, of_target)):
            if values is not None:
                rows[mask] = np.moveaxis(values, 0, 1)
        return rows

    arrays = {
        "X": np.asarray(X, dtype=np.float64),
        "y": np.where(source, y, -1).astype(np.float64),
        "probabilities": by_row(held_out, target, n_classes),
    }
    if mixed is not None:
        arrays["mixed"] = by_row(None, mixed, n_classes)
        arrays["partner"] = np.zeros(len(source))
        arrays["partner"][~source] = partner
    if reverse is not None:
        arrays["reverse"] = by_row(reverse, None)
    if maps is not None:
        distinct = {id(columns): columns for columns in maps}
        numbers = {key: number for number, key in enumerate(distinct)}
        arrays["map_of"] = np.array([numbers[id(columns)] for columns in maps])
        for key, columns in distinct.items():
            arrays[f"map{numbers[key]}"] = np.asarray(columns, dtype=np.float64)
    scores, _, info = peer.run("scores_skada", arrays, timeout=timeout)
    return scores, info["failures"]
