"""Model families: from the name of a model to whose mistakes it makes.

Two models of one family share blind spots, so a judge of the producer's family proves little. Models of one *maker* agree in their
errors more than others do, across sizes and architectures (Kim, Garg, Peng, Garg, ICML 2025, arXiv 2506.07962: "same company" and
"same architecture" each raise the agreement), so a family is called after the maker of the base model: Gemma and Gemini are both "google".

How a name is read:

1. Who *resells* a model does not count: the part before the last ``/``, and a provider before ``:``, are taken off. Only where
   a cloud writes ``maker.model`` (AWS Bedrock) and the model's own part says nothing, the maker counts.
2. A *fine-tune* or *distillation* belongs to its base: in ``deepseek-r1-distill-llama-70b`` that is Llama. Whoever taught it counts
   too, after the base (`families_of`): what it learned are the teacher's answers, the wrong ones included.
3. A closed model cannot be somebody else's base: in ``qwen3-14b-claude-opus-distill`` Claude is the teacher.
4. Names that fit nothing, or fit two possible bases, are *unknown* (None), and unknown counts as the producer's own family. So do
   hosted names behind which the seller changes the model (``sonar``, ``composer``, ``openrouter/auto``).

To mend the table: add a row with where it is from, and the names to `tests/core/test_family_names.py`. A row too many lets a judge pass that
should not; a row too few only asks for a declaration.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One row: names that match `pattern` are of `family`, as `source` says. `closed`: nobody else can train it further."""

    pattern: re.Pattern[str]
    family: str | None
    source: str
    closed: bool = False
    taught_by: tuple[str, ...] = ()


def _rule(pattern: str, family: str | None, source: str, *, closed: bool = False, taught_by: tuple[str, ...] = ()) -> Rule:
    """Return a row whose pattern begins and ends where words of a name do."""
    return Rule(re.compile(rf"(?<![a-z0-9])(?:{pattern})(?![a-z])"), family, source, closed, taught_by)


MAKERS: dict[str, str] = {
    "openai": "openai", "gpt": "openai", "chatgpt": "openai", "anthropic": "anthropic", "claude": "anthropic", "google": "google",
    "gemini": "google", "gemma": "google", "meta": "meta", "meta-llama": "meta", "llama": "meta", "mistral": "mistral", "mistralai": "mistral",
    "mixtral": "mistral", "qwen": "qwen", "alibaba": "qwen", "deepseek": "deepseek", "deepseek-ai": "deepseek", "xai": "xai", "x-ai": "xai",
    "grok": "xai", "cohere": "cohere", "command": "cohere", "microsoft": "microsoft", "phi": "microsoft", "amazon": "amazon", "nova": "amazon",
    "nvidia": "nvidia", "nemotron": "nvidia", "moonshot": "moonshot", "moonshotai": "moonshot", "kimi": "moonshot", "zhipu": "zhipu",
    "zhipuai": "zhipu", "zai": "zhipu", "z-ai": "zhipu", "zai-org": "zhipu", "glm": "zhipu", "minimax": "minimax", "ai21": "ai21", "ibm": "ibm",
    "granite": "ibm", "writer": "writer", "tencent": "tencent", "baidu": "baidu", "bytedance": "bytedance", "xiaomi": "xiaomi",
    "stepfun": "stepfun", "01-ai": "01-ai", "yi": "01-ai", "tii": "tii", "ai2": "ai2", "allenai": "ai2", "lg": "lg", "arcee": "arcee",
}  # fmt: skip
"""How a maker or a line is called when its name stands alone: declared families, and the ``maker.`` of AWS's model ids."""

