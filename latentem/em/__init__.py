"""Expectation-maximisation: the half-steps, the one loop, and the fit."""
