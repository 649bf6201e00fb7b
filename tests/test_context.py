import numpy as np
import pytest
import torch

from codec.network import features as F
from codec.tiling import context as C
from codec.tiling.context import EAST, NORTH, SOUTH, UNKNOWN, WEST
from codec.tiling.planes import GREY, JPEG_LUMA, RGB
from codec.training.data import as_tensors
from tests import plain_decoder
from tests.conftest import picture, random_around, tile_samples

NEAR = len(C.NEIGHBOURS)
EVERY_SIDE = range(16)


def strip_slot(side, row, column):
    """Of a place in a strip, counted from its first sample."""
    return C.POSITIONS + 1 + C.STRIP * C.SIDES.index(side) + row * (C.SIDE if side in (NORTH, SOUTH) else C.REACH) + column


def slots_at(y, x, sides, what=slice(NEAR)):
    """By the steps that lead to them."""
    steps = [*C.NEIGHBOURS, *C.AHEAD][what]
    return dict(zip(steps, C.neighbour_slots()[sides, 32 * y + x, what].tolist(), strict=True))


def test_neighbours_come_before_their_pixel():
    slots = C.neighbour_slots()[0, :, :NEAR]
    positions = np.arange(C.POSITIONS)[1:, None]
    assert (slots[1:] < positions).all()
    assert (slots[0] == C.POSITIONS).all()
    y, x = 10, 12
    expected = [(y + dy) * 32 + x + dx for dy, dx in C.NEIGHBOURS]
    assert slots[y * 32 + x].tolist() == expected


def test_neighbours_beyond_the_border_are_stood_in_for():
    slots = C.neighbour_slots()[0]
    assert slots[5].tolist()[:4] == [4, 4, 4, 4]  # first row: west for everything above
    assert slots[32 * 3].tolist()[:3] == [64, 64, 64]  # first column: north for everything to the left
    assert slots[32 * 3 + 31].tolist()[3] == 32 * 2 + 31  # last column: north for north-east


def test_neighbours_in_strips():
    above = slots_at(0, 5, NORTH)
    assert above[-1, 0] == strip_slot(NORTH, 2, 5)
    assert above[-2, 1] == strip_slot(NORTH, 1, 6)
    assert above[-3, 0] == strip_slot(NORTH, 0, 5)
    beside = slots_at(7, 1, WEST)
    assert beside[0, -1] == 7 * 32
    assert beside[0, -2] == strip_slot(WEST, 7, 2)
    assert beside[-1, -2] == strip_slot(WEST, 6, 2)
    behind = slots_at(7, 31, EAST)
    assert behind[-1, 1] == strip_slot(EAST, 6, 0)
    assert behind[-2, 2] == strip_slot(EAST, 5, 1)
    assert (C.neighbour_slots()[SOUTH, :, :NEAR] == C.neighbour_slots()[0, :, :NEAR]).all()


def test_neighbours_at_corners_are_those_in_the_nearest_column_of_the_strip_above():
    corner = slots_at(0, 0, NORTH | WEST)
    assert corner[-1, -1] == corner[-1, 0] == strip_slot(NORTH, 2, 0)
    assert corner[0, -1] == strip_slot(WEST, 0, 2)
    assert slots_at(0, 31, NORTH | EAST)[-1, 2] == strip_slot(NORTH, 2, 31)


def test_who_stands_in_where_strips_are_known():
    assert slots_at(0, 0, NORTH)[0, -1] == strip_slot(NORTH, 2, 0)  # nothing to the left: what is above
    assert slots_at(0, 0, WEST)[-1, 1] == strip_slot(WEST, 0, 2)  # (0, 1) is not yet known: what is to the left
    assert slots_at(0, 31, EAST)[-1, 1] == strip_slot(EAST, 0, 0)  # (0, 32) is known before (0, 31)
    assert slots_at(0, 30, EAST)[-1, 1] == 29
    assert slots_at(0, 0, EAST)[0, -1] == C.POSITIONS


def test_what_lies_ahead():
    ahead = slice(NEAR, None)
    everywhere = slots_at(10, 10, 15, ahead)
    assert set(everywhere.values()) == {UNKNOWN}
    corner = slots_at(31, 31, 15, ahead)
    assert corner == {
        (0, 1): strip_slot(EAST, 31, 0),
        (0, 2): strip_slot(EAST, 31, 1),
        (1, 0): strip_slot(SOUTH, 0, 31),
        (2, 0): strip_slot(SOUTH, 1, 31),
        (1, 1): UNKNOWN,
        (1, -1): strip_slot(SOUTH, 0, 30),
    }
    assert slots_at(3, 0, WEST, ahead)[1, -1] == strip_slot(WEST, 4, 2)
    assert slots_at(31, 0, WEST | SOUTH, ahead)[1, -1] == UNKNOWN
    assert (C.neighbour_slots()[NORTH, :, ahead] == UNKNOWN).all()


