"""The integer ImageGPT in torch: one definition of the layers, driven by parallel attention over whole tiles or by cached attention, one
position of many tiles at a time."""

import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from bitstream.constants import ALPHABET
from codec.network.arithmetic import Product, exact_product, normalize, requantize
from codec.network.attention import Attention, CachedAttention, ParallelAttention
from codec.network.engine import Impossible, Rows, Seen, Tables, Tokens, plain_torch
from codec.network.features import (
    TileContext,
    base_predictions,
    channel_prediction,
    head_features,
    input_features,
    places_on,
    samples_of,
    seen_at,
    surroundings,
    with_strips,
)
from codec.network.frequencies import frequencies
from codec.network.limits import IMPOSSIBLE, LOGIT_LIMIT, RESIDUAL_LIMIT, TABLE_SIZE
from codec.network.model import IntegerImageGPT
from codec.threads import tell_torch
from codec.tiling.context import NEIGHBOURS, POSITIONS, RESIDUAL_NEIGHBOURS, UNKNOWN
from codec.tiling.planes import Kind
from codec.tiling.tiles import Around, Known, TileSamples

log = logging.getLogger("igpt")
REPLAY = True  # whether a GPU records its steps as CUDA graphs, and replays them
_RECORDING = threading.Lock()  # one at a time in a process


class Scale(NamedTuple):
    """How a product's accumulators are requantised, per output, int32; see `arithmetic.requantize`."""

    multiplier: Tensor
    offset: Tensor
    shift: Tensor


class PlainEngine:
    """An `engine.Engine` of a network on its device.

    product: of its matrices, see `arithmetic`; by default the first that is exact here. Raises ModelError where none is.
    """

    at_once = 1
    cached_attention: type[CachedAttention] = CachedAttention  # or by a kernel

    def __init__(self, network: IntegerImageGPT, product: Product | None = None) -> None:
        self.name = plain_torch(network.device)
        self.config, self.device, self.torch_device = network.config, network.device, torch.device(network.device)
        tell_torch()
        self.product = product or exact_product(self.torch_device)
        self.tensors = {key: torch.tensor(array, device=self.torch_device) for key, array in network.arrays.items()}
        self.scales = {}
        for key, bias in self.tensors.items():
            if key.endswith(".bias"):
                multiplier, shift = (self.tensors[key.replace("bias", part)] for part in ("multiplier", "shift"))
                self.scales[key.removesuffix(".bias")] = Scale(multiplier, bias * multiplier + (1 << shift - 1), shift)
        self.scalars = {key: int(array) for key, array in network.arrays.items() if array.ndim == 0}

    def context(self, kind: Kind, samples: TileSamples, around: Known) -> TileContext:
        return TileContext(self.tensor(samples), kind, self.there(around))

    def there(self, around: Known) -> Around[Tensor]:
        """On the device."""
        return around.each(self.tensor)

    def see(self, kind: Kind, samples: TileSamples, around: Known, count: int) -> Seen:
        context = self.context(kind, samples, around)
        hidden = self.hidden_of_tiles(context.features[:, :count])
        channels = ([x[:, :count].cpu().numpy() for x in of] for of in (context.head_features, context.tokens))
        return Seen(hidden.cpu().numpy(), *channels)

    def frequencies(self, kind: Kind, hidden: Rows, features: list[Rows], impossible: list[Impossible] | None) -> Tables:
        found: Tables = self.tables(kind, self.tensor(hidden), [self.tensor(of) for of in features], impossible).cpu().numpy()
        return found

    def tables(self, kind: Kind, hidden: Tensor, features: list[Tensor], impossible: list[Impossible] | None) -> Tensor:
        """`frequencies` of tensors on the device, there."""
        rows, tables = hidden.flatten(0, 1), []
        for c, head in enumerate(kind.heads):
            logits = self.logits(rows, features[c].flatten(0, 1), head)
            if impossible:
                logits.masked_fill_(self.tensor(impossible[c]).flatten(0, 1), IMPOSSIBLE)
            tables.append(frequencies(logits).view(*hidden.shape[:2], -1))
        return torch.stack(tables, 1)

    def steps(self, kind: Kind, around: Known) -> "PlainSteps":
        return PlainSteps(self, kind, around)

    def tensor(self, array: npt.NDArray[np.generic]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.torch_device)

    def layer_outputs(self, features: Tensor, positions: Tensor, attention: Attention) -> Iterator[Tensor]:
        """The residual stream after the embedding and after every layer, (rows, n_embd) int32, then the hidden states, int8.

        features: (rows, FEATURES) int8; positions: (rows) or (1) int64.
        """
        x = self.added(self.tensors["wpe"].index_select(0, positions), "wce", features)
        yield x
        for k in range(self.config.n_layer):
            scale = self.scalars[f"h.{k}.attn.multiplier"], self.scalars[f"h.{k}.attn.shift"]
            qkv = self.projected(f"h.{k}.attn.c_attn", self.norm(f"h.{k}.ln_1", x), 127).to(torch.int8)
            x = self.added(x, f"h.{k}.attn.c_proj", attention(k, qkv, *scale))
            x = self.added(x, f"h.{k}.mlp.c_proj", self.inner(f"h.{k}.mlp", self.norm(f"h.{k}.ln_2", x)))
            yield x
        yield self.norm("ln_f", x)

    def hidden_of_tiles(self, features: Tensor) -> Tensor:
        """The parallel pass: (tiles, positions, FEATURES) int8 -> (tiles, positions, n_embd) int8; whole rows of tiles."""
        tiles, positions, _ = features.shape
        attention = ParallelAttention(self.config, tiles, self.torch_device)
        *_, last = self.layer_outputs(features.flatten(0, 1), torch.arange(positions, device=self.torch_device).repeat(tiles), attention)
        return last.view(tiles, positions, -1)

    def logits(self, hidden: Tensor, head_features: Tensor, head: int) -> Tensor:
        """(rows, n_embd) and (rows, HEAD_FEATURES) int8 -> (rows, 256) int32 in 1/128 octaves."""
        inner = self.inner(f"heads.{head}", torch.cat([hidden, head_features], -1))
        return self.projected(f"heads.{head}.c_proj", inner, LOGIT_LIMIT)

    def projected(self, name: str, x: Tensor, limit: int) -> Tensor:
        """(rows, inputs) int8 -> (rows, outputs) int32 within +-limit."""
        return requantize(self.product(x, self.tensors[f"{name}.weight"].t()), *self.scales[name], limit)

    def added(self, x: Tensor, name: str, y: Tensor) -> Tensor:
        """x plus a projection of y."""
        return self.projected(name, y, RESIDUAL_LIMIT).add_(x).clamp_(-RESIDUAL_LIMIT, RESIDUAL_LIMIT)

    def inner(self, name: str, x: Tensor) -> Tensor:
        """c_fc and the activation by table: (rows, inputs) int8 -> (rows, inner) int8."""
        half = TABLE_SIZE // 2
        places = self.projected(f"{name}.c_fc", x, half - 1) + half
        return F.embedding(places, self.tensors[f"{name}.table"][:, None]).squeeze(-1)

    def norm(self, name: str, x: Tensor) -> Tensor:
        return normalize(x, self.tensors[f"{name}.gain"], self.scalars[f"{name}.shift"])


