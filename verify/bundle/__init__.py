"""Evidence in a folder: what a proof compared, to be verified again on a machine with NumPy and one runtime."""
