"""Fresh networks for training here: plain transformers, described in one word. One file each family; a new one is a file and a name here.

`llama-16x2` is width 16 and 2 layers. Everything else of networks that read text follows from these rules:

- heads: 16 wide below width 128, 32 below 256, 64 from there on (width 16 has one head, 128 and 256 have four);
- MLP: Llama's gated one is 3 x width, the plain ones of GPT-NeoX and BERT 4 x width;
- initial weights: normal with standard deviation 0.4 / sqrt(width) everywhere, 0.1 at width 16;
- token embeddings and output head are tied; no dropout; GPT-NeoX turns a quarter of each head (Pythia's choice).

With the `ascii` tokenizer `llama-16x2` has 8,784 parameters. Attention is PyTorch's fused one (`sdpa`): measured on one
CPU thread at widths 16 to 256 it trains 2 to 15% and evaluates 2 to 16% faster than `eager`; a measure that
differentiates twice can switch with `network.set_attn_implementation("eager")`.

The named presets span 9k to 100M parameters. Their learning rates (peak, AdamW, 2,048 tokens a batch) fall as width to the
power -0.73, from 1e-2 at width 16 to 6e-4 at width 768: a place to start tuning from, on the safe side. Twice as much still
gains a little up to width 80 and loses at 128, as these held-out losses show (nats/token, English prose, cosine, one seed):

| width x layers | tokens | half the preset's rate | the preset's | twice |
|---|---|---|---|---|
| 16x2 | 2M | 2.325 | 2.212 | 2.176 |
| 16x2 | 8M | | 2.028 | 2.015 |
| 32x2 | 8M | | 1.684 | 1.651 |
| 48x3 | 1M | 2.025 | 1.863 | 1.813 |
| 80x3 | 1M | 1.866 | 1.751 | 1.730 |
| 128x4 | 0.5M | | 2.058 | 2.164 |

Networks that read images take their size, channels and labels from the data: `resnet-20` (6n + 2 layers, 16 channels; `resnet-20x32` has
32), `cnn-16x2` (16 channels, then 32), `mlp-128x1` (one hidden layer of 128), `vit-64x4` (width 64, 4 layers, 8 x 8 patches or as near to
that as tiles the image; `vit-64x4p2` has patches of 2 x 2 pixels). Where nothing else is said, pixels run from -1 to 1.
"""

from pliant.models.presets.bert import Bert
from pliant.models.presets.building import build
from pliant.models.presets.gpt_neox import GptNeox
from pliant.models.presets.llama import Llama
from pliant.models.presets.pictured import Cnn, Mlp
from pliant.models.presets.preset import FAMILIES, Given, Preset
from pliant.models.presets.resnet import ResNet
from pliant.models.presets.vit import Vit

FAMILIES.put({family.family: family for family in (Llama, GptNeox, Bert, ResNet, Cnn, Mlp, Vit)})

NAMED = Llama.named
"""Short names; the number is roughly all parameters with a vocabulary that suits the size (ascii up to 300k)."""

__all__ = ["FAMILIES", "NAMED", "Given", "Preset", "build"]
