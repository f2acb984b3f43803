"""Three tables for regression, cut into domains at the thirds of one column."""

# Authors: The skadapt developers
# SPDX-License-Identifier: BSD-3-Clause

import csv
import os
from typing import NamedTuple

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils._param_validation import StrOptions, validate_params

from skadapt.datasets._fetch import Original, packed_file
from skadapt.datasets._tables import encode_columns, read_table, write_table

_THIRDS = ("low", "middle", "high")

_CONCRETE_COLUMNS = (
    "cement",
    "slag",
    "fly-ash",
    "water",
    "superplasticizer",
    "coarse-aggregate",
    "fine-aggregate",
    "age",
    "strength",
)
_HOUSING_COLUMNS = (
    "CRIM",
    "ZN",
    "INDUS",
    "CHAS",
    "NOX",
    "RM",
    "AGE",
    "DIS",
    "RAD",
    "TAX",
    "PTRATIO",
    "B",
    "LSTAT",
    "MEDV",
)
# Columns that the packed files write without a decimal point.
_INTEGERS = {"age", "CHAS", "RAD"}

_CONCRETE_DESCR = """\
Concrete strength by thirds
---------------------------

1,030 mixtures of concrete: seven ingredients in kilograms per cubic metre, the age of
the sample in days, and its compressive strength in megapascals. 1,005 rows are
distinct; one mixture comes at several ages.

The superplasticizer has correlation 0.37 with the strength. 379 mixtures have none of
it, more than a third, so that the border between the low and the middle third runs
through equal values; so does the other one, at 9 kg. Ridge regression (alpha = 1) on
columns standardised on the source has a root mean squared error of 17.7, 10.0 and 11.8
with the low, middle and high third as the target; the standard deviation of their
strength is 14.4, 14.8 and 17.7.

From the UCI Machine Learning Repository, "Concrete Compressive Strength". Cite

- I. Yeh, "Modeling of strength of high-performance concrete using artificial neural
  networks", Cement and Concrete Research 28 (1998), 1797-1808.
- D. Pardoe, P. Stone, "Boosting for regression transfer", ICML 2010, for the thirds.
"""

_HOUSING_DESCR = """\
Boston housing by thirds
------------------------

506 districts around Boston in 1970: MEDV is the median value of homes in thousands of
dollars, cut off at 50. **Use this table only to repeat old figures.** Its column B is
1000 (b - 0.63)^2, where b is the share of Black residents: the authors assumed that
racial segregation raises prices and built that into their data. scikit-learn removed
the table for that reason. B is left out unless it is asked for.

NOX, nitric oxides in parts per ten million, has correlation -0.43 with MEDV. Ridge
regression (alpha = 1) on columns standardised on the source, B left out, has a root
mean squared error of 7.8, 4.6 and 9.3 with the low, middle and high third as the
target; the standard deviation of their MEDV is 7.6, 6.7 and 10.6.

From the StatLib library and formerly the UCI Machine Learning Repository, "Housing".
Cite

- D. Harrison, D. Rubinfeld, "Hedonic housing prices and the demand for clean air",
  Journal of Environmental Economics and Management 5 (1978), 81-102.
- D. Pardoe, P. Stone, "Boosting for regression transfer", ICML 2010, for the thirds.
"""

_AUTO_MPG_DESCR = """\
Fuel consumption of cars by thirds
----------------------------------

392 cars of the years 1970 to 1982: cylinders, displacement (cubic inches), horsepower,
weight (pounds), acceleration (seconds from 0 to 60 miles per hour), year, origin (1
America, 2 Europe, 3 Japan, as a number), and mpg, the miles that a gallon takes them.
Six more cars, of which the horsepower is not known, are left out.

The acceleration has correlation 0.42 with mpg. Ridge regression (alpha = 1) on columns
standardised on the source has a root mean squared error of 5.5, 3.1 and 4.2 with the
low, middle and high third as the target; the standard deviation of their mpg is 7.1,
7.0 and 7.4.

From the StatLib library and the UCI Machine Learning Repository, "Auto MPG". Cite

- J. Quinlan, "Combining instance-based and model-based learning", ICML 1993.
- D. Pardoe, P. Stone, "Boosting for regression transfer", ICML 2010, for the thirds.
"""


