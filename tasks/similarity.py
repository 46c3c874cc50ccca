"""How alike two rendered pages are, without weights of a model: blocks of text × colours × structure, each reported.

Blocks follow Design2Code (Si et al. 2024) on the page's own text instead of OCR: each piece that can be seen is matched with one
of the other page by its text, and counts by its place, colour and size. Structure is SSIM (Wang et al. 2004) on small pictures,
re-based on a blank page: as it is, it gives a blank page 0.83.

Departures: (1) ColBench takes the cosine of two pictures in CLIP, and a page without the layout, or with stuffed text, comes near
to that. Where CLIP's file is given, its score stands beside this one (tasks/clip.py).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image
from rapidfuzz import fuzz, process
from scipy.optimize import linear_sum_assignment
from skimage.color import deltaE_ciede2000, rgb2lab
from skimage.metrics import structural_similarity

from sandbox.browser import WIDTH
from sandbox.html import Block, Pixels, RenderedPage

EXPONENTS = {"blocks": 0.6, "colours": 0.2, "structure": 0.2}
"""The score is the product of the parts, each to its power: a page without the text, or the colours, is worth nothing."""
LEAST_STRUCTURE = 0.25
"""What structure is counted as, at least: one section that moves the others down makes SSIM as bad as a blank page's."""
SHRUNK = 4  # times smaller for structure
LEAST_TEXT = 0.5  # likeness of two texts, from which they can be the same piece
OTHER_WORDS = 0.25  # what a piece is worth that looks right, at its place, and says something else
FAR = 360.0  # pixels between two places from which a piece counts as elsewhere
OTHER_COLOUR = 60.0  # CIEDE2000 from which a colour is another altogether

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Similarity:
    """From 0 to 1, each."""

    blocks: float
    """Pieces of text: the share that is there, weighed by place, colour and size; pieces too many count against it."""
    colours: float
    """Intersection of the colour histograms, of 8 levels for each channel."""
    structure: float
    """SSIM, re-based so that a blank page has 0."""

    @property
    def score(self) -> float:
        """Weighted geometric mean of the parts."""
        structure = LEAST_STRUCTURE + (1 - LEAST_STRUCTURE) * self.structure
        parts = {"blocks": self.blocks, "colours": self.colours, "structure": structure}
        return float(np.prod([parts[name] ** power for name, power in EXPONENTS.items()]))


def similarity(page: RenderedPage, reference: RenderedPage) -> Similarity:
    """How alike `page` is to `reference`. A page that could not be rendered is alike to nothing."""
    if page.exit_reason != "done":
        return Similarity(0.0, 0.0, 0.0)
    left, right = _same_size(page.pixels, reference.pixels)
    return Similarity(
        blocks=block_match(page.blocks, reference.blocks),
        colours=_histogram_intersection(left, right),
        structure=_structure(left, right),
    )


def block_match(page: Sequence[Block], reference: Sequence[Block]) -> float:
    """Share of the text of both pages that has its counterpart, by the best one-to-one matching; 1 if neither has any."""
    if not page or not reference:
        return 1.0 if not page and not reference else 0.0
    text = process.cdist([b.text for b in page], [b.text for b in reference], scorer=fuzz.ratio) / 100.0
    quality = np.where(text < LEAST_TEXT, OTHER_WORDS, text) * _places(page, reference) * _colours(page, reference)
    quality *= _ratios([b.size for b in page], [b.size for b in reference])
    shapes = [
        _ratios([getattr(b, side) for b in page], [getattr(b, side) for b in reference]) for side in ("width", "height")
    ]
    quality *= np.sqrt(shapes[0] * shapes[1])  # apart: lines that are broken elsewhere take the same area
    rows, columns = linear_sum_assignment(quality, maximize=True)
    weights = [np.sqrt([b.width * b.height for b in side]) for side in (page, reference)]
    matched = quality[rows, columns] * (weights[0][rows] + weights[1][columns])
    return float(matched.sum() / (weights[0].sum() + weights[1].sum()))


def _places(page: Sequence[Block], reference: Sequence[Block]) -> Floats:
    """1 for the same place, 0 from FAR on: of the nearer of left edge and middle, since a text may be longer."""
    middles, lefts = (
        [np.array([[b.left + b.width * share, b.top + b.height / 2] for b in side]) for side in (page, reference)]
        for share in (0.5, 0.0)
    )
    distances = [np.hypot(*np.moveaxis(side[0][:, None, :] - side[1][None, :, :], 2, 0)) for side in (middles, lefts)]
    return np.asarray(np.clip(1 - np.minimum(*distances) / FAR, 0, 1))


def _colours(page: Sequence[Block], reference: Sequence[Block]) -> Floats:
    left, right = (rgb2lab(np.array([b.colour for b in side], float) / 255) for side in (page, reference))
    return np.asarray(np.clip(1 - deltaE_ciede2000(left[:, None, :], right[None, :, :]) / OTHER_COLOUR, 0, 1))


def _ratios(page: Sequence[float], reference: Sequence[float]) -> Floats:
    left, right = np.maximum(page, 1e-6)[:, None], np.maximum(reference, 1e-6)[None, :]
    return np.asarray(np.minimum(left, right) / np.maximum(left, right))


def _same_size(*pictures: Pixels) -> list[Pixels]:
    """White is added below the shorter one."""
    height = max(len(p) for p in pictures)
    return [np.concatenate([p, np.full((height - len(p), WIDTH, 3), 255, np.uint8)]) for p in pictures]


def _histogram_intersection(left: Pixels, right: Pixels) -> float:
    counts = []
    for pixels in (left, right):
        red, green, blue = ((pixels[..., n] >> 5).astype(np.uint16) for n in range(3))
        counts.append(np.bincount(((red << 6) | (green << 3) | blue).ravel(), minlength=512) / red.size)
    return float(np.minimum(*counts).sum())


def _structure(left: Pixels, right: Pixels) -> float:
    if np.array_equal(left, right):
        return 1.0  # also of a white page, which is the blank one
    page, reference = (_shrunk(p) for p in (left, right))
    alike, empty = (_ssim(other, reference) for other in (page, np.full_like(reference, 255)))
    return float(np.clip((alike - empty) / max(1e-6, 1 - empty), 0, 1))


def _shrunk(pixels: Pixels) -> npt.NDArray[np.float32]:
    return np.asarray(Image.fromarray(pixels).reduce(SHRUNK), np.float32)


def _ssim(left: npt.NDArray[np.float32], right: npt.NDArray[np.float32]) -> float:
    return float(structural_similarity(left, right, channel_axis=2, data_range=255))
