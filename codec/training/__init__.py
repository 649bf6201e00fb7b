"""Training: pictures -> a float checkpoint in torch -> the integer model. Raises ModelError at its import where torch is not installed."""

from codec.extras import require_torch

require_torch("training")
