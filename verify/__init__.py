"""Proof: run source and target with real frameworks and decide, by evidence, whether they are one function."""
