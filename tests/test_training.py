"""Training on next to nothing: it learns, goes on where it stopped, and leaves a model that codes."""

import functools
import itertools
import json
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

import codec
from codec.jpeg.coefficients import decode, encode
from codec.jpeg.network import CoefficientNetwork
from codec.network.config import ModelConfig
from codec.network.model import IntegerImageGPT
from codec.progress import ignore
from codec.tiling.context import STRIPS
from codec.tiling.planes import GREY, LAYOUTS, RGB
from codec.training import coefficients, loop, state
from codec.training.card import finish
from codec.training.data import Pictures, TrainingData, as_ranks
from codec.training.records import planes_of
from codec.training.reference import ImageGPT
from tests.conftest import CPU, picture, smooth, with_network

CONFIG = ModelConfig(n_embd=16, n_layer=1, n_head=2, n_inner=32, head_inner=16)


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    for seed in range(3):
        Image.fromarray(picture(60, 70, 3, seed)).save(path / f"{seed}.png")
    return path


def test_batches(folder):
    batch = TrainingData([folder, folder]).batch(40, np.random.default_rng(0), LAYOUTS["rgb"])
    assert batch[RGB][0].shape[1:] == (3, 1024)
    assert batch[GREY][0].shape[1:] == (1, 1024)
    assert sum(len(samples) for samples, _ in batch.values()) == 40


def test_ranks_are_those_of_values_that_far_apart():
    """As many values next to each other have each rank, but for the first and the last, from wherever they begin."""
    ramp, rng, found = np.arange(256, dtype=np.uint8).repeat(3).reshape(16, 16, 3), np.random.default_rng(0), set()
    for _ in range(200):
        for of in as_ranks(ramp, rng).reshape(256, 3).T:
            ranks, counts = np.unique(of, return_counts=True)
            assert (np.diff(of.astype(int)) >= 0).all()
            assert ranks[0] == 0
            assert (np.diff(ranks) == 1).all()
            assert len(set(counts[1:-1])) == 1
            assert max(counts[0], counts[-1]) <= counts[1]
            found.add((int(counts[1]), int(counts[0])))
    assert {apart for apart, _ in found} == {3, 5, 7, 9}
    assert len(found) == 3 + 5 + 7 + 9


def test_batches_of_luma_and_chroma(folder):
    batch = TrainingData([folder]).batch(40, np.random.default_rng(0), LAYOUTS["ycc"])
    for kind, (samples, around) in batch.items():
        assert samples.shape[1:] == (kind.channels, 1024)
        assert around.sides.shape == (len(samples),)
        assert around.strips.shape == (len(samples), kind.channels, STRIPS)
        assert (around.windows is None) == (not kind.surrounded)
        assert around.windows is None or around.windows.shape == (len(samples), 2, 40, 40)
    assert len(batch) == 4


def test_tiles_know_what_lies_at_their_sides(tmp_path):
    """In half of the tiles, mostly on all sides; a strip goes on where a tile ends."""
    y, x = np.mgrid[:60, :70]
    Image.fromarray(np.dstack([y + 2 * x] * 3).astype(np.uint8)).save(tmp_path / "ramp.png")
    samples, around = TrainingData([tmp_path]).tiles(RGB, 400, np.random.default_rng(0))
    sides = around.sides.numpy()
    assert 150 < (sides == 0).sum() < 250
    assert 100 < (sides == 15).sum() < 200
    tiles = samples.numpy().reshape(-1, 32, 32).astype(int)
    north, west, east, south = np.split(around.strips.numpy().reshape(len(tiles), -1).astype(int), 4, 1)
    across, down = (
        np.concatenate(row, axis) for row, axis in (([columns(west), tiles, columns(east)], 2), ([rows(north), tiles, rows(south)], 1))
    )
    for steps in (np.diff(across, axis=2), np.diff(down, axis=1)):
        assert (abs(steps) == abs(steps[:, :1, :1])).all()


def rows(strips):
    return strips.reshape(-1, 3, 32)


