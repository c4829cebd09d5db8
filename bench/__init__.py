"""Measures checkpoint folders: a folder in, numbers out, written to `bench/results/<name>/`."""
