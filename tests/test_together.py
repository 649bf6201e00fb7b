"""Many files at once: each gives what it gives alone, and one that is damaged spoils no other."""

import shutil
from pathlib import Path

import numpy as np
from PIL import Image, PngImagePlugin

import codec
from bitstream import container
from codec import decompression
from codec.many import tasks
from codec.many.planning import in_batches
from codec.many.tasks import Compression, Decompression, Job
from codec.network.model import IntegerImageGPT
from codec.options import Options
from tests.conftest import TINY, picture, remade, with_network
from tests.picture_files import calm


def test_batches_are_of_small_pictures(tmp_path):
    many = [Job(tmp_path / str(k), tmp_path / f"{k}.png", pixels) for k, pixels in enumerate([1024] * 300 + [10**6, 0, 0, 5, 5])]
    batches = in_batches(many)
    assert [len(batch) for batch in batches] == [256, 44, 1, 1, 1, 2]
    assert [job for batch in batches for job in batch] == many


def test_a_batch_is_done_as_its_files_alone(tmp_path):
    some = [picture(32, 32, 3, seed) for seed in range(3)]
    for k, pixels in enumerate(some):
        (tmp_path / f"{k}.igpt").write_bytes(codec.compress(pixels, model=TINY, device="cpu"))
    (tmp_path / "1.igpt").write_bytes(b"damaged")
    reports = []
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in (0, 1, 2, 9)]
    task = Decompression(options=Options(model=TINY, device="cpu"))
    results = {result.job.source.stem: result for result in task.run_batch(batch, lambda pixels, more: reports.append((pixels, more)))}
    assert {name for name, result in results.items() if result.error} == {"1", "9"}
    for k in (0, 2):
        assert (np.asarray(Image.open(tmp_path / f"{k}.png")) == some[k]).all()
    assert sum(pixels for pixels, _ in reports) == 2 * 1024
    assert sum(pixels for pixels, _ in reports) == 4 * 1024 + sum(more for _, more in reports)


def test_what_is_unexpected_stops_no_other_file(tmp_path, monkeypatch):
    right, some = decompression.decompress_files, [picture(32, 32, 3, seed) for seed in range(3)]
    files = [codec.compress(pixels, model=TINY, device="cpu") for pixels in some]
    for k, data in enumerate(files):
        (tmp_path / f"{k}.igpt").write_bytes(data)
    large = container.read(files[1])

    def short_of_memory(files, *rest):
        if large.front in [file.front for file in files]:
            raise MemoryError
        return right(files, *rest)

    monkeypatch.setattr(decompression, "decompress_files", short_of_memory)
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in range(3)]
    results = list(Decompression(options=Options(model=TINY, device="cpu")).run_batch(batch, lambda _, __: None))
    assert [(result.job.source.stem, bool(result.error)) for result in results] == [("0", False), ("1", True), ("2", False)]


def test_a_box_that_is_empty_stops_no_other_file(tmp_path):
    right = with_network(picture(5, 6, 3))
    for k, data in enumerate([right, remade(right, boxes={container.METADATA: b""}), right]):
        (tmp_path / f"{k}.igpt").write_bytes(data)
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 30) for k in range(3)]
    results = Decompression(options=Options(model=TINY, device="cpu")).run_batch(batch, lambda _, __: None)
    assert {result.job.source.stem for result in results if result.error} == {"1"}


def test_a_named_model_is_read_once_and_its_files_are_decoded_together(tmp_path, monkeypatch):
    loads, at_once, load, decode = [], [], IntegerImageGPT.load, decompression.decode_layers
    folder = shutil.copytree(TINY, tmp_path / "mine")
    for k in range(5):
        (tmp_path / f"{k}.igpt").write_bytes(codec.compress(calm(32, 32, k), model=TINY, device="cpu"))
    monkeypatch.setattr(IntegerImageGPT, "load", lambda *arguments: loads.append(arguments) or load(*arguments))
    monkeypatch.setattr(decompression, "decode_layers", lambda requests, done: at_once.append(len(requests)) or decode(requests, done))
    batch = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in range(5)]
    results = list(Decompression(options=Options(model=folder, device="cpu")).run_batch(batch, lambda _, __: None))
    assert not any(result.error for result in results)
    assert at_once == [5]
    assert [Path(where) for where, _ in loads] == [folder]
    (folder / "config.json").write_text((folder / "config.json").read_text().replace('window": 40', 'window": 32'))  # another model
    again = list(Decompression(options=Options(model=folder, device="cpu"), force=True).run_batch(batch[:2], lambda _, __: None))
    assert all("needs the model" in result.error for result in again)


def test_a_file_is_read_once(tmp_path, monkeypatch):
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", "x" * (tasks.BATCH_METADATA + 1))
    for k in range(3):
        image = Image.fromarray(np.full((5, 6, 4), k, np.uint8))
        image.save(tmp_path / f"{k}.png", pnginfo=text if k == 2 else None)
        compressed = Compression(options=Options(device="cpu")).run(Job(tmp_path / f"{k}.png", tmp_path / f"{k}.igpt"), lambda _, __: None)
        assert not compressed.error
    reads, read = [], container.read
    monkeypatch.setattr(container, "read", lambda data: reads.append(data) or read(data))
    done, task = [], Decompression(options=Options(device="cpu"), force=True)
    for batch in ([0], [0, 1, 2]):
        some = [Job(tmp_path / f"{k}.igpt", tmp_path / f"back-{k}.png", 30) for k in batch]
        results = list(task.run_batch(some, lambda pixels, more: done.append((pixels, more))))
        assert [result.error for result in results] == [""] * len(batch)
        assert len(reads) == len(batch)
        assert sum(pixels for pixels, _ in done) == 30 * len(batch)
        assert sum(more for _, more in done) == 0
        reads.clear()
        done.clear()


def test_batches_leave_work_for_every_process():
    assert Decompression().batch_files(100, 4) == 25
    assert Compression().batch_files(100, 4) == 1
