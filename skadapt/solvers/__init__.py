"""Numerical cores on plain arrays, independent of scikit-learn and of domains."""
