"""What this machine's processor can do: tested for, not assumed."""

import torch


def has_bf16() -> bool:
    """Say whether bf16 is computed by instructions of its own: on a processor without them it is slower than f32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def autocast() -> torch.autocast:
    """Return a context for inference in bf16 where the processor has it."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.autocast(device, torch.bfloat16, enabled=has_bf16())
