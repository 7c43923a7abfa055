"""Text target: an image moves until encoders of images and text take it for what a text says.

Idea: with t+ the mean, over `templates`, of the target text's embedding and t- that of `negative`, the loss of an encoder is
-cos(f(x), t+) + cos(f(x), t-), and signed steps lower its sum over all `surrogates` within `epsilon`. With `spectrum` each gradient is
averaged over `draws` of idct(dct(x + noise) x mask), the noise normal with deviation `epsilon`, the mask uniform in 1 +- 0.5 for each
frequency: what holds under these holds better under other encoders. Without surrogates the model that is measured is attacked itself.
When to use it: CLIP, SigLIP and their like, in a system that retrieves, ranks or captions by them; of one's own systems. The measure
`robustness` reads the model it is given, so surrogates beside it give the transfer, and none the white box.
Cost: `steps` x `draws` forward and backward passes of every surrogate's image encoder.
What goes wrong: texts whose embeddings are alike rise together: give what the image is now as `negative`. One surrogate carries over
badly: give several, of other sizes. All read images of the size and channels of the model that is measured (others are refused). Steps
are those of `bim` with momentum: the published inner loop over surrogates is left out.
Source: arXiv 2406.12814; spectrum, arXiv 2207.05382.
"""

from __future__ import annotations

from contextlib import ExitStack
from math import pi
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.attacks.ascent import ascend, frozen
from pliant.attacks.attack import Attack, Checks, Costing
from pliant.attacks.ball import Ball, generator_of
from pliant.attacks.random_signs import RandomSigns
from pliant.attacks.spaces import Pixels
from pliant.errors import PliantError
from pliant.models.modules import evaluating
from pliant.models.stored_model import StoredModel
from pliant.models.zero_shot import TEMPLATES, class_embeddings, image_embeddings

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch


class TextTarget(Attack):
    """Move an image to where encoders take it for a text."""

    target: str = Field(min_length=1, description="What the image is to be taken for: a text, or the name of a class")
    negative: str | None = Field(None, description="What it is not to be taken for any more")
    surrogates: tuple[StoredModel, ...] = Field((), description="The encoders that are attacked; none for the model that is measured")
    epsilon: float = Field(16 / 255, ge=0, le=1, description="How far each pixel may move, of its range")
    steps: int = Field(50, ge=1, le=10000, description="Steps")
    step_size: float | None = Field(None, gt=0, description="Length of a step, in the unit of `epsilon`; by default 2.5 of it / `steps`")
    momentum: float = Field(1.0, ge=0, description="What is left of earlier gradients at each step")
    spectrum: bool = Field(True, description="Average gradients over changes of the image's frequencies")
    draws: int = Field(5, ge=1, le=1000, description="Such changes at each step")
    templates: tuple[str, ...] = Field(TEMPLATES, description="What the texts are put into, {} being their place")

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """The images, within `epsilon` in eight bits. Raises PliantError for what is no dual encoder, and images of other sizes."""
        import torch

        batch = batch.to(model.device)
        if "pixel_values" not in batch.inputs:
            raise PliantError("text_target moves images, and this batch has none")
        space = Pixels.of(model, batch)
        radius = space.radius(self.epsilon, "linf")
        encoders = [named.load(model.device) for named in self.surrogates] or [model]
        wanted = [self._wanted(encoder, model) for encoder in encoders]
        generator = generator_of(f"text_target {seed}")
        step = self.step_size or 2.5 * self.epsilon / self.steps

        def high(moved: Batch) -> Tensor:
            pixels = moved.inputs["pixel_values"] * space.std + space.mean
            total = pixels.new_zeros(len(batch))
            for _ in range(self.draws if self.spectrum else 1):
                seen = spectral(pixels, self.epsilon, generator) if self.spectrum else pixels
                for encoder, direction in zip(encoders, wanted, strict=True):
                    total = total + image_embeddings(encoder, _as_read(seen, encoder)) @ direction
            return total

        with ExitStack() as still:
            for encoder in encoders:
                still.enter_context(frozen(encoder.network))
                still.enter_context(evaluating(encoder.network))
            start = torch.zeros_like(space.origin)
            move = ascend(model, space, Ball("linf", radius), high, start, self.steps, step, self.momentum)
        return space.batch(space.settled(move, radius, "linf"))

    def _wanted(self, encoder: Model, model: Model) -> Tensor:
        """(width,) t+ - t-. Raises PliantError for an encoder that reads other images than the model."""
        if encoder.pixels is None or encoder.pixels.size != model.images.size or encoder.pixels.channels != model.images.channels:
            raise PliantError(f"{encoder.checkpoint.address}: reads images of another form than {model.checkpoint.address}")
        texts = [self.target, *([] if self.negative is None else [self.negative])]
        found = class_embeddings(encoder, texts, self.templates).clone()
        return found[0] if self.negative is None else found[0] - found[1]

    def checks(self) -> Checks:
        """Random signs of the same size."""
        return Checks(weaker={"random signs": RandomSigns(epsilon=self.epsilon, norm="linf")})

    def aim(self) -> str:
        """The target, which the measure looks for among its classes."""
        return self.target


def _as_read(pixels: Tensor, encoder: Model) -> Tensor:
    """Pixels between 0 and 1 as an encoder reads them."""
    form = encoder.images
    mean, std = (pixels.new_tensor(told).view(1, -1, 1, 1) for told in (form.mean, form.std))
    return (pixels - mean) / std


def spectral(pixels: Tensor, deviation: float, generator: Any) -> Tensor:
    """(rows, channels, height, width) with noise, and every frequency at half to one and a half times its strength; all rows alike."""
    import torch

    noise = torch.randn(pixels.shape[1:], generator=generator).to(pixels.device, pixels.dtype) * deviation
    mask = (0.5 + torch.rand(pixels.shape[1:], generator=generator)).to(pixels.device, pixels.dtype)
    down, across = (cosines(side, pixels) for side in pixels.shape[-2:])
    strengths = down @ (pixels + noise) @ across.T * mask
    return down.T @ strengths @ across


def cosines(side: int, like: Tensor) -> Tensor:
    """(side, side) the orthonormal cosine transform (DCT-II): its inverse is its transpose."""
    import torch

    places = torch.arange(side, dtype=like.dtype, device=like.device)
    table = torch.cos(pi * (places[None] + 0.5) * places[:, None] / side) * (2 / side) ** 0.5
    table[0] /= 2**0.5
    return table
