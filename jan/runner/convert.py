"""A script: turn a GGUF file of SmolLM2 into safetensors with tokenizer and chat template.

`convert.py ENGINE-FOLDER FILE.gguf TARGET`, run like `child.py` with an engine's packages.
"""

# pyright: basic, reportMissingImports=false
# The engine's packages are not among ours.

import sys
from pathlib import Path

CONTEXT_TOKENS = 8192


def main() -> None:
    """Convert. Weights come out in bfloat16, the form in which the model was trained."""
    folder, gguf, target = map(Path, sys.argv[1:])
    sys.path.insert(0, str(folder))

    import torch  # noqa: PLC0415 - the engine's, from the line above
    from tokenizers import pre_tokenizers  # noqa: PLC0415
    from transformers import (  # noqa: PLC0415
        AutoModelForCausalLM,
        AutoTokenizer,
        GgufConfig,
    )

    source = {"pretrained_model_name_or_path": str(gguf.parent), "gguf_file": gguf.name}
    model = AutoModelForCausalLM.from_pretrained(
        **source, dtype=torch.bfloat16, quantization_config=GgufConfig(dequantize=True)
    )
    tokenizer = AutoTokenizer.from_pretrained(**source)
    # The file says "smollm" where transformers expects a rule, and takes GPT-2's. SmolLM2 was
    # trained with each digit a token of its own.
    tokenizer.backend_tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.model_max_length = CONTEXT_TOKENS
    ends_turn = tokenizer.convert_tokens_to_ids("<|im_end|>")
    if tokenizer.eos_token_id != ends_turn or "<|im_start|>" not in (tokenizer.chat_template or ""):
        sys.exit("This file is not for chat: its turns do not end as SmolLM2's do.")
    model.generation_config.eos_token_id = ends_turn
    model.save_pretrained(target)
    tokenizer.save_pretrained(target)


if __name__ == "__main__":
    main()
