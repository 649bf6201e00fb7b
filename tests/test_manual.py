"""Help, the manual page, completion, and the list of models."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

import cli
import codec
from codec import manual, models
from tests.conftest import TINY
from tests.picture_files import calm

IGPT = Path(sys.executable).parent / "igpt"
PAGE = Path(__file__).parents[1] / "igpt.1"
NAMES = [" ".join(names[1:]) for names, _ in manual.commands(get_command(cli.app), ("igpt",))]


def output(*arguments, **environment):
    run = subprocess.run(arguments, env={**os.environ, **environment}, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    return run.stdout


def test_help_is_quick():
    """It imports nothing that takes long."""
    code = "import sys, cli\ntry: cli.app(['--help'])\nexcept SystemExit: print(*sys.modules)"
    imported = output(sys.executable, "-c", code).splitlines()[-1].split()
    assert "cli" in imported
    assert not {"torch", "numba", "numpy", "PIL"} & {*imported}


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_examples_and_groups(name):
    result = CliRunner().invoke(cli.app, [*name.split(), "--help"])
    assert result.exit_code == 0
    text = result.stdout
    assert f"\n  igpt {name} " in text or f"igpt {name} " in text.split("Examples:")[1] or name == "models"
    assert "\nExamples:\n" in text
    if "--device" in text:
        assert text.index("Processor and limits:") < text.index("--device") < text.index("Messages:") < text.index("--quiet")
    assert "..." not in CliRunner().invoke(cli.app, ["--help"]).stdout.split("Commands:")[1]


@pytest.mark.parametrize("name", NAMES)
def test_options_in_examples_exist(name):
    text = CliRunner().invoke(cli.app, [*name.split(), "--help"]).stdout
    for line, _ in manual.DESCRIPTIONS[name.split()[-1]].examples:
        command = next(part for part in line.split("|") if part.strip().startswith(f"igpt {name}"))
        for option in re.findall(r" (--?[a-z][a-z-]*)", command.split("&&")[0]):
            assert re.search(rf"(^|[\s,]){option}\b", text), f"{option} in {line}"


def test_the_manual_page_is_current():
    """`igpt manual > igpt.1` writes it."""
    assert PAGE.read_text() == manual.page(cli.app) == igpt("manual").stdout
    for name in NAMES:
        assert f".SS igpt {name}\n" in manual.page(cli.app)


@pytest.mark.skipif(not shutil.which("groff"), reason="no groff")
def test_the_manual_page_is_roff():
    run = subprocess.run(["groff", "-man", "-ww", "-z", PAGE], capture_output=True, text=True, check=True)
    assert run.stderr == ""


def test_igpt_is_a_module():
    assert output(sys.executable, "-m", "igpt", "--version") == output(IGPT, "--version")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion(shell, tmp_path):
    alone = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1", "HOME": str(tmp_path)}
    assert "igpt" in output(IGPT, "--show-completion", shell, **alone)
    output(IGPT, "--install-completion", shell, **alone)
    assert any("igpt" in path.read_text() for path in tmp_path.rglob("*") if path.is_file())


def test_completion_completes():
    def completed(line):
        return output(IGPT, _IGPT_COMPLETE="complete_bash", COMP_WORDS=line, COMP_CWORD=str(line.count(" "))).split()

    assert completed("igpt dec") == ["decompress"]
    assert "--skip-existing" in completed("igpt compress --s")


def test_models_are_listed():
    found = json.loads(CliRunner().invoke(cli.app, ["models", "--json"]).stdout)
    text = CliRunner().invoke(cli.app, ["models"]).stdout
    ours = {m["name"]: m for m in found if Path(m["folder"]).parent == models.FOLDER}
    assert set(ours) == {folder.name for folder in models.shipped()}
    assert len({line.find("Apache-2.0") for line in text.splitlines() if "Apache-2.0" in line}) == 1
    for name, model in ours.items():
        assert model["licence"] == "Apache-2.0"
        card = (models.FOLDER / name / "MODEL_CARD.md").read_text()
        assert f"`{model['digest']}`" in card
        assert model["bpsp"]
        assert all(f"{rate:.4f}" in card for rate in model["bpsp"].values())
        assert name in text
        assert model["digest"] in text


def test_a_model_without_a_card_is_listed(monkeypatch):
    monkeypatch.setattr(models, "shipped", lambda: [TINY])
    monkeypatch.setattr(models, "added", list)
    result = CliRunner().invoke(cli.app, ["models"])
    assert "?" in result.stdout
    assert TINY.name in result.stdout
    assert json.loads(CliRunner().invoke(cli.app, ["models", "--json"]).stdout)[0]["licence"] is None


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Added models are there."""
    monkeypatch.setenv("IGPT_MODEL_PATH", str(tmp_path / "store"))
    return tmp_path / "store"


def igpt(*arguments):
    return CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