class _Table(NamedTuple):
    """A packed table, the column at whose thirds it is cut, and how it is made."""

    filename: str
    by: str
    descr: str
    originals: tuple = ()
    convert: object = None


def _pack_concrete(paths, packed):
    """Give the columns shorter names; measurements are written as floats."""
    # The first character of the file is a byte order mark.
    with open(paths[0], newline="", encoding="utf-8-sig") as file:
        _write_numbers(packed, _CONCRETE_COLUMNS, list(csv.reader(file))[1:])


def _pack_housing(paths, packed):
    """Name the columns; measurements are written as floats."""
    with open(paths[0], newline="", encoding="utf-8") as file:
        _write_numbers(packed, _HOUSING_COLUMNS, csv.reader(file))


def _write_numbers(packed, columns, rows):
    numbers = [
        [
            value if name in _INTEGERS else repr(float(value))
            for name, value in zip(columns, row)
        ]
        for row in rows
    ]
    write_table(packed, columns, numbers)


_TABLES = {
    "concrete": _Table(
        "concrete.csv.gz",
        "superplasticizer",
        _CONCRETE_DESCR,
        (
            Original(
                "boazde/concrete_data",
                "dd64f6b4749df4f62c1cf0f711229a6cb61e8979",
                "Concrete_Data.csv",
                "3d34167df7745d4255243e461b1d9a0465a3b301cc6280ba255d651edc9cfb92",
            ),
        ),
        _pack_concrete,
    ),
    "housing": _Table(
        "boston.csv.gz",
        "NOX",
        _HOUSING_DESCR,
        (
            Original(
                "jbrownlee/Datasets",
                "d20fcb6402ae34e653d4513b00f39257bb37ed7f",
                "housing.csv",
                "2682ca02e83b89467d7d0cdcbde7c0cc4d2566119be8ce8d84dad4f0fa20859a",
            ),
        ),
        _pack_housing,
    ),
    "auto-mpg": _Table("auto-mpg.csv.gz", "acceleration", _AUTO_MPG_DESCR),
}


