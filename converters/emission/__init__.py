"""Emission: the network of some weights as a MindSpore module of its own, which needs nothing of this package."""