def test_our_own_models_are_added_and_removed(store, tmp_path):
    digest = models.digest_of(TINY).hex()
    mine = shutil.copytree(TINY, tmp_path / "mine")
    (mine / "card.json").write_text('{"licence": "mine"}')
    for _ in range(2):
        assert igpt("models", "add", mine).exit_code == 0
        assert [path.name for path in store.iterdir()] == [f"mine-{digest}"]
    listed = json.loads(igpt("models", "--json").stdout)[-1]
    assert (listed["name"], listed["digest"], listed["licence"]) == ("mine", digest, "mine")
    data = codec.compress(calm(32, 40), model="mine", device="cpu")
    assert [(model.name, model.digest) for model in codec.info(data).models] == [("mine", digest)]
    assert (codec.decode(data, device="cpu") == calm(32, 40)).all()
    shutil.copytree(TINY, store / "again")  # the same, by another name
    for text, code, words in (("none", 1, "no added model"), (models.default("rgb").name, 1, "came with igpt"), (digest[:6], 0, "removed")):
        result = igpt("models", "remove", text)
        assert result.exit_code == code
        assert words in result.stderr
    (next(store.iterdir()) / "notes").touch()
    assert "notes" in igpt("models", "remove", digest).stderr
    assert len(list(store.iterdir())) == 1
    assert igpt("models", "add", models.default("rgb")).exit_code == 0
    assert len(list(store.iterdir())) == 1


def test_a_model_travels_as_one_file(store, tmp_path):
    mine = shutil.copytree(TINY, tmp_path / "mine")
    (mine / "card.json").write_text('{"licence": "mine"}')
    digest, file = models.digest_of(mine).hex(), tmp_path / "any name.safetensors"
    assert igpt("models", "export", mine, file).exit_code == 0
    assert igpt("models", "export", mine, file).exit_code == 1  # it is there
    data = codec.compress(calm(32, 40), model=mine, device="cpu")
    with pytest.raises(codec.ModelError, match="igpt models export mine"):
        codec.decode(data, device="cpu")
    result = igpt("models", "add", file)
    assert result.exit_code == 0
    assert digest in result.stderr
    assert json.loads(igpt("models", "--json").stdout)[-1]["licence"] == "mine"
    assert (codec.decode(data, device="cpu") == calm(32, 40)).all()
    assert igpt("models", "export", "mine", "-").stdout_bytes == file.read_bytes()
    damaged = file.read_bytes().replace(digest[:6].encode(), b"000000")
    for content, words in ((damaged, "damaged"), (damaged[:100], "neither a model"), (b"{}", "neither a model"), (b"", "neither a model")):
        file.write_bytes(content)
        result = igpt("models", "add", file)
        assert result.exit_code == 1
        assert words in result.stderr
    assert len(list(store.iterdir())) == 1


def test_a_damaged_model_hides_none_and_can_be_removed(store, caplog):
    """Nor does a card that says nonsense."""
    (store / "photo-3").mkdir(parents=True)
    for name in ("config.json", models.WEIGHTS_FILE):
        (store / "photo-3" / name).write_bytes(b"junk")
    shutil.copytree(TINY, store / "tiny")
    (store / "tiny" / models.CARD_FILE).write_text('{"licence": 5, "bpsp": {"rgb": "x", "grey": 1.5}}')
    assert models.chosen("photo-3") == models.FOLDER / "photo-3"
    listed = {model["name"]: model for model in json.loads(igpt("models", "--json").stdout)}
    assert (listed["tiny"]["licence"], listed["tiny"]["bpsp"]) == (None, {"grey": 1.5})
    assert "tiny" in igpt("models").stdout
    assert "left alone" in caplog.text
    assert igpt("models", "remove", "photo-3").exit_code == 0
    assert not (store / "photo-3").exists()


@pytest.mark.parametrize("model", [None, "photo-3", TINY])
def test_a_revision_is_of_the_hub(model, store):
    with pytest.raises(codec.ModelError, match="revision v1 is of no model on the hub"):
        models.chosen(model, "v1")


def test_models_are_found_by_digest_whatever_their_folders_name(store, caplog):
    shutil.copytree(TINY, store / "any")
    for name, text in {
        "broken": "{}",
        "an-array": "[]",
        "deep": 100_000 * "[",
        "odd": '{"layout": ["rgb"]}',
        "own": '{"layout": "palette"}',
    }.items():
        (store / name).mkdir()
        (store / name / "config.json").write_text(text)
    (store / "else").write_text("not a folder")
    data = codec.compress(calm(32, 40), model=TINY, device="cpu")
    assert (codec.decode(data, device="cpu") == calm(32, 40)).all()
    shutil.rmtree(store / "any")
    with caplog.at_level("WARNING", "igpt"), pytest.raises(codec.ModelError, match="models add"):
        codec.decode(data, device="cpu")
    assert all(f"{name}: " in caplog.text for name in ("an-array", "broken", "deep", "own"))
    result = igpt("models")
    assert result.exit_code == 0
    assert "broken" in result.stderr


def test_names_and_digests_that_mean_several_models(store):
    for name, window in ((f"mine-{16 * 'ab'}", 40), ("mine", 32)):
        shutil.copytree(TINY, store / name)
        config = store / name / "config.json"
        config.write_text(config.read_text().replace('window": 40', f'window": {window}'))
    with pytest.raises(codec.ModelError, match="mine may be any of"):
        models.chosen("mine")
    digest = models.digest_of(store / "mine").hex()
    for text in (digest, digest[:6]):
        assert models.chosen(text) == store / "mine"
