"""Repositories of modelhub.ai: read typed, cross-checked, and written."""