class Begun(NamedTuple):
    """A channel at a position: predictions (tiles) int32, head_features (tiles, HEAD_FEATURES) int8, logits (tiles, 256) int32."""

    prediction: Tensor
    head_features: Tensor
    logits: Tensor


class PlainSteps:
    """The `engine.Steps` of a PlainEngine. All shapes stay the same at every position: a GPU can replay what it did at the first ones."""

    read = None

    def __init__(self, engine: PlainEngine, kind: Kind, around: Known) -> None:
        self.engine, self.kind, device = engine, kind, engine.torch_device
        tiles, there = len(around.sides), engine.there(around)
        self.attention = engine.cached_attention(engine.config, tiles, device)
        self.position = self.attention.position
        self.places, self.sides = places_on(device), there.sides.long()
        self.surroundings = None if there.windows is None else surroundings(there.windows)
        self.known = with_strips(torch.zeros(tiles, kind.channels, POSITIONS, dtype=torch.int32, device=device), there.strips)
        self.residuals = torch.zeros_like(self.known)
        self.tokens = torch.zeros(tiles, dtype=torch.int32, device=device)
        self.exist = torch.zeros(tiles, dtype=torch.bool, device=device)
        self.begun: dict[int, Begun] = {}
        self.tables: dict[int, Tensor] = {}
        self.replays = REPLAY and device.type == "cuda"
        self.pool = torch.cuda.graph_pool_handle() if self.replays else None
        self.ways: dict[tuple[str, int], Callable[[], None] | None] = {}
        self.table = torch.empty(tiles, ALPHABET, dtype=torch.int32, device="cpu", pin_memory=device.type == "cuda")

    def go_to(self, position: int) -> None:
        self.position.fill_(position)
        self.do("go_to", 0, self._go_to)

    def _go_to(self) -> None:
        slots, at_edges = (of.index_select(1, self.position)[self.sides] for of in self.places)  # (tiles, 1, ...)
        self.values = seen_at(slots, self.known)[:, 0]  # (tiles, channels, neighbours)
        self.base = base_predictions(self.values)
        residuals = seen_at(slots[..., :RESIDUAL_NEIGHBOURS], self.residuals)[:, 0]
        unknown = slots[:, 0, len(NEIGHBOURS) :] == UNKNOWN
        seen = None if self.surroundings is None else self.surroundings.index_select(1, self.position)[:, 0]
        features = input_features(self.values, residuals, unknown, at_edges[:, 0], self.kind, seen)
        *_, self.hidden = self.engine.layer_outputs(features, self.position, self.attention)

    def begin(self, channel: int) -> None:
        self.channel = channel
        self.do("begin", channel, self._begin)

    def _begin(self) -> None:
        now, before = (x.index_select(2, self.position)[:, :, 0] for x in (self.known, self.residuals))
        prediction = channel_prediction(self.values, now[:, 0], self.channel, self.kind)
        features = head_features(list(before[:, : self.channel].unbind(1)), prediction, self.base[:, self.channel])
        logits = self.engine.logits(self.hidden, features, self.kind.heads[self.channel])
        self.begun[self.channel] = Begun(prediction, features, logits)

    @property
    def predictions(self) -> npt.NDArray[np.int32]:
        predictions: npt.NDArray[np.int32] = self.begun[self.channel].prediction.cpu().numpy()
        return predictions

    def frequencies(self, impossible: Impossible | None) -> Tables:
        self.table.copy_(self.table_there(impossible), non_blocking=True)
        if self.table.is_pinned():
            torch.cuda.current_stream().synchronize()
        found: Tables = self.table.numpy()
        return found

    def table_there(self, impossible: Impossible | None) -> Tensor:
        """`frequencies` on the device."""
        if impossible is not None:
            return frequencies(self.begun[self.channel].logits.masked_fill(self.engine.tensor(impossible), IMPOSSIBLE))
        self.do("frequencies", self.channel, self._frequencies)
        return self.tables[self.channel]

    def _frequencies(self) -> None:
        self.tables[self.channel] = frequencies(self.begun[self.channel].logits)

    def accept(self, tokens: Tokens, exist: npt.NDArray[np.bool_]) -> None:
        self.tokens.copy_(torch.from_numpy(tokens))
        self.exist.copy_(torch.from_numpy(exist))
        self.take()

    def take(self) -> None:
        """Accepts what lies in `tokens` and `exist` on the device."""
        self.do("accept", self.channel, self._accept)

    def _accept(self) -> None:
        prediction = self.begun[self.channel].prediction
        sample = torch.where(self.exist, samples_of(self.tokens, prediction), self.values[:, self.channel, 0])
        self.known[:, self.channel].index_copy_(1, self.position, sample[:, None])
        self.residuals[:, self.channel].index_copy_(1, self.position, (sample - prediction)[:, None])

    @property
    def accepted(self) -> npt.NDArray[np.int32]:
        accepted: npt.NDArray[np.int32] = self.known[:, self.channel].index_select(1, self.position)[:, 0].cpu().numpy()
        return accepted

    def samples(self) -> TileSamples:
        samples: TileSamples = self.known[:, :, :POSITIONS].to(torch.uint8).cpu().numpy()
        return samples

    def do(self, name: str, channel: int, function: Callable[[], None]) -> None:
        """Calls the function: the second time it is recorded, where the device can replay it, and from then on replayed."""
        way = self.ways.get((name, channel))
        if self.replays and not way and (name, channel) in self.ways:
            try:
                way = self.ways[name, channel] = recorded(function, self.pool)
            except Exception as error:  # torch's, numba's; where it is another mistake, it is raised again below
                self.replays = False
                log.warning("the GPU does not replay its steps, which takes longer: %s", str(error).split("\n")[0])
        self.ways[name, channel] = way
        (way or function)()


def recorded(function: Callable[[], None], pool: Any) -> Callable[[], None]:
    """As one CUDA graph, which is not yet run. pool: of the memory of graphs that are replayed in the order of their recording."""
    graph = torch.cuda.CUDAGraph()
    with _RECORDING, torch.cuda.graph(graph, pool, capture_error_mode="thread_local"):
        function()
    return graph.replay
