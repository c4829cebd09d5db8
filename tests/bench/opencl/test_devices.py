"""What is said where there is no device, no memory, a compiler that fails, or a device that is lost."""

from __future__ import annotations

import json

import pytest

from bench import tune
from bench.opencl import devices, model, programs
from bench.opencl.bandwidth import bandwidth
from bench.opencl.settings import Settings, candidates, device_simd, path_of, settings_of
from tests.bench.opencl.devices import DEVICES
from tests.zoo.folders import write_checkpoint
from zoo.errors import ZooError

cl = pytest.importorskip("pyopencl", reason="pyopencl is not installed; pip install 'rnnlm-zoo[opencl]'")
has_device = pytest.mark.skipif(not DEVICES, reason="no OpenCL device; pip install 'pyopencl[pocl]'")


class Record:
    """What the driver's errors are made of."""

    def __init__(self, code: str):
        self.name = code

    def routine(self) -> str:
        return "clSomething"

    def code(self) -> int:
        return getattr(cl.status_code, self.name)

    def what(self) -> str:
        return f"clSomething failed: {self.name}"


def fail(code: str):
    """A function of the driver that fails with a code."""

    def call(*_, **__):
        raise cl.LogicError(Record(code))

    return call


def test_no_platform(monkeypatch):
    monkeypatch.setattr(cl, "get_platforms", fail("PLATFORM_NOT_FOUND_KHR"))
    with pytest.raises(ZooError, match=r"no OpenCL platform .*PLATFORM_NOT_FOUND_KHR.*; install one: pip install"):
        devices.device_of()


def test_no_device_of_any_platform(monkeypatch):
    monkeypatch.setattr(cl, "get_platforms", list)
    with pytest.raises(ZooError, match="the OpenCL platforms have no device; install another one"):
        devices.device_of()


@has_device
def test_a_device_by_a_part_of_its_name(monkeypatch):
    first = devices.device_of()
    assert devices.device_of(devices.describe(first)[5:20]) == first
    with pytest.raises(ZooError, match="no OpenCL device is called 'gtx'; give a part of one of these to --device: "):
        devices.device_of("gtx")
    monkeypatch.setenv("PYOPENCL_CTX", "0")
    assert devices.device_of().platform == cl.get_platforms()[0]
    monkeypatch.setenv("PYOPENCL_CTX", "nonsense")
    with pytest.raises(ZooError, match="PYOPENCL_CTX='nonsense' selects no device"):
        devices.device_of()


@has_device
def test_a_compiler_that_fails():
    with pytest.raises(ZooError, match=r"the OpenCL compiler of .* refuses the kernels: .*; try another driver"):
        programs.build(cl.Context([DEVICES[0]]), "__kernel void k( { }")


@has_device
def test_memory_that_is_short_and_a_device_that_is_lost(monkeypatch, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny")
    monkeypatch.setattr(cl, "Buffer", fail("MEM_OBJECT_ALLOCATION_FAILURE"))
    with pytest.raises(ZooError, match=r"has not enough memory for this model .*; take a smaller checkpoint"):
        model.OpenClModel(folder, DEVICES[0])
    monkeypatch.undo()
    step = model.OpenClModel(folder, DEVICES[0])
    monkeypatch.setattr(step, "_enqueue", fail("INVALID_COMMAND_QUEUE"))
    with pytest.raises(ZooError, match=r"stopped working .*; run again, with another device"):
        step.step(1)


@has_device
def test_settings_are_tuned_kept_and_found(monkeypatch, tmp_path, capsys):
    monkeypatch.setenv("RNNLM_OPENCL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(tune, "ROUNDS", 1)
    shapes = [Settings(1, 1, groups=1), Settings(4, 1, one_launch=True, groups=1)]
    monkeypatch.setattr(tune, "candidates", lambda device: shapes)
    folder = write_checkpoint(tmp_path / "tiny")
    assert settings_of(DEVICES[0]) == candidates(DEVICES[0])[0]
    assert tune.main([str(folder), "--device", devices.describe(DEVICES[0])]) == 0
    assert settings_of(DEVICES[0]) in shapes
    assert "kept in" in capsys.readouterr().out
    path_of(DEVICES[0]).write_text(json.dumps({"settings": {"vec": 3, "lanes": 1}}))
    with pytest.raises(ZooError, match="cannot be; vec is one of"):
        settings_of(DEVICES[0])
    path_of(DEVICES[0]).write_text("{")
    with pytest.raises(ZooError, match=r"holds no settings .*; remove it, or type: python -m bench.tune"):
        settings_of(DEVICES[0])


@has_device
def test_settings_that_compute_wrongly_are_refused(monkeypatch, tmp_path):
    folder = write_checkpoint(tmp_path / "tiny")
    monkeypatch.setattr(tune, "NEAR", -1.0)
    with pytest.raises(ZooError, match=r"no settings work on .* computes wrongly"):
        tune.tune(folder, DEVICES[0], [Settings(1, 1, groups=1)])


@has_device
def test_bandwidth_is_that_of_the_size():
    assert all(speed > 0 for speed in bandwidth(DEVICES[0], candidates(DEVICES[0])[0], [1000, 100_000]))


@has_device
def test_what_a_device_compiles_for_is_asked_once(monkeypatch, tmp_path):
    monkeypatch.setenv("RNNLM_OPENCL_CACHE", str(tmp_path / "cache"))
    found = {device: device_simd(device) for device in DEVICES}
    monkeypatch.setattr(cl, "Program", fail("BUILD_PROGRAM_FAILURE"))
    assert {device: device_simd(device) for device in DEVICES} == found
    for path in (tmp_path / "cache").iterdir():
        path.write_text("{")
    assert [device_simd(device) for device in DEVICES] == [0] * len(DEVICES)