def columns(strips):
    return strips.reshape(-1, 32, 3)


def test_an_empty_folder_is_an_error(tmp_path):
    with pytest.raises(codec.IgptError, match="no picture"):
        TrainingData([tmp_path])


def test_training_learns_goes_on_and_leaves_a_model(folder, tmp_path, monkeypatch):
    out = tmp_path / "model"
    monkeypatch.setattr(loop, "VALIDATION_TILES", 4)
    arguments = ([folder], folder, out)
    monkeypatch.setattr(loop, "VALIDATION_SHARE", 1)

    def share_until_ctrl_c(progress):
        if progress == 31 / 60 and not stopped:
            stopped.append(progress)
            signal.raise_signal(signal.SIGINT)
        return rate_share(progress)

    stopped, rate_share = [], loop.rate_share
    monkeypatch.setattr(loop, "rate_share", share_until_ctrl_c)
    with pytest.raises(KeyboardInterrupt):
        loop.train(*arguments, steps=60, config=CONFIG, device=CPU, tiles=2, quiet=True)
    first = json.loads((out / "training.json").read_text())
    assert 1 < len(first)
    assert torch.load(out / "training.pt", weights_only=True)["step"] == 31
    assert list((out / "curves").iterdir())
    monkeypatch.undo()
    monkeypatch.setattr(loop, "VALIDATION_TILES", 4)
    monkeypatch.setattr(loop, "VALIDATION_SHARE", 1)
    loop.train(*arguments, steps=60, config=CONFIG, device=CPU, tiles=2, quiet=True)
    log = json.loads((out / "training.json").read_text())
    assert log[: len(first)] == first
    assert log[-1]["step"] == 60
    assert log[-1]["rgb"] < log[0]["rgb"] - 0.3
    finish(out, [folder], folder, "Made up.", "", CPU, quiet=True)
    card = (out / "MODEL_CARD.md").read_text()
    assert not (out / "training.pt").exists()
    assert "Made up." in card
    assert "| licence | none was given |" in card
    assert "licence" not in json.loads((out / "card.json").read_text())
    pixels = picture(40, 40, 3, 1)
    data = with_network(pixels, out)
    assert IntegerImageGPT.load(out, CPU).digest.hex() in card
    assert (codec.decode(data, model=out, device="cpu") == pixels).all()


def test_the_state_is_written_while_training_goes_on(folder, tmp_path, monkeypatch):
    """A training that is killed goes on from there; validation takes its share of the time, but for the last one. A step takes a second
    here, a validation seven."""
    clock, written = [0.0], [(0, 0.0)]

    def bits(*given, right=loop.bits):
        clock[0] += 1
        return right(*given)

    def validated(model, held_out):
        clock[0] += 7
        return dict.fromkeys(held_out, 5.0)

    def write(kept, right=state.State.write):
        if 70 < kept.step < 100:
            raise MemoryError
        written.append((kept.step, clock[0]))
        right(kept)

    monkeypatch.setattr(state.State, "write", write)
    monkeypatch.setattr(state, "SECONDS", 29)
    for name, value in {"bits": bits, "bits_per_sample": validated, "VALIDATION_TILES": 2}.items():
        monkeypatch.setattr(loop, name, value)
    for module in (loop, state):
        monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: clock[0]))
    arguments = {"steps": 390, "config": CONFIG, "device": CPU, "tiles": 1, "quiet": True}
    with pytest.raises(MemoryError):
        loop.train([folder], folder, tmp_path / "model", **arguments)
    assert 50 < torch.load(tmp_path / "model" / "training.pt", weights_only=True)["step"] <= 70
    assert len(written) == 3
    written.append((70, clock[0]))
    monkeypatch.setattr(state.State, "write", lambda kept: written.append((kept.step, clock[0])))
    loop.train([folder], folder, tmp_path / "model", **arguments)
    assert written[-1][0] == 390
    assert max(after - before for (_, before), (_, after) in itertools.pairwise(written)) < 40
    log = json.loads((tmp_path / "model" / "training.json").read_text())
    assert [entry["step"] for entry in log][-1] == 390
    assert 3 <= len(log) - 1 <= 0.1 * clock[0] / 7


