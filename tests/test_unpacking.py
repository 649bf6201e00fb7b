"""Several files at once: each gives what it gives alone, and one that is damaged spoils no other."""

import numpy as np
from PIL import Image

import codec
from bitstream.container import read_file, write_file
from bitstream.errors import DamagedError, IgptError, NotIgptError
from codec import jobs
from codec.jobs import Decompression, Job
from tests.conftest import TINY, picture, smooth
from tests.test_pasts import decoded_jpeg


def files(only_tiny_models):
    pixels = [picture(32, 32, 3), picture(40, 70, 3, 1), smooth(33, 31)[..., :1], decoded_jpeg(smooth(64, 90)), picture(5, 3, 3)]
    return pixels, [codec.compress_pixels(p, device="cpu") for p in pixels]


def test_files_of_several_kinds_together(only_tiny_models):
    pixels, packed = files(only_tiny_models)
    with_alpha = Image.fromarray(picture(20, 50, 4))
    packed.append(codec.compress(with_alpha, device="cpu"))
    done = []
    found = codec.decompress_pictures(packed, device="cpu", progress=done.append)
    for expected, back in zip([*pixels, np.asarray(with_alpha)], found, strict=True):
        assert (back.pixels == expected).all()
    assert sum(done) == sum(p.shape[0] * p.shape[1] for p in pixels) + 20 * 50


def test_a_damaged_file_among_others(only_tiny_models):
    pixels, packed = files(only_tiny_models)
    header, payloads = read_file(packed[1])
    packed[1] = write_file(header, [bytes(payload[k] ^ (k % 7 == 3) for k in range(len(payload))) for payload in payloads])
    packed.insert(3, b"no igpt file")
    found = codec.decompress_pictures(packed, device="cpu")
    assert [isinstance(back, IgptError) for back in found] == [False, True, False, True, False, False]
    assert isinstance(found[1], DamagedError)
    assert isinstance(found[3], NotIgptError)
    for k, expected in zip((0, 2, 4, 5), (pixels[0], *pixels[2:]), strict=True):
        assert (found[k].pixels == expected).all()


def test_chunks_are_of_small_pictures(tmp_path):
    many = [Job(tmp_path / str(k), tmp_path / f"{k}.png", pixels) for k, pixels in enumerate([1024] * 300 + [10**6, 0, 0, 5, 5])]
    chunks = jobs.in_chunks(many)
    assert [len(chunk) for chunk in chunks] == [256, 44, 1, 1, 1, 2]
    assert [job for chunk in chunks for job in chunk] == many


def test_a_chunk_is_done_as_its_files_alone(tmp_path):
    some = [picture(32, 32, 3, seed) for seed in range(3)]
    for k, pixels in enumerate(some):
        (tmp_path / f"{k}.igpt").write_bytes(codec.compress_pixels(pixels, model=TINY, device="cpu"))
    (tmp_path / "1.igpt").write_bytes(b"damaged")
    reports = []
    chunk = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in (0, 1, 2, 9)]
    task = Decompression(model=str(TINY), device="cpu")
    results = {result.job.source.stem: result for result in task.together(chunk, lambda pixels, more: reports.append((pixels, more)))}
    assert {name for name, result in results.items() if result.error} == {"1", "9"}
    for k in (0, 2):
        assert (np.asarray(Image.open(tmp_path / f"{k}.png")) == some[k]).all()
    assert sum(pixels for pixels, _ in reports) == 2 * 1024
    assert sum(pixels for pixels, _ in reports) == 4 * 1024 + sum(more for _, more in reports)


def test_what_is_unexpected_stops_no_other_file(tmp_path, monkeypatch):
    right, some = codec.decompress_pictures, [picture(32, 32, 3, seed) for seed in range(3)]
    packed = [codec.compress_pixels(pixels, model=TINY, device="cpu") for pixels in some]
    for k, data in enumerate(packed):
        (tmp_path / f"{k}.igpt").write_bytes(data)

    def short_of_memory(files, **options):
        if packed[1] in files:
            raise MemoryError
        return right(files, **options)

    monkeypatch.setattr(codec, "decompress_pictures", short_of_memory)
    chunk = [Job(tmp_path / f"{k}.igpt", tmp_path / f"{k}.png", 1024) for k in range(3)]
    results = list(Decompression(model=str(TINY), device="cpu").together(chunk, lambda _, __: None))
    assert [(result.job.source.stem, bool(result.error)) for result in results] == [("0", False), ("1", True), ("2", False)]


def test_chunks_leave_work_for_every_process():
    assert Decompression().most_together(100, 4) == 25
    assert jobs.Compression().most_together(100, 4) == 1
