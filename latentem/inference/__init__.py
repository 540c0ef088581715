"""Exact posteriors, chosen by the structure of the graph."""
