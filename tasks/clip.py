"""CLIP ViT-B/32 cosine of two pages, ColBench's own score of a page, where the user has the weights.

`PALIMPSEST_CLIP` names the ONNX file of the vision model with its projection (input pixel_values, output image_embeds), as
exported from openai/clip-vit-base-patch32. Reported apart: it gives a blank page a high cosine, so nothing is trained on it
alone.
"""

import threading
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
from PIL import Image

from sandbox.html import Pixels, RenderedPage, decode

SIDE = 224
MEAN = np.array([0.48145466, 0.4578275, 0.40821073], np.float32)
DEVIATION = np.array([0.26862954, 0.26130258, 0.27577711], np.float32)

_lock = threading.Lock()


class ClipUnavailable(RuntimeError):
    """The weights that the settings name cannot be used; the message says why."""


def clip_cosine(page: RenderedPage, reference: RenderedPage, weights: Path | None) -> float | None:
    """Cosine of the two pictures' embeddings, from -1 to 1; None without weights. Raises ClipUnavailable."""
    if weights is None:
        return None
    left, right = (_embedding(p.png, weights.expanduser()) for p in (page, reference))
    return float(left @ right)


def preprocessed(pixels: Pixels) -> npt.NDArray[np.float32]:
    """The picture as CLIP takes it, 3 x 224 x 224: its shorter side resized (bicubic), the middle cut out, normalised."""
    image = Image.fromarray(pixels)
    scale = SIDE / min(image.size)
    width, height = (max(SIDE, round(side * scale)) for side in image.size)
    image = image.resize((width, height), Image.Resampling.BICUBIC)
    left, top = (width - SIDE) // 2, (height - SIDE) // 2
    values = np.asarray(image.crop((left, top, left + SIDE, top + SIDE)), np.float32) / 255
    return np.asarray((values - MEAN) / DEVIATION, np.float32).transpose(2, 0, 1)


@lru_cache(maxsize=512)
def _embedding(png: bytes, weights: Path) -> npt.NDArray[np.float32]:
    with _lock:
        session = _session(weights)
    name = session.get_inputs()[0].name
    outputs = [o.name for o in session.get_outputs()]
    wanted = "image_embeds" if "image_embeds" in outputs else outputs[0]
    row = session.run([wanted], {name: preprocessed(decode(png))[None]})[0][0]
    return np.asarray(row / np.linalg.norm(row), np.float32)


@lru_cache(maxsize=1)
def _session(weights: Path) -> Any:
    if not weights.is_file():
        raise ClipUnavailable(f"PALIMPSEST_CLIP names {weights}, which is no file.")
    try:
        return onnxruntime.InferenceSession(str(weights), providers=["CPUExecutionProvider"])
    except Exception as error:  # its own exception classes are not exported
        raise ClipUnavailable(f"PALIMPSEST_CLIP names {weights}, which onnxruntime cannot read: {error}") from error
