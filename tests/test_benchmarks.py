"""The benchmark scripts run on small pictures, and what they report is real."""

import csv
import io
import json
import os
import shutil
import sys

import numpy as np
import pytest
from PIL import Image

import codec
from benchmarks import demo10, drawings, gpu, loader, lossy, measure, modes, near, pasts, plots, profile, rate, readme, speed, transform
from codec.methods import stored
from codec.methods.mixing import Mixing
from codec.pictures.pillow import image_of
from tests.conftest import picture, smooth


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "set"
    path.mkdir()
    Image.fromarray(picture(40, 50, 3)).save(path / "a.png")
    Image.fromarray(picture(33, 20, 1).squeeze()).save(path / "b.png")
    return path


@pytest.fixture(autouse=True)
def small(monkeypatch, only_tiny_models):
    """The tiny models, and no full-length thumbnails: what is tested is the scripts."""
    monkeypatch.setattr(demo10, "SIZES", {"3x3": 3, "full": 0})


def run(module, monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["x", *map(str, arguments)])
    module.main()


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def only_network(monkeypatch):
    """The tiny model makes noise of everything, which would be coded without it."""
    monkeypatch.setattr(Mixing, "offer", lambda *_: [])
    monkeypatch.setattr(stored, "_row_bytes", lambda *_: 1 << 30)


def test_rate(folder, tmp_path, monkeypatch):
    only_network(monkeypatch)
    run(rate, monkeypatch, folder, "--out", tmp_path / "out", "--efforts", 1)
    first, second = rows(tmp_path / "out" / "set.csv")
    assert first["coded as"] == second["coded as"] == "network"
    assert int(first["igpt"]) == len(codec.compress(folder / "a.png"))
    assert int(second["as stored"]) == os.path.getsize(folder / "b.png")
    assert float(first["theory"]) <= int(first["igpt"]) <= float(first["theory"]) * 1.001 + 128
    text = (tmp_path / "out" / "set.md").read_text()
    for word in ("Commit:", "Machine:", "torch", "python -m benchmarks.rate", "| **all, bytes** |"):
        assert word in text
    for plot in ("ratio", "theory", "ranks"):
        assert (tmp_path / "out" / f"set-{plot}.png").exists()


def test_plots_are_drawn_again_from_the_tables(tmp_path, monkeypatch):
    """Of the numbers as text, of every committed table that has plots, and of one with losses and files that are as large as the theory."""
    monkeypatch.setattr(readme, "RESULTS", tmp_path)
    names = ("scikit-image", "drawings")
    for name in ("demo10", "speed", *names):
        shutil.copy(measure.RESULTS / f"{name}.csv", tmp_path)
    for name in names:
        (tmp_path / f"{name}-ratio.png").touch()
    readme.redraw()
    expected = {"demo10", "speed", "speed-scaling", *(f"{name}-{plot}" for name in names for plot in ("ratio", "theory"))}
    assert {path.stem for path in tmp_path.glob("*.png") if path.read_bytes().startswith(b"\x89PNG")} == expected
    odd = {"picture": "x", "width": 4, "height": 4, "theory": 50, "igpt": 50, "PNG optimised": 70, "WebP": 20, "JPEG 75 (lossy)": 5}
    plots.of_rate([odd], tmp_path / "odd")
    plots.of_rate([odd, {**odd, "theory": 40}] * 30, tmp_path / "many")


def test_rate_takes_over_what_other_codecs_made(folder, tmp_path, monkeypatch):
    run(rate, monkeypatch, folder, "--out", tmp_path / "out", "--efforts", 1)
    monkeypatch.setattr(rate, "lossless_bytes", None)
    run(rate, monkeypatch, folder, "--out", tmp_path / "again", "--efforts", 1, "--others", tmp_path / "out" / "set.csv")
    assert (tmp_path / "again" / "set.csv").read_text() == (tmp_path / "out" / "set.csv").read_text()
    with pytest.raises(SystemExit, match="another picture"):
        run(rate, monkeypatch, folder, "--out", tmp_path / "again", "--efforts", 1, "--green", "--others", tmp_path / "out" / "set.csv")


