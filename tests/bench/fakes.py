"""Contenders that misbehave, for the tests of the benchmark's harness."""

import os
import time

from bench.peers.numpy_step import NumpyStep

EXTRA = "fakes"
VARIANTS = ("right", "wrong", "raise", "die", "hang", "absent", "die-later", "device")
STEPS = 8  # after which `die-later` does


def prepare(folder, work, variant):
    if variant == "absent":
        import a_package_that_there_is_not  # noqa: F401
    (work / "model").write_bytes(b"12345")


class Fake(NumpyStep):
    """The right answers, and whatever else the variant is about."""

    def __init__(self, folder, variant):
        super().__init__(folder)
        self.variant, self.steps = variant, 0

    def __call__(self, token):
        self.steps += 1
        if self.variant == "raise":
            raise RuntimeError("no more\nmemory")
        if self.variant == "die" or (self.variant == "die-later" and self.steps > STEPS):
            print("its last words", flush=True)
            os._exit(3)
        if self.variant == "hang":
            time.sleep(600)
        return ([0, 1, 2], [0.0, 0.0, 0.0]) if self.variant == "wrong" else super().__call__(token)


class Device(Fake):
    """A GPU that measures itself."""

    def describe(self):
        return {**super().describe(), "device_type": "gpu", "device": "Some GPU"}

    def device_seconds(self):
        return 1e-6

    def bandwidth(self, sizes):
        return [1e9] * len(sizes)


def open_step(folder, work, variant, threads):
    return (Device if variant == "device" else Fake)(folder, variant)
