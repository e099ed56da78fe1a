"""What this machine's processor can do: tested for, not assumed."""

import torch


def has_bf16() -> bool:
    """Say whether bf16 is computed by instructions of its own: on a processor without them it is slower than f32."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def training_device() -> str:
    """Return the kind of device that training computes on: Lightning's choice."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def autocast() -> torch.autocast:
    """Return a context for inference in bf16 where the processor has it."""
    return torch.autocast(training_device(), torch.bfloat16, enabled=has_bf16())