def test_a_state_that_does_not_fit_is_said(folder, tmp_path):
    out = tmp_path / "model"
    out.mkdir()
    for content, what in ((b"", "this training cannot go on"), (b"hello", "remove the file to begin anew")):
        (out / "training.pt").write_bytes(content)
        with pytest.raises(codec.IgptError, match=what) as caught:
            loop.train([folder], folder, out, steps=1, config=CONFIG, device=CPU, tiles=1, quiet=True)
        assert "\n" not in str(caught.value)
    (out / "training.pt").unlink()
    other = ImageGPT(ModelConfig(n_embd=32, n_layer=1, n_head=2, n_inner=32, head_inner=16))
    state.State(out, other, loop.optimizers(other, 1e-3), CPU).write()
    with pytest.raises(codec.IgptError, match="give the options it began with"):
        loop.train([folder], folder, out, steps=1, config=CONFIG, device=CPU, tiles=1, quiet=True)


@pytest.mark.filterwarnings("default")  # torch's own
def test_a_phase_that_begins_leaves_the_network_compiled(folder, tmp_path, monkeypatch):
    """Choosing the quantisers' steps once had torch give up compiling, as it compiled each batch anew."""
    torch.compiler.reset()
    monkeypatch.setattr(torch.nn.Module, "compile", functools.partialmethod(torch.nn.Module.compile, backend="eager"))
    for name, value in {"WORTH_COMPILING": 1, "VALIDATION_TILES": 2, "VALIDATION_SHARE": 1, "compiles": lambda _: True}.items():
        monkeypatch.setattr(loop, name, value)
    with torch._dynamo.config.patch(fail_on_recompile_limit_hit=True):
        loop.train([folder], folder, tmp_path / "out", steps=6, config=CONFIG, device=CPU, tiles=4, quantize_from=0.5, quiet=True)
    assert ImageGPT.load(tmp_path / "out").has_steps


def test_of_many_pictures_a_part_is_kept(tmp_path):
    for k, shape in enumerate(((200, 100), (60, 90), (30, 200))):
        Image.fromarray(picture(*shape, 3, k)).save(tmp_path / f"{k}.png")
    whole, part = Pictures(tmp_path), Pictures(tmp_path, 10_000)
    assert [p.shape[:2] for p in whole.pictures] == [(200, 100), (60, 90)]  # the third is too small
    assert [p.shape[:2] for p in part.pictures] == [(126, 63), (38, 57)]
    assert part.crop(np.random.default_rng(0)).shape == (38, 38, 3)


def test_training_from_a_checkpoint(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "VALIDATION_TILES", 2)
    monkeypatch.setattr(loop, "VALIDATIONS", 1)
    torch.manual_seed(0)
    ImageGPT(CONFIG).save(tmp_path / "start")
    loop.train([folder], folder, tmp_path / "out", steps=3, config=CONFIG, device=CPU, tiles=1, start_from=tmp_path / "start", quiet=True)
    assert ImageGPT.load(tmp_path / "out").has_steps


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # torch's own
def test_compiled_training_is_the_same_but_for_rounding(folder, tmp_path, monkeypatch):
    if not loop.compiles(CPU):
        pytest.skip("torch cannot compile here")
    monkeypatch.setattr(loop, "VALIDATION_TILES", 2)
    logs = []
    for least in (4, 5):
        monkeypatch.setattr(loop, "WORTH_COMPILING", least)
        torch.manual_seed(0)
        ImageGPT(CONFIG).save(tmp_path / "start")
        out = tmp_path / str(least)
        loop.train([folder], folder, out, steps=4, config=CONFIG, device=CPU, tiles=1, start_from=tmp_path / "start", quiet=True)
        logs.append(json.loads((out / "training.json").read_text())[-1]["rgb"])
    assert logs[0] == pytest.approx(logs[1], abs=0.05)


