"""The inner loops, as plain functions of arrays.

Each stands beside its formula, in NumPy; some have a compiled twin, in the module of the same name
with ``_loops``, which does the same to rounding in fewer passes over memory. What these share is in
`latentem.kernels.loops`, in vectors (`latentem.kernels.vectors`) and blocks of matrix products
(`latentem.kernels.blocks`). Which of them runs depends on the size of the problem, and on whether
the compiler has been loaded already (see `latentem.kernels.compiled.pays`).
"""
