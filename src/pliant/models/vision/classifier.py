"""What the image classifiers here share: a trunk that makes features, and a linear layer on top. Imported where torch is wanted."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from transformers import PreTrainedConfig, PreTrainedModel
from transformers import initialization as init
from transformers.modeling_outputs import ImageClassifierOutputWithNoAttention


class PixelConfig(PreTrainedConfig):
    """Of a network that reads images of one size."""

    image_size: int | list[int] | tuple[int, int] = 32
    num_channels: int = 3

    @property
    def sides(self) -> tuple[int, int]:
        """Height and width."""
        return (self.image_size, self.image_size) if isinstance(self.image_size, int) else (self.image_size[0], self.image_size[1])


class PixelClassifier(PreTrainedModel):
    """Base of the networks here: `trunk` makes (rows, features) of pixels (rows, channels, height, width), `classifier` makes logits."""

    base_model_prefix = "trunk"
    main_input_name = "pixel_values"
    input_modalities = "image"

    def __init__(self, config: Any, trunk: nn.Module, features: int) -> None:
        super().__init__(config)
        self.trunk = trunk
        self.classifier = nn.Linear(features, config.num_labels)
        self.post_init()

    def forward(self, pixel_values: Tensor, labels: Tensor | None = None, **_: Any) -> ImageClassifierOutputWithNoAttention:
        """Logits (rows, classes), with their mean loss where there are labels (rows,)."""
        logits = self.classifier(self.trunk(pixel_values))
        loss = None if labels is None else cross_entropy(logits, labels)
        return ImageClassifierOutputWithNoAttention(loss=loss, logits=logits)  # pyright: ignore[reportArgumentType]

    def _init_weights(self, module: Any) -> None:
        """He's: normal with variance 2 / inputs, 1 / inputs for the classifier, biases 0; norms start as the identity."""
        if isinstance(module, (nn.Conv2d, nn.Linear)):
            init.kaiming_normal_(module.weight, nonlinearity="linear" if module is self.classifier else "relu")
            if module.bias is not None:
                init.zeros_(module.bias)
        else:
            super()._init_weights(module)
