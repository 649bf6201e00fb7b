"""igpt files in torch's DataLoader."""

import multiprocessing

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

import codec
from igpt.torch import Pictures, tensor_of
from tests.conftest import smooth
from tests.picture_files import deep, with_mode

SOME = [smooth(40, 50, seed) for seed in range(6)]
SECONDS = 300  # that a batch may take, on a busy machine


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    found = [folder / f"{k}.igpt" for k in range(len(SOME))]
    for path, data in zip(found, codec.compress_many(SOME, level="fast", device="cpu"), strict=True):
        path.write_bytes(data)
    return found


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
@pytest.mark.parametrize("way", ["here", *sorted({"fork", "spawn"} & {*multiprocessing.get_all_start_methods()})])
def test_batches(way, paths):
    workers = {} if way == "here" else {"num_workers": 2, "multiprocessing_context": way, "timeout": SECONDS}
    found = list(DataLoader(Pictures(paths, "abcdef"), batch_size=4, **workers))
    assert [batch.shape for batch, _ in found] == [(4, 3, 40, 50), (2, 3, 40, 50)]
    assert [label for _, labels in found for label in labels] == [*"abcdef"]
    assert (torch.cat([batch for batch, _ in found]).numpy().transpose(0, 2, 3, 1) == np.stack(SOME)).all()


def test_a_batch_is_decoded_together(paths, monkeypatch):
    right, calls = codec.decompress_many, []

    def watched(files, **options):
        calls.append(len(files))
        return right(files, **options)

    monkeypatch.setattr(codec, "decompress_many", watched)
    pictures = Pictures(paths, transform=np.asarray)
    list(DataLoader(pictures, batch_size=4, collate_fn=list))
    assert calls == [4, 2]
    assert (pictures[5] == SOME[5]).all()
    assert len(pictures) == 6


def test_the_damaged_file_is_named(paths, tmp_path):
    (tmp_path / "bad.igpt").write_bytes(paths[0].read_bytes()[:-5])
    pictures = Pictures([paths[0], tmp_path / "bad.igpt"])
    with pytest.raises(codec.IgptError, match=r"bad\.igpt: "):
        next(iter(DataLoader(pictures, batch_size=2)))
    with pytest.raises(ValueError, match="labels"):
        Pictures(paths, [1])


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 2), ("P", 3), ("RGB", 3), ("RGBA", 4)])
def test_tensors(mode, channels):
    image = with_mode(mode)
    found = tensor_of(image)
    assert (found.dtype, found.shape) == (torch.uint8, (channels, image.height, image.width))
    expected = image.convert("RGB") if mode == "P" else image.convert("L") if mode == "1" else image
    assert found.numpy().transpose(1, 2, 0).tobytes() == expected.tobytes()


def test_tensors_of_16_bits():
    samples = deep(9, 8, 1)
    assert (tensor_of(Image.fromarray(samples[..., 0])).numpy() == samples.transpose(2, 0, 1)).all()