def test_rate_of_the_green_channel(folder, tmp_path, monkeypatch):
    run(rate, monkeypatch, folder, "--out", tmp_path / "out", "--efforts", 1, "--green")
    first, second = rows(tmp_path / "out" / "set-green.csv")
    assert first["channels"] == second["channels"] == "1"
    green = np.asarray(Image.open(folder / "a.png"))[..., 1]
    assert int(first["igpt"]) == len(codec.compress(Image.fromarray(green)))


def test_drawings(tmp_path, monkeypatch):
    monkeypatch.setattr(drawings, "PICTURES", (drawings.pixel_art, drawings.line_drawing))
    monkeypatch.setattr(rate, "lossless_encoders", lambda _: measure.lossless_encoders((1,)))
    run(drawings, monkeypatch, "--out", tmp_path / "out")
    for row in rows(tmp_path / "out" / "drawings.csv"):
        assert row["coded as"] == "mixing"
        assert float(row["theory"]) <= int(row["igpt"]) < int(row["WebP"])


def test_demo10(folder, tmp_path, monkeypatch):
    (folder / "a.png").unlink()
    run(demo10, monkeypatch, folder, "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "demo10.csv")
    assert len(found) == 6
    assert {(r["size"], r["colours"]) for r in found} == {(s, c) for s in demo10.SIZES for c in ("rgb", "grey", demo10.TOKENS)}


def test_speed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "lossless_encoders", lambda: measure.lossless_encoders((1,)))
    monkeypatch.setattr(speed, "BLOCK", 16)
    run(speed, monkeypatch, folder, "--megapixels", 0.002, 0.01, "--runs", 2, "--out", tmp_path / "out")
    names = [r["codec"] for r in rows(tmp_path / "out" / "speed.csv")]
    assert names[0].startswith("igpt")
    assert {"PNG", "WebP", "JPEG XL 1"} <= set(names)


