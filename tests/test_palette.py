"""Published ImageGPT checkpoints: palettes, conversion, and pictures coded with them."""

import json
import math

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

import codec
from bitstream.container import Coding, read
from cli import app
from codec import models
from codec.description import engines_of
from codec.methods.method import ModelName, Part
from codec.methods.palette import Fields, PublishedPalette
from codec.network.arithmetic import PRODUCTS
from codec.options import Options
from codec.palette import coding
from codec.palette.coding import decode_tokens, encode_tokens, largest_group, token_frequencies
from codec.palette.colours import UNIT, Palette
from codec.palette.conversion import converted
from codec.palette.engines import prepare
from codec.palette.network import PaletteConfig, PaletteImageGPT
from codec.palette.operations import PaletteOperations, activation_table
from codec.progress import ignore
from codec.tiling.tiles import Shape
from tests.conftest import CPU, GOLDEN, TINY, TINY_PALETTE, TINY_YCC, coded_by, file_of, picture, remade, smooth

CHECKPOINT_1 = GOLDEN.parents[1] / "checkpoints" / "palette-1"
SMALL = dict(n_layer=2, n_embd=32, n_head=2, vocab_size=65, n_positions=1024)
run = CliRunner().invoke


def centres(count, seed=0):
    return np.random.default_rng(seed).integers(0, 255 * UNIT, (count, 3)).astype(np.int32)


@pytest.fixture(scope="session")
def palette():
    """With two centres that are the same, one outside of what any pixel is nearest to, and a plane of pixels halfway between two."""
    some = centres(13)
    some[5] = some[2]
    some[7], some[8] = 40 * UNIT, 42 * UNIT
    some[9] = some[8] + (1, 0, 0)
    return Palette.measured(some)


def test_a_token_is_the_first_of_the_nearest_centres(palette):
    pixels = np.concatenate([smooth(32, 32).reshape(-1, 3), np.full((3, 3), 41), np.full((1, 3), 42), [[0, 255, 0]]])[:, None]
    found = palette.tokens(pixels.astype(np.uint8))[:, 0]
    for pixel, token in zip(pixels[:, 0].tolist(), found.tolist(), strict=True):
        away = [sum((s * UNIT - int(c)) ** 2 for s, c in zip(pixel, centre, strict=True)) for centre in palette.centres]
        assert token == away.index(min(away))
    assert 5 not in found
    assert found[1024] == 7  # as near to 8
    grey = palette.tokens(np.arange(256, dtype=np.uint8).reshape(16, 16, 1))
    assert (grey.reshape(-1) == palette.nearest(np.arange(256)[:, None].repeat(3, 1))).all()


def test_bounds_hold_every_pixel_of_a_cell_and_are_tight(palette):
    rng = np.random.default_rng(1)
    pixels = rng.integers(0, 256, (5000, 3))
    tokens = palette.nearest(pixels)
    known = []
    for channel in (1, 0, 2):
        low, high = palette.bounds(tokens, known, 3)
        assert ((low <= pixels[:, channel]) & (pixels[:, channel] <= high)).all()
        known.append(pixels[:, channel])
    for k in range(40):
        line = np.stack([np.full(256, pixels[k, 0]), np.full(256, pixels[k, 1]), np.arange(256)], 1)
        cell = np.flatnonzero(palette.nearest(line) == tokens[k])
        assert (low[k], high[k]) == (cell.min(), cell.max())
    grey = np.arange(256)
    tokens = palette.nearest(grey[:, None].repeat(3, 1))
    low, high = palette.bounds(tokens, [], 1)
    for k in grey:
        assert (low[k], high[k]) == (grey[tokens == tokens[k]].min(), grey[tokens == tokens[k]].max())


def test_bounds_of_what_cannot_be_are_empty(palette):
    low, high = palette.bounds(np.array([5, 5], np.uint16), [np.array([0, 255]), np.array([0, 255])], 3)
    assert (low > high).all()
    low, high = palette.bounds(np.array([5], np.uint16), [], 3)
    assert (low > high).all()


