"""A small causal transformer for token sequences of fixed length."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel

from indexes.errors import InputError
from loops.models.bias import check_bias
from loops.models.training import minibatches, optimise, seeded, tensor
from loops.samples import Samples, Space
from loops.tokens import token_rows

__all__ = ["FittedLanguageModel", "LanguageModel"]

_RECENT = 4  # preceding tokens that enter at each place
_BLOCK = 1024  # sequences drawn at a time: bounds the memory of keys and values


class _Layer(nn.Module):
    """Causal self-attention and a perceptron, both with normalised input and a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.before_attention, self.before_perceptron = nn.LayerNorm(width), nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width, bias=False)
        self.mix = nn.Linear(width, width, bias=False)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.zeros_(self.mix.weight)
        nn.init.zeros_(self.narrow.weight)

    def forward(self, x: torch.Tensor, seen: torch.Tensor | None, place: int) -> torch.Tensor:
        n, length, width = x.shape
        split = self.queries_keys_values(self.before_attention(x)).view(n, length, 3, self.heads, -1)
        queries, keys, values = split.permute(2, 0, 3, 1, 4)  # each (n, heads, length, width / heads)
        if seen is not None:  # one token at a time: keys and values of earlier tokens are cached
            seen[:, :, :, place : place + 1] = torch.stack([keys, values])
            keys, values = seen[:, :, :, : place + 1]
        with sdpa_kernel(SDPBackend.MATH):  # the fused kernels have no fixed order of sums
            mixed = functional.scaled_dot_product_attention(queries, keys, values, is_causal=seen is None)
        x = x + self.mix(mixed.transpose(1, 2).reshape(n, length, width))
        return x + self.narrow(functional.relu(self.widen(self.before_perceptron(x))))


class _Transformer(nn.Module):
    """Network that returns the logits of each token, given the preceding tokens."""

    def __init__(self, vocabulary: int, length: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.start = vocabulary  # the token before the start of the sequence
        self.tokens = nn.Embedding(_RECENT * (vocabulary + 1), width)
        self.places = nn.Parameter(0.02 * torch.randn(length, width))
        nn.init.normal_(self.tokens.weight, std=0.1)
        self.layers = nn.ModuleList(_Layer(width, heads) for _ in range(layers))
        self.logits = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, vocabulary))

    def forward(self, recent: torch.Tensor, seen: torch.Tensor | None = None, place: int = 0) -> torch.Tensor:
        """Logits (n, m, vocabulary) at m positions from `place` on, given the preceding tokens (n, m, _RECENT)."""
        tables = torch.arange(_RECENT, device=recent.device) * (self.start + 1)  # one embedding table per distance
        x = self.tokens(recent + tables).sum(-2) + self.places[place : place + recent.shape[1]]
        for at, layer in enumerate(self.layers):
            x = layer(x, None if seen is None else seen[at], place)
        return self.logits(x)

    def loss(self, tokens: torch.Tensor) -> torch.Tensor:
        """Negative log-likelihood of each token (n, length)."""
        recent = functional.pad(tokens[:, :-1], (_RECENT, 0), value=self.start).unfold(1, _RECENT, 1)
        logits = self(recent).flatten(0, 1).float()
        return functional.cross_entropy(logits, tokens.flatten(), reduction="none").view_as(tokens)


@dataclass(frozen=True, slots=True)
class FittedLanguageModel:
    """A trained transformer, and the device that holds the transformer."""

    network: _Transformer
    length: int
    heads: int
    device: str

    def sample(self, n: int, *, bias: float, rng: np.random.Generator) -> Samples:
        """Draw n sequences token by token, with sampling bias λ as temperature; λ = 0 takes the likeliest token."""
        check_bias(bias)
        with seeded(rng, self.device), torch.inference_mode(), _precision(self.device):
            blocks = [self._draw(min(_BLOCK, n - first), bias) for first in range(0, n, _BLOCK)]
        return Samples(np.concatenate([np.empty((0, self.length), dtype=np.int64), *blocks]))

    def log_likelihood(self, values: np.ndarray) -> np.ndarray:
        """Natural logarithm of the probability of each sequence (n,)."""
        with torch.inference_mode(), _precision(self.device):
            parts = tensor(values, self.device).split(_BLOCK)
            return np.concatenate([-self.network.loss(part).double().sum(-1).cpu().numpy() for part in parts])

    def _draw(self, n: int, bias: float) -> np.ndarray:
        network = self.network
        tokens = torch.full((n, _RECENT + self.length), network.start, device=self.device)
        shape = len(network.layers), 2, n, self.heads, self.length, network.places.shape[1] // self.heads
        seen = torch.empty(shape, device=self.device)  # keys and values of the places before
        for place in range(self.length):
            logits = network(tokens[:, None, place : place + _RECENT], seen, place)[:, 0].float()
            chances = torch.softmax(logits.double() / bias, dim=-1) if bias else None
            tokens[:, place + _RECENT] = logits.argmax(-1) if chances is None else torch.multinomial(chances, 1)[:, 0]
        return tokens[:, _RECENT:].cpu().numpy()


@dataclass(frozen=True)
class LanguageModel:
    """A causal transformer (Vaswani et al. 2017) with the last four tokens as direct input, trained from scratch.

    The input at each position is the sum of the embeddings of the last four tokens, with one embedding table per
    distance. Without the sum of the four embeddings as input, 1,000 training steps teach little more than which token
    follows which.
    """

    reads: ClassVar[str] = "tokens"
    vectorised: ClassVar[bool] = False
    conditional: ClassVar[bool] = False
    bias_means: ClassVar[str] = "λ is the temperature of each token's distribution"
    width: int = 64  # width of a token's representation
    layers: int = 2
    heads: int = 4  # attention heads; must divide the width
    steps: int = 1500  # Adam steps
    batch: int = 16  # sequences per step
    rate: float = 4e-3  # learning rate at the start
    device: str = "cpu"

    def fit(
        self, data: Samples, *, space: Space, weights: np.ndarray | None, rng: np.random.Generator
    ) -> FittedLanguageModel:
        """Train a transformer on the mean cross-entropy of tokens; batches are drawn by item weights, if given."""
        rows = token_rows(data.values, space)
        if self.width < 1 or self.heads < 1 or self.width % self.heads:
            raise InputError(f"got a width of {self.width} and {self.heads} heads, expected width % heads = 0")
        with seeded(rng, self.device), _precision(self.device):
            network = _Transformer(space.vocabulary, space.width, self.width, self.layers, self.heads).to(self.device)
            tokens = tensor(rows, self.device)
            batches = minibatches(len(rows), self.batch, self.steps, weights=weights, device=self.device)
            optimise(
                network.parameters(), lambda chosen: network.loss(tokens[chosen]).mean(), batches,
                steps=self.steps, rate=self.rate,
            )  # fmt: skip
        return FittedLanguageModel(network.requires_grad_(False).eval(), space.width, self.heads, self.device)


def _precision(device: str) -> torch.autocast:
    return torch.autocast("cuda", dtype=torch.bfloat16, enabled=device.startswith("cuda"))
