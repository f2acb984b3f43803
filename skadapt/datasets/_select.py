"""Which rows of a table of several domains take the part of source and target."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

from numbers import Integral

import numpy as np


def check_parts(source, target, names):
    """Return the ids of the domains that take each part, None for a plain table.

    Parameters
    ----------
    source, target : str, int, list or None
        One or several of `names`. None for both stands for all rows, all of them
        with positive ids.

    names : sequence of str or int
        What the domains are called; the id of ``names[i - 1]`` is i.

    Returns
    -------
    parts : tuple (source_ids, target_ids) of list of int, or None
        None when `source` and `target` are None.
    """
    if (source is None) != (target is None):
        given, missing = "source", "target"
        if source is None:
            given, missing = missing, given
        raise ValueError(
            f"{given} is given and {missing} is not: give both, or neither for all "
            "rows with positive ids."
        )
    if source is None:
        return None
    source = _ids_of("source", source, names)
    target = _ids_of("target", target, names)
    if shared := sorted(set(source) & set(target)):
        raise ValueError(
            f"{names[shared[0] - 1]!r} is in both source and target: a domain can take "
            "one part only."
        )
    return source, target


def _ids_of(argument, chosen, names):
    chosen = [chosen] if isinstance(chosen, (str, Integral)) else chosen
    if not chosen:
        raise ValueError(f"{argument} is empty: name at least one domain.")
    for name in chosen:
        if name not in names:
            raise ValueError(
                f"{argument} names {name!r}, which is not among "
                f"{', '.join(map(str, names))}."
            )
    return [names.index(name) + 1 for name in chosen]


def select_rows(ids, parts):
    """Return the rows that take a part, source rows first, and their `sample_domain`.

    Parameters
    ----------
    ids : ndarray of shape (n,)
        The id of the domain of each row of the table.

    parts : tuple (source_ids, target_ids) or None
        What `check_parts` returns. None keeps all rows with their ids.

    Returns
    -------
    rows : ndarray of shape (m,)
        The chosen rows, in the order of the table inside each part.

    sample_domain : ndarray of shape (m,)
        Their ids, int64, with a minus sign for target rows.
    """
    ids = ids.astype(np.int64)
    if parts is None:
        return np.arange(len(ids)), ids
    source, target = (np.flatnonzero(np.isin(ids, part)) for part in parts)
    return np.r_[source, target], np.r_[ids[source], -ids[target]]


def check_two_parts(source, target, names):
    """Return the ids of the two domains that take the parts, None for a plain table.

    With two domains one part names the other.

    Parameters
    ----------
    source, target : str or None
        One of `names` each. None is the other domain; None for both stands for all
        rows, all of them with positive ids.

    names : sequence of two str
        What the domains are called; the id of ``names[i - 1]`` is i.

    Returns
    -------
    parts : tuple (source_ids, target_ids) of list of int, or None
        None when `source` and `target` are None.
    """
    if source is None and target in names:
        source = names[1 - names.index(target)]
    elif target is None and source in names:
        target = names[1 - names.index(source)]
    return check_parts(source, target, names)
