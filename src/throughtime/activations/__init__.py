"""Activation functions: one formula each, everything else derived from it."""
