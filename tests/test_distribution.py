"""What a wheel and a source distribution hold, and that the wheel works where this repository is not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from zoo.catalog import entries
from zoo.commands import DEFAULTS

ROOT = Path(__file__).parents[1]
BUILD = "import setuptools.build_meta as m, sys; print(getattr(m, 'build_' + sys.argv[1])(sys.argv[2]))"


def build(kind: str, source: Path, out: Path) -> Path:
    """What `python -m build --no-isolation` does, without the package build."""
    command = [sys.executable, "-c", BUILD, kind, str(out)]
    done = subprocess.run(command, cwd=source, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return out / done.stdout.splitlines()[-1]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that a clone has, and those that are to be committed."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("not a clone")
    copy = tmp_path_factory.mktemp("source")
    for name in listed.stdout.decode().split("\0"):
        if name and (ROOT / name).is_file() and not name.startswith("bench/results/"):
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("wheel", source, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the wheel's packages and commands; what they need is that of this interpreter."""
    target = tmp_path_factory.mktemp("installed")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(target)]
    subprocess.run([*pip, str(wheel)], check=True, capture_output=True)
    return target


def run(installed: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The installed command in an empty folder, without network."""
    environment = {**os.environ, "PYTHONPATH": str(installed), "HF_HUB_OFFLINE": "1", "HF_HOME": str(home / "hf")}
    environment |= {"XDG_CONFIG_HOME": str(home / "settings"), "OMP_NUM_THREADS": "1"}
    environment.pop("ZOO_PUBLISHED", None)
    command = [sys.executable, str(installed / "bin" / "zoo"), *arguments]
    return subprocess.run(command, cwd=home, env=environment, capture_output=True, text=True, check=False)


def test_what_the_wheel_holds(wheel: Path):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[2] for name in names if name.startswith("zoo/checkpoints/")} == {DEFAULTS[0]}
    assert {name.partition("/")[0] for name in names if ".dist-info/" not in name} == {
        "zoo", "conversion", "bench", "model_cards",
    }  # fmt: skip
    needed = {"zoo/catalog.json", "zoo/published.json", "model_cards/template.md"}
    needed |= {f"zoo/keyboard/page/{name}" for name in ("index.html", "rnnlm.wasm")}
    needed |= {"model_cards/plain_template.md", "bench/opencl/kernels/dense.cl", "conversion/recipes/lstm-200-ptb.toml"}
    needed |= {f"conversion/exporters/c/{name}" for name in ("rnnlm.h", "rnnlm.c", "rnnlm_private.h", "suggest.c")}
    needed |= {f"conversion/exporters/c_page/{name}" for name in ("rnnlm_page.c", "built.json")}
    needed |= {f"zoo/checkpoints/{DEFAULTS[0]}/{name}" for name in ("model.safetensors", "README.md", "tokenizer.json")}
    assert {name for name in needed if (ROOT / name).is_file()} <= set(names)
    assert not [name for name in names if "__pycache__" in name or name.startswith(("tests", "zoo/checkpoints/."))]
    assert wheel.stat().st_size < 10_000_000


def test_the_source_distribution_makes_the_same_wheel(source: Path, wheel: Path, tmp_path: Path):
    archive = build("sdist", source, tmp_path)
    with tarfile.open(archive) as found:
        found.extractall(tmp_path, filter="data")
    (root,) = [path for path in tmp_path.iterdir() if path.is_dir()]
    for name in ("hubconf.py", "README.md", "LICENSE", "CHANGELOG.md", "CITATION.cff", "docs/compress.md"):
        assert (root / name).is_file(), name
    assert [path.name for path in (root / "zoo" / "checkpoints").iterdir()] == [DEFAULTS[0]]
    assert not (root / "tests").exists() and not (root / "bench" / "results").exists()
    again = build("wheel", root, tmp_path)
    assert set(zipfile.ZipFile(again).namelist()) == set(zipfile.ZipFile(wheel).namelist())


def test_the_wheel_suggests_and_tells_what_is_here(installed: Path, tmp_path: Path):
    where = [sys.executable, "-c", "import zoo; print(zoo.__file__)"]
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(where, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()).is_relative_to(installed)
    done = run(installed, tmp_path, "suggest", "the company said it", "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["model"] == DEFAULTS[0], done.stderr
    rows = json.loads(run(installed, tmp_path, "list", "--json").stdout)
    assert set(rows) == set(entries())
    assert [name for name, row in rows.items() if row["where"] == "here"] == [DEFAULTS[0]]
    assert {row["where"] for name, row in rows.items() if name != DEFAULTS[0]} <= {"on the Hub", "nowhere"}
    assert f"{DEFAULTS[0]} " in run(installed, tmp_path, "list").stdout
    done = run(installed, tmp_path, "info", "lstm-200-ptb")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1


def test_the_command_can_be_run_by_pipx(wheel: Path):
    archive = zipfile.ZipFile(wheel)
    (path,) = [name for name in archive.namelist() if name.endswith(".dist-info/entry_points.txt")]
    text = archive.read(path).decode()
    assert "[console_scripts]\nzoo = zoo.cli:main" in text and "[pipx.run]\nrnnlm-zoo = zoo.cli:main" in text
