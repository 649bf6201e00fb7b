import numpy as np
import torch

from codec.network import features as F
from codec.tiling import context as C
from codec.tiling.planes import GREY, RGB
from codec.training.data import as_samples
from tests.conftest import picture


def test_neighbours_come_before_their_pixel():
    slots = C.neighbour_slots()
    positions = np.arange(C.POSITIONS)[1:, None]
    assert (slots[1:] < positions).all()
    assert (slots[0] == C.POSITIONS).all()
    y, x = 10, 12
    expected = [(y + dy) * 32 + x + dx for dy, dx in C.NEIGHBOURS]
    assert slots[y * 32 + x].tolist() == expected


def test_neighbours_beyond_the_border_are_stood_in_for():
    slots = C.neighbour_slots()
    assert slots[5].tolist()[:4] == [4, 4, 4, 4]  # first row: west for everything above
    assert slots[32 * 3].tolist()[:3] == [64, 64, 64]  # first column: north for everything to the left
    assert slots[32 * 3 + 31].tolist()[3] == 32 * 2 + 31  # last column: north for north-east


def test_median_edge_is_the_predictor_of_jpeg_ls():
    triples = torch.tensor([(w, n, nw) for w in (0, 10, 90) for n in (0, 50, 90) for nw in (0, 20, 60, 100)])
    west, north, north_west = triples.T
    expected = [min(w, n) if nw >= max(w, n) else max(w, n) if nw <= min(w, n) else w + n - nw for w, n, nw in triples.tolist()]
    assert F.median_edge(west, north, north_west).tolist() == expected


def test_tokens_and_samples_are_inverse():
    samples, predictions = torch.meshgrid(torch.arange(256), torch.arange(256), indexing="ij")
    tokens = F.tokens_of(samples, predictions)
    assert tokens.min() == 0
    assert tokens.max() == 255
    assert torch.equal(F.samples_of(tokens, predictions), samples)


def test_features_of_one_position_equal_those_of_the_whole_tile():
    for kind in (RGB, GREY):
        samples = as_samples([picture(32, 32, kind.channels, seed) for seed in range(3)])
        whole = F.TileContext(samples, kind)
        values = F.with_last_slot(samples.int(), C.FIRST_SAMPLE)
        for position in (0, 1, 31, 32, 500, 1023):
            now = values[:, :, C.neighbour_slots()[position]]
            base = F.base_predictions(now)
            residuals = []
            for c in range(kind.channels):
                prediction = F.channel_prediction(now, values[:, 0, position], c, kind)
                assert torch.equal(whole.tokens[c][:, position], F.tokens_of(values[:, c, position], prediction))
                assert torch.equal(whole.head_features[c][:, position], F.head_features(residuals, prediction, base[:, c]))
                residuals.append(values[:, c, position] - prediction)


def test_features_hold_in_int8_at_the_extremes():
    rng = np.random.default_rng(0)
    samples = as_samples([rng.choice([0, 255], (32, 32, 3)).astype(np.uint8) for _ in range(4)])
    features = F.TileContext(samples, RGB).features
    assert features.min() == -127
    assert features.max() == 127