@pytest.mark.parametrize("known", EVERY_SIDE)
def test_slots_are_those_of_the_document(known):
    """Of all positions, by the second decoder, which has it from the text."""
    squares = np.full(C.SLOTS + 1, plain_decoder.NOWHERE)
    squares[: C.POSITIONS] = [plain_decoder.square(*divmod(p, 32)) for p in range(C.POSITIONS)]
    places = [(y, x) for rows, columns in plain_decoder.SIDES.values() for y in rows for x in columns]
    squares[C.POSITIONS + 1 : C.SLOTS] = [plain_decoder.square(*place) for place in places]
    sides = tuple(name for name, side in zip(plain_decoder.SIDES, C.SIDES, strict=True) if known & side)
    expected = [plain_decoder.places(p, sides) for p in range(C.POSITIONS)]
    assert np.array_equal(squares[C.neighbour_slots()[known]], expected)


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
        samples = torch.from_numpy(tile_samples([picture(32, 32, kind.channels, seed) for seed in EVERY_SIDE]))
        around = as_tensors(random_around(EVERY_SIDE, kind))
        whole = F.TileContext(samples, kind, around)
        known = F.with_strips(samples.int(), around.strips)
        for position in (0, 1, 31, 32, 500, 1023):
            slots = torch.from_numpy(C.neighbour_slots()[:, position, :NEAR])
            now = F.seen_at(slots[:, None], known)[:, 0]
            base = F.base_predictions(now)
            residuals = []
            for c in range(kind.channels):
                prediction = F.channel_prediction(now, known[:, 0, position], c, kind)
                assert torch.equal(whole.tokens[c][:, position], F.tokens_of(known[:, c, position], prediction))
                assert torch.equal(whole.head_features[c][:, position], F.head_features(residuals, prediction, base[:, c]))
                residuals.append(known[:, c, position] - prediction)


def test_features_tell_of_sides_and_of_what_lies_ahead():
    around = random_around(EVERY_SIDE, GREY)
    samples = torch.full((16, 1, C.POSITIONS), 100, dtype=torch.uint8)
    features = F.TileContext(samples, GREY, as_tensors(around)).features.numpy().reshape(16, 32, 32, C.FEATURES).astype(int)
    sides = np.arange(16)[:, None] & np.array(C.SIDES) != 0
    at_sides = features[..., C.SIDE_FEATURES : C.SIDE_FEATURES + 4]
    for position, side in (((0, 9), 0), ((9, 0), 1), ((9, 31), 2), ((31, 9), 3)):
        assert np.array_equal(at_sides[:, *position], 64 * sides * (np.arange(4) == side))
    assert not at_sides[:, 9, 9].any()
    of_ahead = features[:, 9, 31, C.AHEAD_FEATURES : C.AHEAD_FEATURES + 2 * len(C.AHEAD)].reshape(16, 2, -1)
    strips = around.strips[:, 0, 2 * C.STRIP : 3 * C.STRIP].reshape(16, 32, C.REACH).astype(int)
    differences = np.stack([strips[:, 9, 0], strips[:, 9, 1], strips[:, 10, 0]], -1) - 100
    east = sides[:, 2, None]
    assert np.array_equal(of_ahead[:, 0][:, [0, 1, 4]], (4 * differences).clip(-127, 127) * east)
    assert np.array_equal(of_ahead[:, 1][:, [0, 1, 4]], (differences >> 1) * east)
    assert not of_ahead[..., [2, 3, 5]].any()
    assert not features[..., C.SIDE_FEATURES + 4 :].any()


@pytest.mark.parametrize("kind", [RGB, GREY, JPEG_LUMA], ids=lambda kind: kind.name)
def test_unknown_strips_do_not_matter(kind):
    samples = torch.from_numpy(tile_samples([picture(32, 32, kind.channels)] * 16))
    around, other = random_around(EVERY_SIDE, kind), random_around(EVERY_SIDE, kind, 1)
    unknown = (np.arange(16)[:, None] & np.array(C.SIDES) == 0).repeat(C.STRIP, 1)[:, None]
    changed = around._replace(strips=np.where(unknown, other.strips, around.strips))
    first, second = (F.TileContext(samples, kind, as_tensors(known)) for known in (around, changed))
    assert torch.equal(first.features, second.features)
    assert all(torch.equal(*both) for both in zip(first.tokens + first.head_features, second.tokens + second.head_features, strict=True))


def test_features_hold_in_int8_at_the_extremes():
    rng = np.random.default_rng(0)
    samples = torch.from_numpy(tile_samples([rng.choice([0, 255], (32, 32, 3)).astype(np.uint8) for _ in EVERY_SIDE]))
    around = random_around(EVERY_SIDE, RGB)
    around = around._replace(strips=around.strips // 128 * 255)
    features = F.TileContext(samples, RGB, as_tensors(around)).features
    assert features.min() == -127
    assert features.max() == 127
