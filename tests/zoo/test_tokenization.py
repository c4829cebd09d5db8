"""The tokenizer against its plain twin `words_of`, and what its files promise to strangers' programs."""

import gzip
import io
import json
import sys

import pytest

from zoo.errors import CorpusError, VocabularyError
from zoo.tokenization import EOS, UNK, Text, build_tokenizer, vocabulary_of, words_by_id, words_of

WORDS = ["the", UNK, EOS, "cat", "was", "n't", "mr.", "N", "$", "c++", "один"]
BLANKS = [chr(code) for code in range(sys.maxunicode + 1) if chr(code).isspace()]
TEXTS = [
    "",
    "\n",
    " the cat was n't \n mr. <unk> N \n",
    "the cat\nthe cat",
    "the cat\n\n\n the\n ",
    "the\r\ncat\r\n",
    "the\rcat\tthe\x0bcat\x0cthe",
    "the<eos>cat <eos> x<eos>y",
    "x<unk>y <unk>. <eos>\n<EOS> < eos >",
    "c++ $N. один\ufeff\u200bone e\u0301 😀",
    "".join(f"the{blank}" for blank in BLANKS),
]


@pytest.fixture(scope="module")
def tokenizer():
    return build_tokenizer(WORDS)


@pytest.fixture(scope="module")
def folder(tokenizer, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    tokenizer.save_pretrained(folder)
    return folder


def ids_of(text):
    return [WORDS.index(word) if word in WORDS else WORDS.index(UNK) for word in words_of(text)]


@pytest.mark.parametrize("text", TEXTS)
def test_ids_are_those_of_the_plain_twin(tokenizer, text):
    assert tokenizer(text).input_ids == ids_of(text)


@pytest.mark.parametrize("text", [" the cat \n was n't \n", " \n", " <unk> \n the"])
def test_plain_twin_is_split_where_lines_end_with_a_blank(text):
    assert words_of(text) == text.replace("\n", "<eos>").split()


def test_every_white_space_of_python_and_nothing_else_parts_words(tokenizer):
    others = [chr(code) for code in (0x180E, 0x200B, 0x200D, 0x2060, 0xFEFF)]
    for char in BLANKS + others + [chr(code) for code in range(1, 256)]:
        text = f"cat{char}cat"
        assert tokenizer(text).input_ids == ids_of(text), f"U+{ord(char):04X}"


def test_files_are_generic_and_sorted_by_id(folder):
    assert sorted(path.name for path in folder.iterdir()) == ["tokenizer.json", "tokenizer_config.json"]
    vocabulary = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert list(vocabulary) == WORDS and list(vocabulary.values()) == list(range(len(WORDS)))
    config = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    assert config["tokenizer_class"] == "TokenizersBackend" and "auto_map" not in config
    assert config["clean_up_tokenization_spaces"] is False


def test_no_code_has_to_be_trusted_beside_a_model_that_brings_its_own(folder, monkeypatch):
    from transformers import AutoTokenizer, PreTrainedTokenizerFast

    config = {"model_type": "nobody-knows", "auto_map": {"AutoConfig": "configuration_x.XConfig"}}
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    # On a terminal transformers asks about the model's code; nobody answers here.
    monkeypatch.setattr("sys.stdin", io.StringIO())
    unasked = AutoTokenizer.from_pretrained(folder)
    monkeypatch.setattr("builtins.input", lambda *_: pytest.fail("it prompts"))
    refused = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    for loaded in (unasked, refused, PreTrainedTokenizerFast.from_pretrained(folder)):
        assert type(loaded) is PreTrainedTokenizerFast
        assert len(loaded) == len(WORDS) and words_by_id(loaded) == WORDS
        assert (loaded.eos_token_id, loaded.pad_token_id, loaded.padding_side) == (2, 2, "left")
        for text in TEXTS:
            assert loaded(text).input_ids == ids_of(text)


def test_padding_is_on_the_left_and_masked(tokenizer):
    batch = tokenizer(["the cat was", "cat"], padding=True)
    assert batch["input_ids"] == [[0, 3, 4], [2, 2, 3]]
    assert batch["attention_mask"] == [[1, 1, 1], [0, 0, 1]]
    assert set(batch) == {"input_ids", "attention_mask"}


def test_decoded_text_reads_back_to_the_same_ids(tokenizer):
    ids = ids_of("the cat was n't nowhere . \n mr. N")
    assert tokenizer.decode(ids) == " the cat was n't <unk> <unk> <eos> mr. N"
    assert tokenizer(tokenizer.decode(ids)).input_ids == ids
    assert tokenizer.decode(ids, skip_special_tokens=True) == " the cat was n't <unk> <unk> mr. N"


def test_pipeline_joins_prompt_and_continuation_as_words(tokenizer):
    import torch
    from transformers import GPT2Config, GPT2LMHeadModel, pipeline

    torch.manual_seed(0)
    config = GPT2Config(vocab_size=len(WORDS), n_embd=8, n_layer=1, n_head=1, bos_token_id=2, eos_token_id=None)
    generate = pipeline("text-generation", model=GPT2LMHeadModel(config), tokenizer=tokenizer)
    text = generate("the cat", max_new_tokens=3, do_sample=False, pad_token_id=2)[0]["generated_text"]
    new = generate("the cat", max_new_tokens=3, do_sample=False, pad_token_id=2, return_full_text=False)
    assert text.startswith("the cat ") and all(word in WORDS for word in text.split())
    assert text == "the cat" + new[0]["generated_text"]


@pytest.mark.parametrize(
    ("vocabulary", "message"),
    [
        (["a", UNK], "lacks <eos>"),
        (["a", EOS, "a"], "'a' more than once"),
        (["a b", EOS], "'a b' cannot be a word"),
        (["", EOS], "'' cannot be a word"),
        (["x<eos>", EOS], "cannot be a word"),
        (["a", EOS, 3], "a list of words"),
        (EOS, "a list of words"),
    ],
)
def test_impossible_vocabularies_are_refused(vocabulary, message):
    with pytest.raises(VocabularyError, match=message):
        build_tokenizer(vocabulary)


def test_words_by_id_refuses_holes():
    class Holes:
        def get_vocab(self):
            return {"a": 0, EOS: 2}

    with pytest.raises(VocabularyError, match="not 0 to 1"):
        words_by_id(Holes())


def test_vocabulary_falls_in_frequency_then_follows_the_alphabet(tmp_path):
    (tmp_path / "a.txt").write_text("b b a c\nb a", encoding="utf-8")
    (tmp_path / "b.txt.gz").write_bytes(gzip.compress(b"a d\n\n"))
    files = [tmp_path / "a.txt", str(tmp_path / "b.txt.gz")]
    assert vocabulary_of(files) == [EOS, "a", "b", "c", "d", UNK]
    assert vocabulary_of(files, max_size=4) == [EOS, "a", "b", UNK]
    with pytest.raises(VocabularyError, match="give 3 or more"):
        vocabulary_of(files, max_size=2)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("text", [text for text in TEXTS if text.strip()])
def test_blocks_of_any_size_give_the_same_words(text, size):
    data = text.encode()
    blocks = [data[i : i + size] for i in range(0, len(data), size)]
    assert [word for words in Text("t", lambda: iter(blocks)).words() for word in words] == words_of(text)


def test_byte_order_mark_is_no_word():
    assert list(Text("t", lambda: iter([b"\xef\xbb", b"\xbfa b"])).words())[-1] == ["b"]
    assert vocabulary_of([Text("t", lambda: iter([b"\xef\xbb\xbfa"]))]) == ["a", EOS, UNK]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is empty"),
        (b" \n\t\n", "is empty"),
        (b"a b\0c\n", "not text .NUL, byte 3"),
        (b"a b \xff c", "not text .invalid start byte, byte 4"),
        (b"\xef\xbb\xbfa \xff c", "not text .invalid start byte, byte 5"),
        (b"a b \xc3", "not text .unexpected end"),
        ("a b".encode("utf-16"), "not text"),
        (gzip.compress(b"a b c")[:-6], "cannot read"),
        (b"\x1f\x8b\x08 no gzip at all", "cannot read"),
    ],
)
def test_what_is_not_text_is_named(tmp_path, data, message):
    path = tmp_path / "given.txt"
    path.write_bytes(data)
    with pytest.raises(CorpusError, match=message) as caught:
        vocabulary_of([path])
    assert "given.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_file_and_a_folder_are_named(tmp_path):
    for path in (tmp_path / "nowhere.txt", tmp_path):
        with pytest.raises(CorpusError, match="cannot read"):
            vocabulary_of([path])
