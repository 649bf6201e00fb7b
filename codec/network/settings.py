"""What a host can set in torch that changes how it multiplies, and what it makes of a tensor that names neither type nor device."""

import torch

USUAL = {
    "float32 matmul precision": "highest",
    "fp32_precision": "none",
    "autocast": "off",
    "default dtype": "torch.float32",
    "default device": "cpu",
    "deterministic algorithms": "off",
    "inference mode": "off",
    "oneDNN": "on",
}


def settings(device: str) -> tuple[str, ...]:
    """What is unusual now, in the present thread, in words."""
    now = {
        "float32 matmul precision": _precision(),
        "fp32_precision": getattr(torch.backends, "fp32_precision", "none"),
        "autocast": str(torch.get_autocast_dtype(device)) if torch.is_autocast_enabled(device) else "off",
        "default dtype": str(torch.get_default_dtype()),
        "default device": str(torch.get_default_device()),
        "deterministic algorithms": "on" if torch.are_deterministic_algorithms_enabled() else "off",
        "inference mode": "on" if torch.is_inference_mode_enabled() else "off",
        "oneDNN": "on" if torch.backends.mkldnn.enabled else "off",
    }
    return tuple(f"{name} is {value}" for name, value in now.items() if value != USUAL[name])


def _precision() -> str:
    try:
        return torch.get_float32_matmul_precision()
    except RuntimeError:  # where it was set in torch's older and in its newer way
        return "mixed"


def as_set(state: tuple[str, ...]) -> str:
    """The end of a sentence."""
    return f" ({', '.join(state)})" if state else ""
