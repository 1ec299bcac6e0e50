"""The table from model names to families: real names as sellers write them, and names that only look alike."""

from __future__ import annotations

import re

import pytest

from chargehand.families import BASES, FINE_TUNES, MAKERS, NOT_THEIRS, declared_family, families_of, family_of

RESOLD = {
    "gpt-4o": "openai",
    "openai:gpt-4o-mini-2024-07-18": "openai",
    "openrouter/openai/gpt-4o:extended": "openai",
    "azure/gpt-4o": "openai",
    "azure:gpt-35-turbo": "openai",
    "github:openai/o3-mini": "openai",
    "o1": "openai",
    "o4-mini-deep-research": "openai",
    "chatgpt-4o-latest": "openai",
    "text-davinci-003": "openai",
    "groq:openai/gpt-oss-120b": "openai",
    "bedrock/openai.gpt-oss-120b-1:0": "openai",
    "snowflake:openai-gpt-6-luna": "openai",
    "anthropic/claude-3.5-sonnet": "anthropic",
    "openrouter/anthropic/claude-3.5-sonnet:beta": "anthropic",
    "bedrock/us.anthropic.claude-3-5-sonnet-20241022-v2:0": "anthropic",
    "bedrock:global.anthropic.claude-opus-4-8": "anthropic",
    "anthropic.claude-v2:1": "anthropic",
    "arn:aws:bedrock:us-east-1:1234:inference-profile/us.anthropic.claude-3-haiku-20240307-v1:0": "anthropic",
    "vertex_ai/claude-3-5-sonnet@20240620": "anthropic",
    "google-vertex:gemini-1.5-pro-002": "google",
    "gateway/google-cloud:gemini-3.8-flash": "google",
    "gemini/gemini-2.0-flash": "google",
    "projects/p/locations/us-central1/publishers/google/models/gemini-1.5-pro": "google",
    "google.gemma-3-27b-it": "google",
    "medgemma-27b-text-it": "google",
    "groq/llama-3.3-70b-versatile": "meta",
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo": "meta",
    "fireworks/accounts/fireworks/models/llama-v3p1-70b-instruct": "meta",
    "ollama/llama3.1:8b-instruct-q4_K_M": "meta",
    "ollama:llama3.2": "meta",
    "bedrock/us.meta.llama3-3-70b-instruct-v1:0": "meta",
    "@cf/meta/llama-3.1-8b-instruct-fp8-fast": "meta",
    "databricks-meta-llama-3-3-70b-instruct": "meta",
    "codellama/CodeLlama-34b-Instruct-hf": "meta",
    "mistral-large-latest": "mistral",
    "bedrock/mistral.mixtral-8x7b-instruct-v0:1": "mistral",
    "groq/mixtral-8x7b-32768": "mistral",
    "open-mixtral-8x22b": "mistral",
    "codestral-2508": "mistral",
    "ollama/hf.co/bartowski/Qwen2.5-7B-Instruct-GGUF:Q4_K_M": "qwen",
    "fireworks_ai/accounts/fireworks/models/qwen2p5-vl-72b-instruct": "qwen",
    "QwQ-32B": "qwen",
    "deepseek/deepseek-chat": "deepseek",
    "us.deepseek.r1-v1:0": "deepseek",
    "azure_ai/deepseek-v3-0324": "deepseek",
    "ollama/deepseek-r1:671b": "deepseek",
    "xai/grok-4": "xai",
    "cohere.command-r-plus-v1:0": "cohere",
    "c4ai-aya-expanse-32b": "cohere",
    "azure/phi-4-mini-instruct": "microsoft",
    "us.amazon.nova-pro-v1:0": "amazon",
    "heroku:nova-lite": "amazon",
    "nvidia/NVIDIA-Nemotron-Nano-9B-v2": "nvidia",
    "moonshotai/Kimi-K2-Instruct": "moonshot",
    "bedrock:zai.glm-4.7": "zhipu",
    "nvidia/GLM-5.3-Flash-NVFP4": "zhipu",
    "mistral/zai-glm-5-3": "zhipu",
    "MiniMaxAI/MiniMax-M2": "minimax",
    "ai21.jamba-1-5-large-v1:0": "ai21",
    "01-ai/Yi-34B-Chat": "01-ai",
    "tencent/Hunyuan-A13B-Instruct": "tencent",
    "us.writer.palmyra-x5-v1:0": "writer",
}
"""The same models as their sellers call them."""

