"""Findings: published claims as programs that re-test them. One file a paper; a new one is a file and a name in `FINDINGS`."""

from __future__ import annotations

from pliant.findings.adversarial_attention_shortcut import AdversarialAttentionShortcut
from pliant.findings.bi_drop_small_sets import BiDropSmallSets
from pliant.findings.context_need_filter import ContextNeedFilter
from pliant.findings.domain_upsampling import DomainUpsampling
from pliant.findings.finding import Finding, Outcome
from pliant.findings.gptq_under_rtn import GptqUnderRtn
from pliant.findings.gradients_at_start import GradientsAtStart
from pliant.findings.hard_examples import HardExamples
from pliant.findings.layer_dropping import LayerDropping
from pliant.findings.linear_network import LinearNetwork
from pliant.findings.lora_forgets_less import LoraForgetsLess
from pliant.findings.perplexity_pruning import PerplexityPruning
from pliant.findings.progressive_sensitivity import ProgressiveSensitivity
from pliant.findings.quantization_tokens import QuantizationTokens
from pliant.findings.sam_feature_diversity import SamFeatureDiversity
from pliant.findings.sam_label_noise import SamLabelNoise
from pliant.findings.sfa_keeps_source import SfaKeepsSource
from pliant.findings.training_bits import TrainingBits
from pliant.findings.utility_halves import UtilityHalves
from pliant.spec import Catalog

FINDINGS: Catalog[Finding] = Catalog(
    "finding",
    LinearNetwork,
    ProgressiveSensitivity,
    QuantizationTokens,
    GptqUnderRtn,
    TrainingBits,
    LayerDropping,
    SamLabelNoise,
    SamFeatureDiversity,
    LoraForgetsLess,
    SfaKeepsSource,
    BiDropSmallSets,
    AdversarialAttentionShortcut,
    PerplexityPruning,
    DomainUpsampling,
    HardExamples,
    GradientsAtStart,
    UtilityHalves,
    ContextNeedFilter,
)

__all__ = [
    "FINDINGS",
    "AdversarialAttentionShortcut",
    "BiDropSmallSets",
    "ContextNeedFilter",
    "DomainUpsampling",
    "Finding",
    "GptqUnderRtn",
    "GradientsAtStart",
    "HardExamples",
    "LayerDropping",
    "LinearNetwork",
    "LoraForgetsLess",
    "Outcome",
    "PerplexityPruning",
    "ProgressiveSensitivity",
    "QuantizationTokens",
    "SamFeatureDiversity",
    "SamLabelNoise",
    "SfaKeepsSource",
    "TrainingBits",
    "UtilityHalves",
]
