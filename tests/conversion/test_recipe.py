from pathlib import Path

import pytest

from conversion.recipe import RECIPES, read_recipe
from conversion.resume import refuse_changes
from zoo.configuration_rnnlm import RnnLmConfig
from zoo.errors import RecipeError

from .tiny import write_recipe


@pytest.mark.parametrize("path", sorted(RECIPES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_of_the_zoo(path: Path):
    recipe = read_recipe(path.stem)
    assert recipe.name == path.stem
    assert isinstance(recipe.parent or recipe.config(vocab_size=10, eos_id=0), (str, RnnLmConfig))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("epochs = 2", "epoch = 2", r"unknown key 'epoch'; did you mean epochs\? allowed: optimizer, lr, epochs"),
        ("hidden_size = 12", "hiden_size = 12", r"\[model\]: unknown key 'hiden_size'; did you mean hidden_size\?"),
        ("seed = 3", "sead = 3", "unknown key 'sead'; did you mean seed"),
        ("seed = 3", "text = 'x'", "unknown key 'text'"),
        ("window = 9", "window = 9.5", "window is 9.5; it takes a whole number"),
        ("window = 9", "window = true", "window is True; it takes a whole number"),
        ("window = 9", "window = 0", "window is 0; allowed: at least 1"),
        ("lr = 0.02", "lr = 'fast'", "lr is 'fast'; it takes a number"),
        ("lr = 0.02", "lr = nan", "lr is nan; allowed"),
        ("lr = 0.02", "", "lr is missing; it takes a number"),
        ('"adam"', '"adagrad"', "optimizer is 'adagrad'; it takes one of sgd, adam, adamw"),
        ("epochs = 2", "epochs = 2\nbetas = [0.9]", "betas is .0.9.; it takes an array of two numbers"),
        ("[[stage]]", "[stage]", "stage is .*; it takes an array of tables"),
        ("hidden_size = 12", "hidden_size = '12'", r"\[model\]: .*hidden_size"),
        ("embedding_size = 12", "embedding_size = 13", r"\[model\]: .*output_projection_size"),
        ("hidden_size = 12", "hidden_size = 12\nweights = 3", r"\[model\]: weights is 3; write tables"),
        ("seed = 3", "compress = [3]", r"compress 1 is 3; write tables \[\[compress\]\]"),
        ("seed = 3", "seed =", "is no TOML"),
        ('name = "tiny"', 'name = "../tiny"', "name is '../tiny'; allowed"),
    ],
)
def test_errors_say_what_is_allowed(old: str, new: str, message: str, tmp_path: Path, corpus: Path):
    file = write_recipe(tmp_path / "wrong.toml", corpus, (old, new))
    with pytest.raises(RecipeError, match=message) as caught:
        read_recipe(file)
    assert "\n" not in str(caught.value).replace("no TOML", "")


def test_unknown_recipe_names_those_there_are():
    with pytest.raises(RecipeError, match=r"no recipe 'lstm-9000'; give a TOML file or one of: .*lstm-200-ptb"):
        read_recipe("lstm-9000")


def test_what_was_built_is_no_part_of_the_recipe(recipe_file: Path):
    recipe = read_recipe(recipe_file)
    recipe_file.write_text(f"{recipe.text}\n[built]\nepochs = 2\n")
    again = read_recipe(recipe_file)
    assert again == recipe
    assert again.text == recipe.text


class TestChanges:
    def state(self, recipe, stage=0):
        import dataclasses

        return {"recipe": dataclasses.asdict(recipe), "position": {"stage": stage}}

    def changed(self, tmp_path: Path, corpus: Path, *changes, stage=0):
        old = read_recipe(write_recipe(tmp_path / "old.toml", corpus))
        refuse_changes(
            self.state(old, stage), read_recipe(write_recipe(tmp_path / "new.toml", corpus, *changes)), Path("r")
        )

    def test_free(self, tmp_path: Path, corpus: Path):
        self.changed(tmp_path, corpus)
        self.changed(tmp_path, corpus, ("epochs = 2", "epochs = 9\npatience = 3"), ("save_every = 0", "save_every = 5"))
        more = ("decay = 0.9\n", "decay = 0.9\n[[stage]]\noptimizer = 'sgd'\nlr = 1\nepochs = 3\n")
        self.changed(tmp_path, corpus, ("seed = 3", "seed = 3\npriority = 4"), more)

    def test_refused(self, tmp_path: Path, corpus: Path):
        with pytest.raises(
            RecipeError, match=r"stage.0.lr \(0.02 -> 0.5\), training.clip \(0.25 -> 1.0\).* remove the folder r"
        ):
            self.changed(tmp_path, corpus, ("lr = 0.02", "lr = 0.5"), ("window = 9", "window = 9\nclip = 1"))
        with pytest.raises(RecipeError, match=r"model\.input_dropout"):
            self.changed(tmp_path, corpus, ("input_dropout = 0.1", "input_dropout = 0.2"))
        with pytest.raises(RecipeError, match=r"stage\.0\.epochs"):
            self.changed(tmp_path, corpus, ("epochs = 2", "epochs = 9"), stage=1)
