"""The file of the C step: its size, its checksum, and that damage to it is seen or harmless."""

import subprocess
import zlib
from pathlib import Path

import pytest

from conversion.exporters.c_file import checksum, file_of
from conversion.exporters.c_library import SOURCES, CModel, compiled
from tests.zoo.folders import write_checkpoint
from tests.zoo.models import model_of
from zoo.errors import CheckpointError, ZooError

CHECKED = ("-std=c99", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")


def test_a_tied_embedding_is_stored_once_and_numbers_stay_small(tmp_path):
    sizes = {}
    for form, tied in (("dense", True), ("dense", False), ("int8", True), ("int4", True)):
        options = dict(form=form, tied=tied, vocab_size=3000, layers=1)
        folder = write_checkpoint(
            tmp_path / f"{form}{tied}", model_of(**options), half=True, words=["<eos>", *map(str, range(2999))]
        )
        sizes[form, tied] = len(file_of(folder))
    numbers, rows = 3000 * 7, 3008  # filled up to blocks of 32
    assert sizes["dense", False] - sizes["dense", True] == pytest.approx(3000 * 9 * 2, abs=500)
    assert sizes["dense", True] - sizes["int8", True] == pytest.approx(2 * numbers - rows * 8 - 2 * 3000, abs=1000)
    two_groups = 2 * (4 + 2)  # of eight columns each
    assert sizes["dense", True] - sizes["int4", True] == pytest.approx(2 * numbers - rows * two_groups, abs=1500)


def test_the_checksums_are_those_of_the_plan_and_of_the_arrays(tmp_path):
    file = file_of(write_checkpoint(tmp_path / "tiny"))
    size, plan, arrays, found = (int.from_bytes(file[at : at + 4], "little") for at in (12, 16, 20, 24))
    assert size == len(file) and found == checksum(file[:plan]) and arrays == zlib.adler32(file[plan:])


def test_damage_to_weights_and_words_is_seen_by_who_reads_them_all(tmp_path, library):
    words = ["<eos>", *(f"w{number}" for number in range(2999))]
    file = file_of(write_checkpoint(tmp_path / "tiny", model_of(vocab_size=3000), words=words))
    plan = int.from_bytes(file[16:20], "little")
    CModel(library, file).verify()
    damaged = [file[:at] + bytes([file[at] ^ 1]) + file[at + 1 :] for at in range(len(file) - 1, plan, -997)]
    for content in [*damaged, file[: len(file) // 2] + bytes(len(file) - len(file) // 2)]:
        with pytest.raises(CheckpointError, match="is damaged; get it again"):
            CModel(library, content).verify()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda file: b"", "cut off"),
        (lambda file: b"rnnlm", "cut off"),
        (lambda file: b"PK\3\4" + file[4:], "no file of zoo export"),
        (lambda file: file[:-1], "cut off"),
        (lambda file: file[:8] + b"\1" + file[9:], "another version"),
        (lambda file: file[:8] + bytes([0, 0, 0, 1]) + file[12:], "big-endian"),
        (lambda file: file[:40] + bytes([file[40] ^ 1]) + file[41:], "is damaged"),
    ],
)
def test_other_files_are_named(tmp_path, library, change, says):
    path = tmp_path / "file"
    path.write_bytes(change(file_of(write_checkpoint(tmp_path / "tiny"))) or b"r")
    with pytest.raises(CheckpointError, match=says):
        CModel(library, path)


@pytest.fixture(scope="session")
def damage(tmp_path_factory, c_compiler):
    """The program of damage.c, with the sanitizers that the compiler has."""
    sources = [Path(__file__).parent / "damage.c", *sorted(SOURCES.glob("rnnlm*.c"))]
    try:
        return compiled(sources, tmp_path_factory.mktemp("damage") / "damage", (*CHECKED, f"-I{SOURCES}"))
    except ZooError as error:
        pytest.skip(f"no sanitizers: {error}")


@pytest.mark.parametrize(
    "variant",
    [
        {"cell": "lstm", "form": "sparse-int8"},
        {"cell": "gru", "projected": True, "form": "tensor_train-int4", "tied": False},
        {"cell": "cifg", "projected": True, "form": "low_rank-range"},
        {"cell": "rnn", "form": "int4"},
    ],
    ids=lambda variant: "-".join(map(str, variant.values())),
)
def test_damaged_files_are_refused_or_read_inside_their_bounds(tmp_path, damage, variant):
    path = tmp_path / "file"
    path.write_bytes(file_of(write_checkpoint(tmp_path / "tiny", model_of(**variant, layers=1), half=True)))
    done = subprocess.run([damage, path, "1", "1500"], capture_output=True, text=True)
    assert done.returncode == 0, (done.returncode, done.stderr[-2000:])
    assert int(done.stdout.split()[0]) > 300  # many bytes are weights, with which the model opens
