"""Arrays in, arrays out: estimators and fits; only NumPy and SciPy."""
