"""What the displays share."""

from sklearn.utils._optional_dependencies import check_matplotlib_support

# Colour-blind safe: source, target, what is neither.
SOURCE, TARGET, GREY = "#4c72b0", "#dd8452", "#9a9a9a"
GAIN, LOSS = "#3a8a5c", "#b5413b"


def given_or_new_axes(ax, caller, figsize=None):
    """The Axes to draw on, new ones in a figure of their own for None."""
    check_matplotlib_support(caller)
    if ax is not None:
        return ax
    import matplotlib.pyplot as plt

    return plt.subplots(figsize=figsize, layout="constrained")[1]


def height_of_rows(n_rows):
    """Height in inches of a figure of horizontal bars."""
    return 1.1 + 0.27 * n_rows


def without_leading_zero(value, digits=2):
    """.93 for 0.93, as figures between 0 and 1 are printed."""
    return f"{value:.{digits}f}".removeprefix("0")
