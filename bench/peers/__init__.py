"""What people would run a checkpoint with instead of this project's own kernels: one module per library.

What the modules have to offer is said in `bench.contenders`.
"""