FINE_TUNED = {
    "ft:gpt-4o-mini-2024-07-18:acme:claude-style:AbC1": ("openai",),
    "NousResearch/Hermes-3-Llama-3.1-405B": ("meta",),
    "NousResearch/Hermes-4-14B": ("qwen",),
    "NousResearch/Hermes-4-70B": ("meta",),
    "NousResearch/Hermes-4.3-36B": ("bytedance",),
    "NousResearch/Nous-Hermes-2-Mixtral-8x7B-DPO": ("mistral",),
    "NousResearch/Nous-Hermes-2-Yi-34B": ("01-ai",),
    "nvidia/Llama-3_1-Nemotron-Ultra-253B-v1": ("meta",),
    "microsoft/WizardLM-2-8x22B": ("mistral",),
    "WizardLM/WizardLM-13B-V1.2": ("meta", "openai"),
    "lmsys/vicuna-13b-v1.5": ("meta", "openai"),
    "HuggingFaceH4/zephyr-7b-beta": ("mistral",),
    "cognitivecomputations/dolphin-mixtral-8x22b": ("mistral",),
    "upstage/SOLAR-10.7B-Instruct-v1.0": ("mistral",),
    "aisingapore/Qwen-SEA-LION-v4-32B-IT": ("qwen",),
    "tokyotech-llm/Llama-3.3-Swallow-70B-Instruct-v0.4": ("meta",),
    "deepseek-ai/DeepSeek-R1-Distill-Llama-70B": ("meta", "deepseek"),
    "groq/deepseek-r1-distill-llama-70b": ("meta", "deepseek"),
    "deepseek-ai/DeepSeek-R1-Distill-Qwen-32B": ("qwen", "deepseek"),
    "deepseek/deepseek-r1-0528-qwen3-8b:free": ("qwen", "deepseek"),
    "perplexity-ai/r1-1776": ("deepseek",),
    "perplexity/r1-1776-distill-llama-70b": ("meta", "deepseek"),
    "ollama/deepseek-r1:14b": ("qwen", "deepseek"),
    "ollama:deepseek-r1:70b": ("meta", "deepseek"),
    "microsoft/MAI-DS-R1": ("deepseek",),
    "agentica-org/DeepCoder-14B-Preview": ("qwen", "deepseek"),
    "AIDC-AI/Marco-o1": ("qwen",),
    "simplescaling/s1.1-32B": ("qwen", "google", "deepseek"),
    "Qwen3-14B-Claude-4.5-Opus-Distill": ("qwen", "anthropic"),
    "umd-zhou-lab/claude2-alpaca-13B": ("meta", "anthropic", "openai"),
    "chavinlo/gpt4-x-alpaca": ("meta", "openai"),
    "deepcogito/cogito-671b-v2.1": ("deepseek",),
    "PrimeIntellect/INTELLECT-3-FP8": ("zhipu",),
}
"""What was made of another model: the base first, then whoever taught it."""

LOOK_ALIKES = {
    "EleutherAI/gpt-j-6b": "eleutherai",
    "EleutherAI/gpt-neox-20b": "eleutherai",
    "AI-Sweden-Models/gpt-sw3-6.7b-v2-instruct": "ai-sweden",
    "openlm-research/open_llama_7b": "openlm",
    "TinyLlama/TinyLlama-1.1B-Chat-v1.0": "tinyllama",
    "THUDM/chatglm3-6b": "zhipu",
    "mistralai/mistral-nemotron": "mistral",
    "nvidia/Mistral-NeMo-Minitron-8B-Instruct": "mistral",
    "llama3-groq-70b-8192-tool-use-preview": "meta",
    "gpt4all-13b-snoozy": None,
    "llava-o1": None,
    "openrouter/auto": None,
    "perplexity/sonar-pro": None,
    "cursor/composer-2.5": None,
    "groq/compound": None,
    "azure/my-deployment": None,
    "arn:aws:bedrock:us-east-1:1234:provisioned-model/abcdef": None,
    "ollama/deepseek-r1:8b": None,
    "ollama/deepseek-r1": None,
    "openai/": None,
    "": None,
    "test": None,
    "mistral-7b-llama-3-8b-merge": None,
    "claudette-7b": None,
    "geminify": None,
    "philosopher-7b": None,
    "qwenting-1b": None,
    "commandeer-9b": None,
    "hello1": None,
}
"""Names with another family's word in them, and names that say nothing."""


@pytest.mark.parametrize(("name", "family"), RESOLD.items())
def test_who_resells_a_model_does_not_count(name: str, family: str) -> None:
    """A model is of its maker's family, whoever serves it and however its name is written there."""
    assert family_of(name) == family
    assert family_of(name.upper()) == family


@pytest.mark.parametrize(("name", "families"), FINE_TUNED.items())
def test_a_fine_tune_or_distillation_is_of_its_base(name: str, families: tuple[str, ...]) -> None:
    """What was made of another model is of its base's family, and its teachers are known beside it."""
    assert families_of(name) == families
    assert family_of(name) == families[0]


@pytest.mark.parametrize(("name", "family"), LOOK_ALIKES.items())
def test_what_only_looks_alike_is_not_taken_for_it(name: str, family: str | None) -> None:
    """A name that holds another family's word is read right, and one that says nothing, or two things, is unknown."""
    assert family_of(name) == family


@pytest.mark.parametrize("name", MAKERS)
def test_a_maker_alone_names_its_family(name: str) -> None:
    """A family declared by maker or line is the one that the table finds for that maker's models."""
    assert family_of(name) == MAKERS[name]
    assert declared_family(f" {name.upper()} ") == MAKERS[name]


def test_a_declared_family_may_be_any_word() -> None:
    """A declared word that the table does not know stands for itself; nothing declared is nothing known."""
    assert declared_family("small-2") == "small-2"
    assert declared_family("gpt-4o") == "openai"
    assert (declared_family(None), declared_family("  ")) == (None, None)


def test_every_row_says_where_it_is_from() -> None:
    """Each row has a source, and no family has two spellings."""
    rules = (*NOT_THEIRS, *BASES, *FINE_TUNES)
    assert [rule.pattern.pattern for rule in rules if len(rule.source) < 10] == []
    families = {rule.family for rule in rules if rule.family is not None} | set(MAKERS.values())
    assert [family for family in families if not re.fullmatch(r"[a-z0-9][a-z0-9-]*", family)] == []
    taught = {family for rule in rules for family in rule.taught_by}
    assert taught <= families