PROVIDERS = frozenset(
    [
        "openai",
        "openai-chat",
        "openai-responses",
        "anthropic",
        "google",
        "google-gla",
        "google-vertex",
        "google-cloud",
        "vertex",
        "vertex_ai",
        "gemini",
        "azure",
        "azure_ai",
        "bedrock",
        "bedrock-mantle",
        "sagemaker",
        "openrouter",
        "groq",
        "together",
        "together_ai",
        "fireworks",
        "fireworks_ai",
        "ollama",
        "ollama_chat",
        "lm_studio",
        "vllm",
        "hosted_vllm",
        "litellm",
        "gateway",
        "github",
        "github-copilot",
        "copilot",
        "huggingface",
        "hf",
        "mistral",
        "cohere",
        "deepseek",
        "xai",
        "moonshotai",
        "zai",
        "meta",
        "cerebras",
        "nebius",
        "novita",
        "sambanova",
        "deepinfra",
        "replicate",
        "databricks",
        "snowflake",
        "heroku",
        "cloudflare",
        "perplexity",
        "vercel",
        "nvidia_nim",
        "watsonx",
        "alibaba",
        "dashscope",
        "crusoe",
        "ovhcloud",
        "baseten",
        "test",
    ]
)
"""What may stand before ``:`` as who serves the model. Source: the providers of Pydantic AI 2.68 and of LiteLLM's documentation."""

NOT_THEIRS: tuple[Rule, ...] = (
    _rule(r"gpt-?(?:j|neox?)\w*", "eleutherai", "model cards EleutherAI/gpt-j-6b, gpt-neo-2.7B, gpt-neox-20b: trained on the Pile by EleutherAI"),
    _rule(r"gpt4all[\w.-]*", None, "model cards nomic-ai/gpt4all-*: bases differ by release (GPT-J, LLaMA, MPT, Falcon)"),
    _rule(r"gpt-sw3[\w.-]*", "ai-sweden", "model card AI-Sweden-Models/gpt-sw3-*: pretrained by AI Sweden"),
    _rule(r"open[-_]?llama[\w.-]*", "openlm", "model card openlm-research/open_llama_7b: trained from scratch, not Meta's weights"),
    _rule(r"tiny-?llama[\w.-]*", "tinyllama", "model card TinyLlama/TinyLlama-1.1B: the architecture only, trained from scratch"),
    _rule(r"llama-?(?:file|\.?cpp|-?index)[\w.-]*", None, "names of programs, not of models"),
    _rule(r"mai-ds-r1[\w.-]*", "deepseek", "model card microsoft/MAI-DS-R1: DeepSeek-R1 post-trained by Microsoft"),
    _rule(r"mistral-nemotron[\w.-]*", "mistral", "model card mistralai/mistral-nemotron on build.nvidia.com: built by Mistral"),
    _rule(r"deepseek-r1-0528-qwen3[\w.-]*", "qwen", "model card deepseek-ai/DeepSeek-R1-0528-Qwen3-8B: Qwen3 8B Base, distilled",
          taught_by=("deepseek",)),
)  # fmt: skip
"""Names that contain another family's word; looked at first, and alone."""