def test_training_where_torch_cannot_compile(monkeypatch):
    def broken(_):
        msg = "no compiler"
        raise RuntimeError(msg)

    monkeypatch.setattr(torch, "compile", broken)
    assert not loop.compiles(CPU)


@pytest.fixture
def for_coefficients(tmp_path, monkeypatch):
    """A folder of a picture, a JPEG and a picture that is too small."""
    monkeypatch.setattr(coefficients, "RECORDS", 12000)
    monkeypatch.setattr(coefficients, "HELD_OUT", 2000)
    monkeypatch.setattr(coefficients, "BATCH", 512)
    path = tmp_path / "coefficients"
    path.mkdir()
    Image.fromarray(smooth(96, 96)).save(path / "0.png")
    Image.fromarray(smooth(120, 100, 1)).save(path / "1.jpg", quality=90)
    Image.fromarray(smooth(2, 2)).save(path / "2.png")
    return path


def test_training_for_coefficients_learns_and_leaves_a_model(for_coefficients, tmp_path):
    costs = []
    for steps in (1, 150):
        out = tmp_path / f"steps-{steps}"
        coefficients.run([for_coefficients], out, steps, "Made up.", "CC0", quiet=True)
        network, card = CoefficientNetwork.load(out, out.name), (out / "MODEL_CARD.md").read_text()
        values = json.loads((out / "card.json").read_text())
        assert (out / coefficients.CHECKPOINT_FILE).exists()
        assert values["digest"] == network.digest.hex()
        assert network.digest.hex() in card
        assert "Made up." in card
        assert values["licence"] == "CC0"
        assert "| licence | CC0 |" in card
        costs.append(values["bpsp"]["coefficients"])
    assert costs[1] < costs[0] - 0.5
    planes = planes_of((for_coefficients / "1.jpg").read_bytes())
    sizes, steps_of = [plane.coefficients.shape[:2] for plane in planes], [plane.steps for plane in planes]
    payloads = encode(planes, network, ignore)
    back = decode(payloads, sizes, steps_of, network, ignore)
    assert all((blocks == plane.coefficients).all() for blocks, plane in zip(back, planes, strict=True))
    assert len(payloads[0]) < len(encode(planes, None, ignore)[0])


def test_training_for_coefficients_goes_on(for_coefficients, tmp_path, monkeypatch):
    """After Ctrl-C from there on, to the same network as without it."""
    networks = []
    for stops in (False, True):
        out = tmp_path / str(stops)

        def nats(logits, records, steps=itertools.count(1), right=coefficients.nats):
            if next(steps) == 5:
                signal.raise_signal(signal.SIGINT)
            return right(logits, records)

        with monkeypatch.context() as patched:
            if stops:
                patched.setattr(coefficients, "nats", nats)
                with pytest.raises(KeyboardInterrupt):
                    coefficients.run([for_coefficients], out, 8, "", "", quiet=True)
                assert torch.load(out / "training.pt", weights_only=True)["step"] == 5
        coefficients.run([for_coefficients], out, 8, "", "", quiet=True)
        assert not (out / "training.pt").exists()
        networks.append(CoefficientNetwork.load(out, "x").digest)
    assert networks[0] == networks[1]


def test_training_for_coefficients_needs_enough_of_them(for_coefficients, tmp_path):
    (for_coefficients / "0.png").unlink()
    with pytest.raises(codec.IgptError, match="are needed"):
        coefficients.run([for_coefficients], tmp_path / "out", 1, "", "", quiet=True)
    (for_coefficients / "3.jpg").write_bytes(b"no JPEG")
    with pytest.raises(codec.IgptError, match=r"3\.jpg: .* no JPEG"):
        coefficients.run([for_coefficients], tmp_path / "out", 1, "", "", quiet=True)


@pytest.mark.gpu
def test_training_on_cuda(folder, tmp_path):
    loop.train([folder], folder, tmp_path / "out", steps=20, config=CONFIG, device="cuda", tiles=2, quiet=True)
    assert ImageGPT.load(tmp_path / "out").has_steps