@validate_params(
    {
        "name": [StrOptions(set(_TABLES))],
        "by": [str, None],
        "target": [StrOptions(set(_THIRDS))],
        "include_b": ["boolean"],
        "as_frame": ["boolean"],
        "data_home": [str, os.PathLike, None],
        "download_if_missing": ["boolean"],
    },
    prefer_skip_nested_validation=True,
)
def fetch_uci_regression(
    name,
    *,
    by=None,
    target="high",
    include_b=False,
    as_frame=False,
    data_home=None,
    download_if_missing=True,
):
    """Load a table cut into three domains at the thirds of a column (regression).

    The rows are sorted by a column that has a moderate correlation with the label, cut
    into thirds, and the column is taken out [1]_: two thirds are sources, one is the
    target. The packed files (0.03 MB together) are ``concrete.csv.gz`` and
    ``boston.csv.gz``, each made from a pinned file when it is not in `data_home`, and
    ``auto-mpg.csv.gz``, which is not downloaded: put it there, a csv file compressed by
    gzip, with a line of names, the label as its last column and nothing where a value
    is missing.

    **Use "housing" only to repeat old figures.** It is the Boston table of 1978. Its
    column B is 1000 (b - 0.63)^2, where b is the share of Black residents of a
    district: the authors assumed that racial segregation raises prices. B is left out
    unless `include_b` is True.

    Parameters
    ----------
    name : {"concrete", "housing", "auto-mpg"}
        The table: the strength of 1,030 mixtures of concrete, the value of homes in 506
        districts, or the miles per gallon of 392 cars (six more, of which the
        horsepower is missing, are left out).

    by : str, default=None
        The column by which the rows are sorted. None is ``"superplasticizer"`` for
        concrete (correlation with the label 0.37), ``"NOX"`` for housing (-0.43) and
        ``"acceleration"`` for auto-mpg (0.42).

    target : {"low", "middle", "high"}, default="high"
        The third that is the target. The low and the high one ask for extrapolation,
        the middle one lies between its sources.

    include_b : bool, default=False
        Whether the column B is kept. Used with ``"housing"`` only.

    as_frame : bool, default=False
        Whether X is a data frame instead of an array. Needs pandas.

    data_home : str or path-like, default=None
        The data folder, see :func:`~skadapt.datasets.get_data_home`.

    download_if_missing : bool, default=True
        Whether to download when the packed file is absent.

    Returns
    -------
    data : :class:`~sklearn.utils.Bunch`
        Source rows first, then target rows, in the order of the packed file inside
        each part:

        X : ndarray or DataFrame of shape (n, d)
            The features, float64, each in its own unit; d = 7 for concrete, 11 (12 with
            B) for housing and 6 for auto-mpg.
        y : ndarray of shape (n,)
            The label, float64: megapascals, thousands of dollars, miles per gallon.
            **Labels of the target rows are given too**: mask them (NaN) where a method
            must not see them.
        sample_domain : ndarray of shape (n,)
            1 and 2 for the lower and the upper one of the two sources, -1 for the
            target, int64.
        by_values : ndarray of shape (n,)
            The column that was taken out, float64.
        feature_names : list of str
            The columns of X.
        domain_names : list of str
            The thirds whose ids are 1, 2 and -1, in this order.
        target_names : list of str
            What y is, a single name.
        DESCR : str
            What the data are, where they come from and whom to cite.

    Raises
    ------
    ValueError
        If `by` is not a column of the table.
    FileNotFoundError
        If the packed file is absent and may not or cannot be downloaded.
    ImportError
        If `as_frame` is True and pandas is not installed.

    Notes
    -----
    Where the number of rows is no multiple of three, the lower thirds have a row more.
    Rows of equal value are sorted in the order of the packed file, and a border may run
    between them: all 344 mixtures of the low third and 35 of the middle one have no
    superplasticizer.

    References
    ----------
    .. [1] David Pardoe, Peter Stone, "Boosting for regression transfer", ICML 2010.

    Examples
    --------
    >>> from skadapt.datasets import fetch_uci_regression
    >>> data = fetch_uci_regression("concrete")  # doctest: +SKIP
    >>> data.X.shape, data.domain_names  # doctest: +SKIP
    ((1030, 7), ['low', 'middle', 'high'])
    """
    table = _TABLES[name]
    path = packed_file(
        table.filename,
        originals=table.originals,
        convert=table.convert,
        data_home=data_home,
        download_if_missing=download_if_missing,
    )
    columns = read_table(path)
    if not include_b:
        columns.pop("B", None)
    label = list(columns)[-1]
    complete = np.all([column != "" for column in columns.values()], axis=0)
    columns = {key: column[complete] for key, column in columns.items()}
    y = columns.pop(label).astype(np.float64)
    by = table.by if by is None else by
    if by not in columns:
        raise ValueError(
            f"by is {by!r}, which is not among the columns {', '.join(columns)}."
        )
    by_values = columns.pop(by).astype(np.float64)
    third = _thirds_of(by_values)
    is_target = third == _THIRDS.index(target)
    rows = np.r_[np.flatnonzero(~is_target), np.flatnonzero(is_target)]
    # The sources keep their order: what lies above the target moves down by one.
    domain = np.where(third < _THIRDS.index(target), third + 1, third)
    domain = np.where(is_target, -1, domain)
    X, feature_names = encode_columns(columns, (), rows, as_frame=as_frame)
    return Bunch(
        X=X,
        y=y[rows],
        sample_domain=domain[rows],
        by_values=by_values[rows],
        feature_names=feature_names,
        domain_names=[*(part for part in _THIRDS if part != target), target],
        target_names=[label],
        DESCR=table.descr,
    )


def _thirds_of(values):
    """Return 0, 1 or 2 for each value, the third of the sorted values that it is in."""
    third = np.empty(len(values), dtype=np.int64)
    for i, rows in enumerate(np.array_split(np.argsort(values, kind="stable"), 3)):
        third[rows] = i
    return third
