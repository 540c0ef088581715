"""The inner loops, as plain functions of arrays.

Each stands beside its formula, in NumPy; some have a compiled twin in `latentem.kernels.loops`,
which does the same to rounding in fewer passes over memory. Which of them runs depends on the size
of the problem alone (see `compiled.pays`), so that results do not depend on what ran before.
"""