BASES: tuple[Rule, ...] = (
    _rule(r"gpt-?(?:3|4|[5-9])(?:[.\d]*)(?:o|v)?", "openai", "platform.openai.com/docs/models", closed=True),
    _rule(r"chatgpt|gpt-(?:chat|audio|realtime|live|image|rosalind)|codex-mini|computer-use", "openai", "platform.openai.com/docs/models", closed=True),
    _rule(r"gpt-oss|gpt-?2", "openai", "model cards openai/gpt-oss-120b, openai-community/gpt2: open weights"),
    _rule(r"claude(?:-v?\d|-?\d|-instant|-haiku|-sonnet|-opus|-fable|-mythos)?", "anthropic", "docs.anthropic.com: models", closed=True),
    _rule(r"gemini|palm-?2|(?:text|chat|code)-bison", "google", "ai.google.dev/gemini-api/docs/models", closed=True),
    _rule(r"(?:code|shield|med|data|pali|t5|translate)?gemma-?[\dn]?", "google", "ai.google.dev/gemma/docs: Gemma and what Google builds of it"),
    _rule(r"(?:code)?llama(?:guard)?", "meta", "llama.com; model cards meta-llama/*, codellama/*"),
    _rule(r"muse-(?:spark|wonder|glimmer)", "meta", "models of the provider meta in genai-prices 0.2.3"),
    _rule(r"(?:open-)?(?:mistral|mixtral|ministral|codestral|devstral|magistral|pixtral|mathstral|voxtral)(?:-?\d)?", "mistral",
          "docs.mistral.ai/getting-started/models"),
    _rule(r"(?:code)?qwen-?\d?|qwq|qvq|qwen-?vl", "qwen", "model cards Qwen/*: Alibaba's Qwen team"),
    _rule(r"deepseek", "deepseek", "model cards deepseek-ai/*; api-docs.deepseek.com"),
    _rule(r"grok-?\d?", "xai", "docs.x.ai/docs/models", closed=True),
    _rule(r"command(?:-(?:r|a|light|nightly|text|plus|xlarge)\w*|$)|c4ai|aya", "cohere", "docs.cohere.com/docs/models; Aya Expanse is built on Command"),
    _rule(r"phi-?\d", "microsoft", "model cards microsoft/phi-*, microsoft/Phi-*: pretrained by Microsoft"),
    _rule(r"mai-(?:\d|code|voice)", "microsoft", "microsoft.ai: MAI models"),
    _rule(r"nova-(?:micro|lite|pro|premier|sonic|\d)|titan-(?:text|tg1)", "amazon", "docs.aws.amazon.com/nova; Titan user guide", closed=True),
    _rule(r"kimi|moonshot-v\d", "moonshot", "platform.moonshot.ai; model cards moonshotai/*"),
    _rule(r"(?:chat|code)?glm-?\d?", "zhipu", "docs.z.ai; model cards zai-org/*, THUDM/chatglm*"),
    _rule(r"minimax|abab\d", "minimax", "model cards MiniMaxAI/*"),
    _rule(r"granite", "ibm", "model cards ibm-granite/*"),
    _rule(r"jamba|j2", "ai21", "docs.ai21.com: Jamba, Jurassic-2"),
    _rule(r"yi-(?:\d+b?|large|lightning|medium|spark|vision|vl|coder)", "01-ai", "model cards 01-ai/Yi-*"),
    _rule(r"ernie", "baidu", "model cards baidu/ERNIE-*"),
    _rule(r"hunyuan|hy\d", "tencent", "model cards tencent/Hunyuan-*"),
    _rule(r"seed-(?:oss|\d)|doubao", "bytedance", "model cards ByteDance-Seed/Seed-*"),
    _rule(r"step-\d", "stepfun", "platform.stepfun.com: models"),
    _rule(r"lfm-?\d+b?", "liquid", "model cards LiquidAI/LFM*"),
    _rule(r"trinity-(?:mini|nano|large)", "arcee", "model cards arcee-ai/Trinity-*: pretrained by Arcee"),
    _rule(r"mimo", "xiaomi", "model cards XiaomiMiMo/*"),
    _rule(r"internlm\d?", "internlm", "model cards internlm/*: Shanghai AI Laboratory"),
    _rule(r"baichuan\d?", "baichuan", "model cards baichuan-inc/*"),
    _rule(r"exaone", "lg", "model cards LGAI-EXAONE/*"),
    _rule(r"falcon", "tii", "model cards tiiuae/falcon-*"),
    _rule(r"olmo\d?", "ai2", "model cards allenai/OLMo-*"),
    _rule(r"palmyra", "writer", "dev.writer.com: Palmyra models", closed=True),
    _rule(r"apertus", "swiss-ai", "model cards swiss-ai/Apertus-*"),
    _rule(r"dbrx", "databricks", "model card databricks/dbrx-instruct"),
    _rule(r"inkling", "thinkingmachines", "models thinkingmachines/inkling in genai-prices 0.2.3"),
)  # fmt: skip
"""Base models. `closed`: the maker's own service only."""

