"""Profiles of terms: how each of them corresponds to pivots in one domain.

With p_f the share of documents that hold term f, p_fl the share that holds both f and
l, and u_f the column of weights of term f over the documents, the correspondence of f
and pivot l is ::

    cosine   u_f'u_l / (|u_f| |u_l|) - sqrt(p_f p_l)
    linear   p_fl / p_l - (p_f - p_fl) / (1 - p_l)
    pmi      log2( p_fl / (p_f p_l) ), 0 if f and l are never together

The last term of the first line is what the cosine of independent terms tends to. Each
column of the matrix (terms x pivots) is then brought to mean 0 and variance 1 over the
terms that occur, and each row to length 1.

All three need one sparse product of the terms with the pivots. It is formed for a block
of terms at a time, which stays in the cache until it is a part of the dense result.
"""

import numpy as np
from scipy import sparse
from sklearn.utils import gen_batches

# float64 numbers of a block: 4 MB, which stays near the processor's cache.
_BLOCK_SIZE = 2**19
# Least standard deviation of a column to divide by, as in the authors' code.
_LEAST_SPREAD = 1e-5
# What rounding leaves of 0, divided by that: scaled up, it would be a profile.
_ROUNDING = 1e-10


def term_profiles(weights, pivots, dcf, dtype=np.float64):
    """Correspondence of every term to every pivot, standardised.

    Parameters
    ----------
    weights : csr_array of shape (n_documents, n_terms)
        Positive weights, float64, without stored zeros.
    pivots : ndarray of shape (n_pivots,)
        Columns of the pivots.
    dcf : {"cosine", "linear", "pmi"}
        The correspondence.
    dtype : dtype, default=float64
        That of the result; sums are float64.

    Returns
    -------
    profiles : ndarray of shape (n_terms, n_pivots)
        Rows of length 1, or 0 for terms that no document holds.
    """
    n, d = weights.shape
    frequency = np.bincount(weights.indices, minlength=d)
    if dcf == "cosine":
        squares = np.bincount(weights.indices, weights.data**2, minlength=d)
        scale = 1 / np.sqrt(np.where(squares > 0, squares, 1.0))
        values = weights.data * scale[weights.indices]
    else:
        values = np.ones(weights.nnz)  # products are numbers of documents
    columns = sparse.csr_array((values, weights.indices, weights.indptr), (n, d))
    of_pivots = columns[:, pivots]
    terms = columns.T.tocsr()

    # A term that does not occur has the value 0 and is not counted.
    present = frequency > 0
    profiles = np.empty((d, len(pivots)), dtype)
    blocks = list(gen_batches(d, max(1, _BLOCK_SIZE // len(pivots))))
    mean, square = np.zeros(len(pivots)), np.zeros(len(pivots))
    for block in blocks:
        product = (terms[block] @ of_pivots).toarray()
        _correspond(product, frequency[block, None], frequency[pivots], n, dcf)
        profiles[block] = product
        mean += profiles[block].sum(axis=0, dtype=np.float64)
    mean /= present.sum()
    for block in blocks:
        deviations = profiles[block] - mean
        deviations[~present[block]] = 0.0
        square += (deviations**2).sum(axis=0)
    spread = np.maximum(np.sqrt(square / present.sum()), _LEAST_SPREAD)
    for block in blocks:
        rows = (profiles[block] - mean) / spread
        rows[~present[block]] = 0.0
        rows[np.abs(rows) < _ROUNDING] = 0.0
        profiles[block] = scale_rows(rows)
    return profiles


def _correspond(product, frequency, pivot_frequency, n, dcf):
    """Turn products of columns into correspondences, in place."""
    if dcf == "cosine":
        product -= np.sqrt(frequency * (pivot_frequency / n**2))
    elif dcf == "linear":
        without = n - pivot_frequency
        # A pivot in every document tells nothing of the others: 0.
        rest = np.maximum(without, 1)
        product[...] = product / pivot_frequency - (frequency - product) / rest
        product[:, without == 0] = 0.0
    else:
        together = product > 0
        expected = frequency * (pivot_frequency / n)
        np.divide(product, expected, out=product, where=together)
        np.log2(product, out=product, where=together)


def scale_rows(rows):
    """Bring the rows of a dense matrix to length 1, in place; rows of zeros stay."""
    length = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    length[length == 0] = 1.0
    rows /= length[:, np.newaxis]
    return rows