def checkpoint(folder, seed=0, scale=4.0, **sizes):
    """A random checkpoint in the published layout, livelier than a fresh one."""
    from transformers import ImageGPTConfig, ImageGPTForCausalImageModeling

    torch.manual_seed(seed)
    config = ImageGPTConfig(**{**SMALL, **sizes})
    model = ImageGPTForCausalImageModeling(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1:
                parameter.mul_(scale)
            elif "ln_" in name:
                parameter.mul_(torch.rand_like(parameter) * 2 + 0.1)
    model.save_pretrained(folder)
    clusters = np.random.default_rng(seed).uniform(-1, 1, (config.vocab_size - 1, 3)).tolist()
    processor = {"image_processor_type": "ImageGPTImageProcessor", "clusters": clusters, "do_color_quantize": True, "do_normalize": True}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    return model.eval()


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The folder of a checkpoint, the float model, the integer one."""
    folder = tmp_path_factory.mktemp("checkpoint") / "small"
    model = checkpoint(folder)
    return folder, model, converted(folder, "small", CPU)


def token_tiles(network, count=4):
    tiles = [network.palette.tokens(picture(32, 32, 3, seed) if seed % 2 else smooth(32, 32, seed)).reshape(-1) for seed in range(count)]
    return np.stack(tiles)


def float_bits(model, tiles):
    """Per token, of (tiles, 1024) tokens, by transformers in float32."""
    some = torch.from_numpy(tiles.astype(np.int64))
    before = torch.nn.functional.pad(some[:, :-1], (1, 0), value=model.config.vocab_size - 1)
    with torch.no_grad():
        logits = model(before).logits
    return logits, float(torch.nn.functional.cross_entropy(logits.flatten(0, 1).double(), some.flatten())) / math.log(2)


def integer_bits(network, tiles):
    tables = token_frequencies(network, tiles, 1024)
    chosen = tables.gather(2, torch.from_numpy(tiles.astype(np.int64))[..., None])
    return -float(torch.log2(chosen.double() / 2**24).mean())


def assert_as_float(network, model, tiles, close):
    logits, expected = float_bits(model, tiles)
    assert integer_bits(network, tiles) == pytest.approx(expected, rel=close)
    before = torch.nn.functional.pad(torch.from_numpy(tiles.astype(np.int64))[:, :-1], (1, 0), value=network.config.tokens)
    attention = network.operations.attention(network.config, len(tiles), CPU)
    found = network.logits(before.flatten(), torch.arange(1024).repeat(len(tiles)), attention).view(logits.shape) * (math.log(2) / 128)
    centred = [x - x.mean(-1, keepdim=True) for x in (found, logits)]
    assert float((centred[0] - centred[1]).square().mean().sqrt()) < 0.1 * float(centred[1].square().mean().sqrt())


def test_tokens_are_those_of_the_image_processor(published):
    from transformers import ImageGPTImageProcessor

    folder, _, network = published
    processor = ImageGPTImageProcessor.from_pretrained(folder, do_resize=False)
    for pixels in (smooth(64, 48), picture(40, 40, 3)):
        theirs = processor(Image.fromarray(pixels), return_tensors="np")["input_ids"].reshape(-1)
        assert (theirs == network.palette.tokens(pixels).reshape(-1)).mean() > 0.999  # float32 may judge a tie


def test_logits_are_those_of_transformers(published):
    _, model, network = published
    assert_as_float(network, model, token_tiles(network), 0.01)


@pytest.mark.parametrize("options", [{"scale_attn_by_inverse_layer_idx": True}, {"scale_attn_weights": False}, {"n_inner": 48}])
def test_options_of_the_configuration_count(tmp_path, options):
    model = checkpoint(tmp_path, seed=3, scale=2.0, n_layer=3, **options)
    network = converted(tmp_path, "other", CPU)
    assert_as_float(network, model, token_tiles(network, 2), 0.01)


def outputs(network, tiles, stepwise=False, steps=96):
    now = torch.from_numpy(tiles.astype(np.int64))
    before = torch.nn.functional.pad(now[:, : steps - 1], (1, 0), value=network.config.tokens)
    if not stepwise:
        attention = network.operations.attention(network.config, len(tiles), CPU)
        found = network.layer_outputs(before.flatten(), torch.arange(steps).repeat(len(tiles)), attention)
        return [x.clone().view(len(tiles), steps, -1) for x in found]
    attention = network.operations.cached_attention(network.config, len(tiles), CPU)
    by_step = []
    for p in range(steps):
        attention.position = p
        by_step.append([x.clone() for x in network.layer_outputs(before[:, p], torch.tensor(p), attention)])
    return [torch.stack(x, 1) for x in zip(*by_step, strict=True)]


@pytest.mark.parametrize("stepwise", [False, True])
@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("product", PRODUCTS)
def test_the_same_integers_however_it_is_driven(published, stepwise, compiled, product):
    _, _, network = published
    tiles = token_tiles(network, 5)
    expected = outputs(network, tiles)
    other = PaletteImageGPT(network.config, network.tensors, "other", CPU, PRODUCTS[product])
    if compiled:
        prepare(other)
    assert compiled == (type(other.operations) is not PaletteOperations) == (other.engine_name == "compiled kernels")
    for part in (tiles, tiles[1:2]):
        for found, all_of_them in zip(outputs(other, part, stepwise), expected, strict=True):
            assert torch.equal(found, all_of_them[: len(part)] if len(part) > 1 else all_of_them[1:2])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_any_number_of_threads(monkeypatch, published, threads):
    _, _, network = published
    tiles = token_tiles(network, 3)
    expected, before = outputs(network, tiles), torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        monkeypatch.setenv("OMP_NUM_THREADS", str(threads))
        assert all(map(torch.equal, outputs(network, tiles), expected))
    finally:
        torch.set_num_threads(before)


@pytest.mark.gpu
def test_cuda_gives_the_same_integers():
    network = PaletteImageGPT.load(TINY_PALETTE, CPU)
    tiles = token_tiles(network, 5)
    there = PaletteImageGPT(network.config, network.tensors, "there", "cuda")
    assert torch.equal(token_frequencies(there, tiles, 200).cpu(), token_frequencies(network, tiles, 200))


def test_conversion_is_deterministic_and_reads_both_kinds_of_weights(published, tmp_path):
    folder, model, network = published
    assert converted(folder, "again", CPU).digest == network.digest
    for name in ("config.json", "preprocessor_config.json"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
    assert converted(tmp_path, "other", CPU).digest == network.digest
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        assert converted(folder, "again", CPU).digest == network.digest
    finally:
        torch.set_num_threads(before)


def test_the_digest_of_a_conversion_never_changes():
    """The integers that this checkpoint became when files were first made with it."""
    assert PaletteImageGPT.load(TINY_PALETTE, CPU).digest.hex() == "f5e3abe969ee134c0d082336c83c62ad"


def test_the_activation_is_quick_gelu():
    z = np.arange(0, 32768) / 4096
    assert np.abs(activation_table(CPU).numpy() / 4096 - z / (1 + np.exp(1.702 * z))).max() <= 0.5001 / 4096


def spoil(folder, what):
    config = json.loads((folder / "config.json").read_text())
    processor = json.loads((folder / "preprocessor_config.json").read_text())
    match what:
        case "other model":
            config["model_type"] = "gpt2"
        case "other activation":
            config["activation_function"] = "gelu"
        case "other size":
            config["n_embd"] = 64
        case "positions":
            config["n_positions"] = 256
        case "no width":
            config["n_embd"] = None
        case "text as epsilon" | "no epsilon" | "infinite epsilon":
            config["layer_norm_epsilon"] = {"t": "a", "n": None, "i": math.inf}[what[0]]
        case "few clusters":
            processor["clusters"] = processor["clusters"][:-1]
        case "text as clusters":
            processor["clusters"] = "none"
        case "huge clusters":
            processor["clusters"][0][0] = 10**400
        case "no weights":
            (folder / "model.safetensors").write_bytes(b"nonsense")
        case "pickle":
            (folder / "model.safetensors").unlink()
            (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n(S'true'\ntR.")
        case "weights in a list":
            (folder / "model.safetensors").unlink()
            torch.save([torch.zeros(1)], folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))


@pytest.mark.parametrize(
    "what",
    [
        "other model",
        "other activation",
        "other size",
        "positions",
        "no width",
        "text as epsilon",
        "no epsilon",
        "infinite epsilon",
        "few clusters",
        "text as clusters",
        "huge clusters",
        "no weights",
        "pickle",
        "weights in a list",
    ],
)
def test_unusable_checkpoints_are_refused(published, tmp_path, what):
    for path in published[0].iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    spoil(tmp_path, what)
    with pytest.raises(codec.ModelError):
        converted(tmp_path, "spoilt", CPU)


@pytest.fixture
def store(tmp_path, monkeypatch):
    """Added models go here."""
    monkeypatch.setenv("IGPT_MODEL_PATH", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.mark.parametrize("shape", [(1, 1, 3), (20, 70, 3), (33, 40, 1)])
def test_roundtrip(published, store, shape):
    pixels = smooth(*shape[:2])[..., : shape[2]]
    data = codec.compress(pixels, model=published[0], device="cpu")
    assert (codec.decode(data, device="cpu").reshape(shape) == pixels).all()
    info = codec.info(data)
    assert info.coding == "palette"
    assert engines_of(read(data), Options(device="cpu")) == "compiled kernels"
    assert info.models == (("small", published[2].digest.hex()), ("photo-3", models.load(None, "rgb", CPU).digest.hex()))
    assert data == codec.compress(pixels, model=published[0], device="cpu")


@pytest.mark.parametrize("channels", [2, 4])
def test_colour_goes_by_the_palette_where_alpha_is_beside_it(published, store, channels):
    pixels = np.dstack([smooth(20, 30)[..., : channels - 1], np.full((20, 30), 200, np.uint8)])
    data = codec.compress(pixels, model=published[0], device="cpu")
    assert codec.info(data).coding.startswith("palette; alpha: ")
    assert (codec.decode(data, device="cpu") == pixels).all()


def test_groups_and_lockstep_batches_do_not_matter(published, monkeypatch):
    _, _, network = published
    tokens = network.palette.tokens(smooth(40, 40))  # 2 x 2 tiles
    ways = {}
    for shape in (Shape(1, 1), Shape(2, 1), Shape(2, 2)):
        payloads = encode_tokens(network, tokens, shape, ignore)
        assert len(payloads) == 4 // shape.tiles
        for cache in (1, 1 << 30):
            monkeypatch.setattr(coding, "CACHE_BYTES", {"cpu": max(cache, shape.tiles * network.config.cache_bytes)})
            assert shape.tiles <= largest_group(network)
            assert (decode_tokens(network, (40, 40), shape, payloads, ignore) == tokens).all()
        ways[shape.tiles] = sum(map(len, payloads))
    assert ways[4] <= ways[2] <= ways[1]


def test_groups_are_as_large_as_every_decoder_can_hold(published, monkeypatch):
    _, _, network = published
    assert largest_group(network) == 64
    monkeypatch.setattr(coding, "MAX_PALETTE_CACHE_BYTES", 3 * network.config.cache_bytes + 1)
    assert largest_group(network) == 3
    monkeypatch.setattr(coding, "MAX_PALETTE_CACHE_BYTES", 1 << 30)
    coded = coded_by(PublishedPalette(), smooth(70, 100), model=TINY_PALETTE)
    tiny_cache = models.read(TINY_PALETTE, CPU).config.cache_bytes
    monkeypatch.setattr(coding, "MAX_PALETTE_CACHE_BYTES", 2 * tiny_cache)
    few = coded_by(PublishedPalette(), smooth(70, 100), model=TINY_PALETTE)
    assert (len(coded.chunks), len(few.chunks)) == (1 + 1, 6 + 6)
    with pytest.raises(codec.DamagedError, match="groups of 12 tiles are too large"):
        codec.decode(file_of(smooth(70, 100), coded), model=TINY_PALETTE, device="cpu")


def test_the_fields_say_that_a_group_is_too_large():
    """Before the model is looked for."""
    fields = Fields(Shape(13, 5), ModelName(bytes(16), "nobody"), None)
    with pytest.raises(codec.DamagedError, match="65 tiles are too large"):
        PublishedPalette().fields(Part(500, 200, 3, 8, Coding(PublishedPalette.number, 0, fields.to_bytes())))


def test_pictures_in_the_palettes_colours_take_tokens_only(published, store):
    folder, _, network = published
    pixels = network.palette.painted(network.palette.tokens(smooth(40, 40)), 3)
    data = codec.compress(pixels, model=folder, palette_only=True, device="cpu")
    assert [model.name for model in codec.info(data).models] == ["small"]
    assert codec.info(data).chunks == 1
    assert (codec.decode(data, device="cpu") == pixels).all()
    with pytest.raises(codec.UnsupportedImageError, match="igpt quantize"):
        codec.compress(smooth(40, 40), model=folder, palette_only=True, device="cpu")
    with pytest.raises(codec.ModelError, match="palette"):
        codec.compress(pixels, palette_only=True)


def test_a_damaged_or_hostile_file_is_refused(published, store):
    folder, _, network = published
    pixels = smooth(20, 20)
    data = codec.compress(pixels, model=folder, device="cpu")
    for at in range(0, len(data), 7):
        with pytest.raises(codec.IgptError):
            codec.decode(data[:at] + bytes([data[at] ^ 16]) + data[at + 1 :], device="cpu")
    with pytest.raises(codec.DamagedError, match="too large for its model"):
        decode_tokens(network, (32, 32), Shape(largest_group(network) + 1, 1), [b""], ignore)


def in_fields(data, change):
    (found,) = read(data).front.codings
    return remade(data, codings=[found._replace(fields=change(found.fields))])


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda fields: b"\2" + fields[1:], "coding is unknown"),
        (lambda fields: b"\0" + fields[1:], "other fields"),  # the refinement is left over
        (lambda fields: b"\0" + fields[1:-21], "2 chunks, 1 are wanted"),
        (lambda fields: fields[:-1], "too little"),
        (lambda fields: fields[:1] + b"\0" + fields[2:], "out of range"),
        (lambda fields: fields[:1] + b"\x80\2\2" + fields[3:], "out of range"),
        (lambda fields: fields[:3] + models.digest_of(TINY) + fields[19:], "has no palette"),
        (lambda fields: fields[:-21] + models.digest_of(TINY_PALETTE) + b"\0", "does not code"),
        (lambda fields: fields[:-21] + models.digest_of(TINY_YCC) + b"\0", "does not code"),
    ],
)
def test_other_fields_are_refused(change, what, only_tiny_models):
    """Of a file whose refinement has no name."""
    pixels = smooth(20, 20)
    data = file_of(pixels, coded_by(PublishedPalette(), pixels, model=TINY_PALETTE))
    assert (codec.decode(data, device="cpu") == pixels).all()
    with pytest.raises(codec.DamagedError, match=what):
        codec.decode(in_fields(data, change), device="cpu")


def command(*arguments):
    return run(app, [str(a) for a in arguments])


def test_converting_and_quantising_tell_how_far_they_are(published):
    done = []
    network = converted(published[0], "again", CPU, done.append)
    assert sum(done) == 100
    assert len(done) > 10
    done.clear()
    network.palette.quantized(smooth(20, 30), done.append)
    assert sum(done) == 20 * 30


def test_from_the_command_line(published, store, tmp_path):
    folder, source, small = published[0], tmp_path / "x.png", tmp_path / "x.igpt"
    Image.fromarray(smooth(20, 30)).save(source)
    added = command("models", "add", folder)
    assert added.exit_code == 0, added.output
    kept = list(store.iterdir())
    assert len(kept) == 1
    assert command("models", "add", folder).exit_code == 0
    assert list(store.iterdir()) == kept
    assert "small" in command("models").output
    assert command("compress", source, small, "--model", folder).exit_code == 0
    assert command("decompress", small, tmp_path / "y.png").exit_code == 0
    assert (np.asarray(Image.open(tmp_path / "y.png")) == smooth(20, 30)).all()
    assert command("quantize", source, tmp_path / "q.png", "--model", folder).exit_code == 0
    assert command("compress", tmp_path / "q.png", tmp_path / "q.igpt", "--model", kept[0], "--palette-only").exit_code == 0
    refused = command("compress", source, tmp_path / "z.igpt", "--model", folder, "--palette-only")
    assert (refused.exit_code, (tmp_path / "z.igpt").exists()) == (1, False)


def test_files_say_what_is_missing(published, store, tmp_path, monkeypatch):
    data = codec.compress(smooth(20, 20), model=published[0], device="cpu")
    monkeypatch.setenv("IGPT_MODEL_PATH", str(tmp_path / "elsewhere"))
    with pytest.raises(codec.ModelError, match="igpt models add"):
        codec.decode(data, device="cpu")


@pytest.mark.parametrize("name", ["no-such-folder", "./none", "nobody/nothing-like-it"])
def test_models_that_are_not_here(store, tmp_path, monkeypatch, name):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(codec.ModelError) as caught:
        codec.compress(smooth(20, 20), model=name)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_hub_id_is_found_in_the_hubs_cache(published, store, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    snapshot = tmp_path / "models--somebody--imagegpt-tiny" / "snapshots" / ("0" * 40)
    snapshot.mkdir(parents=True)
    for path in published[0].iterdir():
        (snapshot / path.name).write_bytes(path.read_bytes())
    (tmp_path / "models--somebody--imagegpt-tiny" / "refs").mkdir()
    (tmp_path / "models--somebody--imagegpt-tiny" / "refs" / "main").write_text("0" * 40)
    data = codec.compress(smooth(20, 20), model="somebody/imagegpt-tiny", device="cpu")
    assert codec.info(data).models[0].name == "imagegpt-tiny"
    assert (codec.decode(data, device="cpu") == smooth(20, 20)).all()
    with pytest.raises(codec.ModelError, match="not on this machine"):
        codec.compress(smooth(20, 20), model="somebody/imagegpt-tiny", revision="other")
    (tmp_path / "models--somebody--imagegpt-tiny" / "refs" / "main").unlink()
    again = codec.compress(smooth(20, 20), model="somebody/imagegpt-tiny", revision="0" * 40, verify=True, device="cpu")
    assert again == data


@pytest.mark.network
def test_the_published_model(store):
    data = codec.compress(smooth(20, 20), model=models.add("openai/imagegpt-small"))
    assert (codec.decode(data) == smooth(20, 20)).all()


def test_a_trained_checkpoint_costs_what_it_costs_in_float():
    """The checkpoint of the repository, on real pictures: at most 1 % more bits."""
    from skimage import data
    from transformers import ImageGPTForCausalImageModeling

    network = converted(CHECKPOINT_1, "palette-1", CPU)
    pixels = data.chelsea()
    tiles = np.stack([network.palette.tokens(pixels[y : y + 32, x : x + 32]).reshape(-1) for y, x in ((30, 60), (120, 200), (200, 100))])
    model = ImageGPTForCausalImageModeling.from_pretrained(CHECKPOINT_1).eval()
    assert_as_float(network, model, tiles, 0.01)


@pytest.mark.slow
def test_the_size_of_the_published_small_model(store, tmp_path):
    """Random weights: 24 layers of 512, a picture of one tile and a bit."""
    checkpoint(tmp_path / "m", scale=1.0, n_layer=24, n_embd=512, n_head=8, vocab_size=513)
    pixels = smooth(33, 40)
    data = codec.compress(pixels, model=tmp_path / "m", device="cpu")
    assert (codec.decode(data, device="cpu") == pixels).all()


def test_configurations_are_checked():
    with pytest.raises(codec.ModelError, match="multiple"):
        PaletteConfig(n_embd=30, n_head=3, n_inner=64, n_layer=1, vocab_size=65)