FINE_TUNES: tuple[Rule, ...] = (
    _rule(r"hermes-4\.3", "bytedance", "model card NousResearch/Hermes-4.3-36B: Seed-OSS-36B-Base"),
    _rule(r"hermes-4-14b", "qwen", "model card NousResearch/Hermes-4-14B: Qwen3-14B"),
    _rule(r"hermes-4-(?:70|405)b|hermes-3-(?:3b|8b|70b|405b)", "meta", "model cards NousResearch/Hermes-4-70B, Hermes-3-*: Llama 3.1, 3.2"),
    _rule(r"nemotron-(?:51b|70b|super-49b|ultra-253b|nano-(?:4|8)b-v1)\w*", "meta", "model cards nvidia/Llama-3_1-Nemotron-*: Llama 3.1 and 3.3"),
    _rule(r"nemotron-(?:\d|nano|super|ultra|lightning)[\w.-]*", "nvidia", "model cards nvidia/Nemotron-4-340B, NVIDIA-Nemotron-Nano-*, Nemotron-3-*"),
    _rule(r"wizardlm-2-8x22b", "mistral", "model card microsoft/WizardLM-2-8x22B: Mixtral 8x22B"),
    _rule(r"wizardlm-(?:7b|13b|30b|70b)", "meta", "model cards WizardLM/WizardLM-*: LLaMA, Llama 2", taught_by=("openai",)),
    _rule(r"zephyr-7b", "mistral", "model card HuggingFaceH4/zephyr-7b-beta: Mistral 7B"),
    _rule(r"openchat-3\.5|starling-lm-7b|openhermes-2(?:\.5)?", "mistral", "model cards openchat, Nexusflow, teknium: Mistral 7B", taught_by=("openai",)),
    _rule(r"solar-10\.7b", "mistral", "arXiv 2312.15166: weights of Mistral 7B, scaled up in depth"),
    _rule(r"bielik-11b", "mistral", "model cards speakleash/Bielik-11B-v2, v3: Mistral 7B v0.2, scaled up in depth"),
    _rule(r"vicuna|alpaca|guanaco|koala", "meta", "lmsys.org, crfm.stanford.edu, arXiv 2305.14314: LLaMA", taught_by=("openai",)),
    _rule(r"(?:llama-3\.1-)?tulu-?3", "meta", "model card allenai/Llama-3.1-Tulu-3-8B: Llama 3.1"),
    _rule(r"mythomax-l2|airoboros-l2|goliath-120b|platypus2-70b", "meta", "model cards: Llama 2 fine-tunes and merges"),
    _rule(r"l3(?:\.?[123])?-(?:8b|70b|euryale|lunaris|stheno)", "meta", "model cards Sao10K/L3-70B-Euryale-v2.1, L3-8B-*: Llama 3"),
    _rule(r"magnum-(?:72b|v2-72b|v4-72b)", "qwen", "model cards anthracite-org/magnum-*-72b: Qwen2, Qwen2.5", taught_by=("anthropic",)),
    _rule(r"marco-o1", "qwen", "model card AIDC-AI/Marco-o1: Qwen2-7B"),
    _rule(r"sky-t1|openthinker\d?|bespoke-stratos|light-r1|limo", "qwen", "model cards: Qwen2.5 trained on traces of larger models",
          taught_by=("deepseek",)),
    _rule(r"s1(?:\.1)?-32b", "qwen", "model cards simplescaling/s1-32B, s1.1-32B: Qwen2.5-32B", taught_by=("google", "deepseek")),
    _rule(r"deepscaler|deepcoder-14b", "qwen", "model cards agentica-org/*: DeepSeek-R1-Distill-Qwen", taught_by=("deepseek",)),
    _rule(r"openhands-lm", "qwen", "model card all-hands/openhands-lm-32b-v0.1: Qwen2.5-Coder-32B"),
    _rule(r"r1-1776", "deepseek", "model card perplexity-ai/r1-1776: DeepSeek-R1 post-trained"),
    _rule(r"cogito-(?:v2[\w.-]*-)?671b", "deepseek", "model card deepcogito/cogito-671b-v2.1: DeepSeek-V3 base"),
    _rule(r"intellect-3", "zhipu", "model card PrimeIntellect/INTELLECT-3: GLM-4.5-Air base"),
)  # fmt: skip
"""Fine-tunes whose names do not say their base. They count where no open base stands in the name itself."""

SIZES_AT_OLLAMA: dict[str, tuple[str, ...]] = {
    "1.5b": ("qwen", "deepseek"), "7b": ("qwen", "deepseek"), "14b": ("qwen", "deepseek"), "32b": ("qwen", "deepseek"),
    "70b": ("meta", "deepseek"), "671b": ("deepseek",), "8b": (), "latest": (), "": (),
}  # fmt: skip
"""Ollama serves distillations under ``deepseek-r1``; only 671b is the model of that name, and the 8b of today is not the one of
before. Source: ollama.com/library/deepseek-r1, tags."""