def test_modes(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(modes, "MADE", {name: make for k, (name, make) in enumerate(modes.MADE.items()) if k in (1, 5, 9)})
    monkeypatch.setattr(modes, "RAMPS", dict([*modes.RAMPS.items()][:1]))
    monkeypatch.setattr(modes, "ICONS", 1)
    palette = Image.fromarray(picture(20, 30, 3)).quantize(9)
    palette.info["transparency"] = 3
    (tmp_path / "suite").mkdir()
    palette.save(tmp_path / "suite" / "palette.png")
    run(modes, monkeypatch, folder, "--pngsuite", tmp_path / "suite", "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "modes.csv")
    assert len({r["set"] for r in found}) == 7
    for row in found:
        assert int(row["PNG"]) <= int(row["PNG, the same form"])
        assert bool(row["WebP"]) == (row["bits"] != "16")
    assert int(found[-1]["igpt"]) == len(codec.compress(tmp_path / "suite" / "palette.png"))
    monkeypatch.setattr(modes, "others_bytes", None)
    again = "--others", tmp_path / "out" / "modes.csv"
    run(modes, monkeypatch, folder, "--pngsuite", tmp_path / "suite", *again, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "modes.csv").read_text() == (tmp_path / "out" / "modes.csv").read_text()
    text = (tmp_path / "out" / "modes.md").read_text()
    assert "python -m benchmarks.modes" in text
    assert "Larger than the smaller of PNG and WebP" in text


def test_a_competitor_that_changes_pixels_does_not_count():
    pixels = picture(30, 30, 3)

    def lossy(image):
        stream = io.BytesIO()
        image.save(stream, "JPEG")
        return stream.getvalue()

    with pytest.raises(ValueError, match="other pixels"):
        measure.lossless_bytes(pixels, lossy)


def test_order_0_entropy():
    assert rate.order_0_bits(np.full((8, 8, 3), 5, np.uint8)) == 0
    assert rate.order_0_bits(np.arange(256, dtype=np.uint8).reshape(16, 16, 1)) == 256 * 8


def test_pasts(folder, tmp_path, monkeypatch):
    run(pasts, monkeypatch, folder, "--every", 2, "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "pasts.csv")
    assert len(found) == 9
    assert {(r["quality"], r["sampling"]) for r in found} == {(str(q), s) for q in pasts.QUALITIES for s in pasts.SAMPLINGS}
    assert "| 90, 4:2:0 |" in (tmp_path / "out" / "pasts.md").read_text()


def test_profile(folder, tmp_path, monkeypatch):
    Image.fromarray(picture(520, 520, 3)).save(folder / "c.png")
    monkeypatch.setattr(profile, "commands", lambda source: [])
    monkeypatch.setattr(profile, "least", lambda times, work, *arguments: (work(1, *arguments), 1.0)[1])
    monkeypatch.setattr(sys, "argv", ["x", str(folder), "--megapixels", "0.01", "--thumbnails", "2", "--out", str(tmp_path)])
    profile.main()
    text = (tmp_path / "profile.md").read_text()
    for word in ("compress 0.01 MP", "decompress 2 of 32x32", "layers", "attention"):
        assert word in text


def test_gpu_on_a_cpu(tmp_path, monkeypatch):
    """Every step once, on next to nothing."""
    monkeypatch.setattr(gpu, "DATA", tmp_path)
    monkeypatch.setattr(speed, "BLOCK", 32)
    sizes = {"MADE_UP": (2, 64, 64), "CROSSED": (20, 40), "MEGAPIXELS": (0.001, 0.002), "THUMBNAILS": 3, "BATCHES": (1, 2)}
    sizes |= {"BATCHED_MEGAPIXELS": 0.002, "PROFILED_TILES": 2, "PROFILED_POSITIONS": 2, "TRAINING_TILES": 1, "TRIAL_STEPS": 1}
    for name, size in sizes.items():
        monkeypatch.setattr(gpu, name, size)
    monkeypatch.setattr(gpu.loop, "VALIDATION_TILES", 2)
    monkeypatch.setattr(gpu.loop, "OBSERVED_BATCHES", 1)
    train = gpu.loop.train
    monkeypatch.setattr(gpu.loop, "train", lambda *arguments, **options: train(*arguments[:3], min(3, arguments[3]), **options))
    out = tmp_path / "out"
    run(gpu, monkeypatch, "--out", out, "--device", "cpu", "--minutes", 3)
    found = {name: json.loads((out / f"{name}.json").read_text()) for name in gpu.STEPS}
    assert not any("error" in result for result in found.values())
    assert all(row["exact"] is True for row in found["known-answers"]["rows"])
    assert found["tests"]["rows"][0]["exit code"] == "0"
    assert [row["same bytes"] for row in found["across-devices"]["rows"][1:]] == [True] * 5
    assert all(isinstance(row["compress s"], float) for row in found["speed"]["rows"])
    assert (out / "gpu.md").read_text().count("## ") == len(gpu.STEPS)
    assert (out / "training" / "model.safetensors").exists()


def test_gpu_loses_nothing(tmp_path, monkeypatch):
    """A step that fails is told of, with what it had found, and the next goes on; where no time is left, none begins."""

    def fails(_):
        yield [{"what": "a|b", "is": 1}]
        msg = "no | more"
        raise ValueError(msg)

    monkeypatch.setattr(gpu, "STEPS", {"fails": fails, "goes-on": lambda _: iter([[{"what": "c"}]])})
    run(gpu, monkeypatch, "--out", tmp_path, "--device", "cpu")
    assert json.loads((tmp_path / "fails.json").read_text())["rows"] == [{"what": "a|b", "is": 1}]
    text = (tmp_path / "gpu.md").read_text()
    assert "| a/b | 1 |" in text
    assert "ValueError: no | more" in text
    assert "| c |" in text
    run(gpu, monkeypatch, "--out", tmp_path, "--device", "cpu", "--minutes", 0)
    assert json.loads((tmp_path / "goes-on.json").read_text())["rows"] == [{"what": "no time left"}]


def test_loader(folder, tmp_path, monkeypatch):
    run(loader, monkeypatch, folder, "--sides", 16, "--crops", 2, "--workers", 0, "--runs", 1, "--batch", 3, "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "loader.csv")
    assert [row["codec"] for row in found] == ["igpt fast", "igpt", "PNG", "WebP"]
    assert all(float(row["images/s"]) > 0 and int(row["images"]) == 4 for row in found)
    assert "python -m benchmarks.loader" in (tmp_path / "out" / "loader.md").read_text()


def test_lossy(tmp_path, monkeypatch):
    photographs = tmp_path / "set"
    photographs.mkdir()
    Image.fromarray(smooth(180, 190, 1)).save(photographs / "a.png")
    monkeypatch.setattr(lossy, "OTHERS", {"JPEG": (lossy.OTHERS["JPEG"][0], (20, 60, 95))})
    run(lossy, monkeypatch, photographs, "--level", "fast", "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "lossy-set.csv")
    assert [(row["codec"], row["setting"]) for row in found] == [
        *(("igpt", how) for how in ("low", "medium", "high")),
        *(("JPEG", quality) for quality in ("20", "60", "95")),
    ]
    assert all(20 < float(row["PSNR"]) < 70 and 0 < float(row["MS-SSIM"]) < 90 for row in found)
    assert "python -m benchmarks.lossy" in (tmp_path / "out" / "lossy-set.md").read_text()
    assert (tmp_path / "out" / "lossy-set.png").exists()


def test_transform(tmp_path, monkeypatch):
    """A training of moments, and its real files."""
    photographs = tmp_path / "set"
    photographs.mkdir()
    Image.fromarray(smooth(180, 190, 3)).save(photographs / "a.png")
    Image.fromarray(smooth(176, 200, 1)[..., 0]).save(photographs / "b.png")
    small = {"OUTER": 8, "INNER": 8, "LATENTS": 8, "HYPER": 4, "WIDTH": 24, "HELD_OUT": 2, "CROPS": 2, "VALIDATIONS": 1}
    for name, value in small.items():
        monkeypatch.setattr(transform, name, value)
    monkeypatch.setattr(transform, "RESULTS", tmp_path)
    monkeypatch.setattr(lossy, "OTHERS", {"JPEG": (lossy.OTHERS["JPEG"][0], (1, 95))})
    run(lossy, monkeypatch, photographs, "--level", "fast", "--out", tmp_path)
    there = ("--weights", tmp_path / "weights" / "model.pt", "--out", tmp_path)
    run(transform, monkeypatch, "train", photographs, "--validation", photographs, "--minutes", 0.01, *there)
    log = rows(tmp_path / "transform-training.csv")
    assert int(log[-1]["step"]) >= 1
    assert float(log[-1]["low, bits per pixel"]) > 0
    run(transform, monkeypatch, "measure", photographs, *there)
    found = rows(tmp_path / "transform-set.csv")
    assert [(row["picture"], row["setting"]) for row in found] == [(name, how) for name in ("a.png", "b.png") for how in transform.REGIMES]
    assert all(5 < float(row["PSNR"]) < 50 and int(row["bytes"]) > 5 for row in found)
    assert "against igpt | against JPEG" in (tmp_path / "transform-set.md").read_text()
    (photographs / "a.png").rename(photographs / "coffee.png")
    monkeypatch.setattr(transform, "pictures_in", lambda _: sorted(photographs.iterdir()))
    run(transform, monkeypatch, "measure", *there)
    assert {path.stem for path in tmp_path.glob("transform-*.png")} == {"transform-training", "transform-set", "transform-coffee"}


def test_near(folder, tmp_path, monkeypatch):
    run(near, monkeypatch, folder, "--errors", 1, "--out", tmp_path / "out")
    found = rows(tmp_path / "out" / "near-set.csv")
    assert [row["picture"] for row in found] == ["a.png", "b.png"]
    for row in found:
        pixels = np.asarray(Image.open(folder / row["picture"]))
        assert int(row["igpt"]) == len(codec.compress(pixels, max_error=1)) <= int(row["lossless"]) == len(codec.compress(pixels))
        finest = len(measure.saved(image_of(pixels), "AVIF", quality=100, subsampling="4:4:4", speed=6))
        assert float(row["AVIF PSNR"]) >= float(row["PSNR"]) or int(row["AVIF"]) == finest
    text = (tmp_path / "out" / "near-set.md").read_text()
    assert "python -m benchmarks.near" in text
    assert "| 1 | " in text
