"""Schedules of the learning rate."""

import math

__all__ = ["SCHEDULES", "learning_rate_factor"]

SCHEDULES = ("constant", "inv_sqrt", "cosine", "one_cycle", "slanted", "dann")

# Howard and Ruder 2018, section 3.2: share of the rise, ratio of the highest rate to
# the lowest.
_RISE, _RATIO = 0.1, 32
# Smith and Topin 2019, in the form that is customary: share of the rise, ratio of the
# highest rate to the first and of the first to the last.
_ONE_CYCLE_RISE, _FIRST, _LAST = 0.3, 25.0, 1e4


def learning_rate_factor(schedule, step, n_steps, *, epoch=0, warmup=0.0):
    r"""Factor of the learning rate before a step.

    With t the step, T their number and ``cut = max(1, floor(T / 10))``:

    - ``"constant"``: 1;
    - ``"inv_sqrt"``: ``1 / sqrt(k)`` in epoch k = 1, 2, ...;
    - ``"cosine"``: ``(1 + cos(pi t / T)) / 2``;
    - ``"one_cycle"``: from 1/25 up to 1 in the first 30 % of the steps, then down to
      4e-6, both along half a cosine [2]_;
    - ``"slanted"``: the slanted triangle ``(1 + 31 p) / 32`` with p = t / cut up to
      cut and ``p = 1 - (t - cut) / (T - cut)`` after it [1]_;
    - ``"dann"``: ``(1 + 10 t / T) ** -0.75`` [3]_.

    Parameters
    ----------
    schedule : str or callable
        A name above, or a function of the progress t / T.
    step : int
        Steps done, t.
    n_steps : int
        Steps in all, T.
    epoch : int, default=0
        Epochs done.
    warmup : float, default=0.0
        Share of the steps in which the factor also rises linearly from 0.

    Returns
    -------
    factor : float
        Factor of the learning rate.

    Notes
    -----
    The slanted triangle of the paper divides by ``cut (1/0.1 - 1)``, which is T - cut
    only if 10 divides T: with 19 steps its rate becomes negative. Here the rate is
    1/32 at t = 0 and at t = T, whatever T.

    References
    ----------
    .. [1] J. Howard, S. Ruder. Universal language model fine-tuning for text
       classification. ACL 2018.
    .. [2] L. N. Smith, N. Topin. Super-convergence: very fast training of neural
       networks using large learning rates. 2019.
    .. [3] Y. Ganin et al. Domain-adversarial training of neural networks. JMLR 17,
       2016.

    Examples
    --------
    >>> from skadapt.deep import learning_rate_factor
    >>> [learning_rate_factor("slanted", t, 19) for t in (0, 1, 19)]
    [0.03125, 1.0, 0.03125]
    """
    progress = step / n_steps
    if callable(schedule):
        factor = float(schedule(progress))
    elif schedule == "constant":
        factor = 1.0
    elif schedule == "inv_sqrt":
        factor = 1 / math.sqrt(epoch + 1)
    elif schedule == "cosine":
        factor = (1 + math.cos(math.pi * progress)) / 2
    elif schedule == "one_cycle":
        factor = _one_cycle(progress)
    elif schedule == "slanted":
        factor = _slanted(step, n_steps)
    elif schedule == "dann":
        factor = (1 + 10 * progress) ** -0.75
    else:
        raise ValueError(f"schedule must be one of {SCHEDULES}, got {schedule!r}.")
    rise = warmup * n_steps
    return factor * min(1.0, (step + 1) / rise) if rise > 0 else factor


def _slanted(step, n_steps):
    cut = max(1, math.floor(n_steps * _RISE))
    if step < cut:
        share = step / cut
    else:
        share = 1 - (step - cut) / max(1, n_steps - cut)
    return (1 + share * (_RATIO - 1)) / _RATIO


def _one_cycle(progress):
    if progress < _ONE_CYCLE_RISE:
        start, end, share = 1 / _FIRST, 1.0, progress / _ONE_CYCLE_RISE
    else:
        start, end = 1.0, 1 / (_FIRST * _LAST)
        share = (progress - _ONE_CYCLE_RISE) / (1 - _ONE_CYCLE_RISE)
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2