_O_SERIES = re.compile(r"^o[1-9](?:-(?:mini|pro|preview|high|low|medium|deep-research|\d{4}).*)?$")
"""OpenAI's reasoning models; as a part of other names (``marco-o1``, ``llava-o1``) it says nothing."""
_OLD_OPENAI = re.compile(r"^(?:text-)?(?:davinci|curie|babbage|ada)(?:-\d+)?$")
_DISTILLED_INTO = re.compile(r"distill(?:ed)?-(?:into-)?(?P<base>.+)$")
_REGIONS = re.compile(r"^(?:us|eu|apac|jp|au|ca|us-gov|global)\.")
_VERSION_AT = re.compile(r"@[\w-]+$")


def family_of(model: str) -> str | None:
    """Return the family of a model's base, by its name with whatever provider before it; None when it is not known.

    Takes the name of a maker or line alone too ("openai", "llama"), as a family may be declared.
    """
    found = families_of(model)
    return found[0] if found else None


def families_of(model: str) -> tuple[str, ...]:
    """Return the family of a model's base and then those that taught it; nothing when the base is not known."""
    name = model.strip().lower()
    if name in MAKERS:
        return (MAKERS[name],)
    own, tag, provider = _own_name(name)
    if provider in ("ollama", "ollama_chat") and own == "deepseek-r1":
        return SIZES_AT_OLLAMA.get(tag.partition("-")[0], ())
    own, maker = _without_maker(own)
    return _read(own) or ((maker,) if maker is not None else ())


def declared_family(given: str | None) -> str | None:
    """Return a declared family as this table calls it; a name that the table does not know stands for itself."""
    if given is None or not given.strip():
        return None
    return family_of(given) or given.strip().lower()


def _own_name(name: str) -> tuple[str, str, str]:
    """Return a model's own name, its tag, and who serves it, as far as the name says."""
    provider = name.partition("/")[0] if "/" in name else ""
    own = name.rpartition("/")[2]
    head, colon, rest = own.partition(":")
    while colon and (head in PROVIDERS or head == "arn"):
        provider, own = head, rest if head != "arn" else own.rpartition(":")[2]
        head, colon, rest = own.partition(":")
    if head == "ft":  # ft:base:organisation:anything:id
        return rest.partition(":")[0], "", "openai"
    return _VERSION_AT.sub("", head), rest, provider


def _without_maker(own: str) -> tuple[str, str | None]:
    """Take off AWS's region and maker: ``us.anthropic.claude-…``, ``deepseek.r1-v1``."""
    bare = _REGIONS.sub("", own)
    maker, dot, rest = bare.partition(".")
    if dot and maker in MAKERS:
        return rest, MAKERS[maker]
    return own, None


def _read(own: str) -> tuple[str, ...]:
    """Read a model's own name by the tables."""
    if _O_SERIES.match(own) or _OLD_OPENAI.match(own):
        return ("openai",)
    for rule in NOT_THEIRS:
        if rule.pattern.search(own):
            return () if rule.family is None else (rule.family, *rule.taught_by)
    named = [rule for rule in BASES if rule.pattern.search(own)]
    tuned = [rule for rule in FINE_TUNES if rule.pattern.search(own)][:1]
    into = _DISTILLED_INTO.search(own)
    bases = _open([rule for rule in BASES if into is not None and rule.pattern.search(into["base"])])
    bases = bases or _open(named) or {rule.family for rule in tuned} or {rule.family for rule in named}
    if len(bases) != 1:
        return ()  # nothing known, or two that could be the base
    (base,) = bases
    teachers = [family for rule in (*named, *tuned) for family in (rule.family, *rule.taught_by)]
    found = dict.fromkeys([base, *teachers])
    return tuple(family for family in found if family is not None)


def _open(rules: Iterable[Rule]) -> set[str | None]:
    return {rule.family for rule in rules if not rule.closed}
