"""What engines cost in processor seconds of one thread; `estimating.EngineCosts` says what each number is.

Measured graph by graph as benchmarks/engine_costs.py does, which writes this file, on: AMD EPYC (Zen 5 class).
"""

COSTS = {
    "openvino bf16": {
        "importing": 0.063,
        "denoiser": (0.592, 0.00262),
        "others": (0.211, 0.00848),
        "denoiser_kept": (0.26, 0.00196),
        "others_kept": (0.15, 0.0021),
        "step": (0.0073, 0.596),
        "decoding": (0.0303, 29.8),
    },
    "openvino f32": {
        "importing": 0.063,
        "denoiser": (0.615, 0.0031),
        "others": (0.22, 0.0083),
        "denoiser_kept": (0.26, 0.00236),
        "others_kept": (0.15, 0.0021),
        "step": (0.0214, 1.05),
        "decoding": (0.165, 52.7),
    },
    "onnx f32": {
        "importing": 0.035,
        "denoiser": (0.199, 0.00242),
        "others": (0.0474, 0.00713),
        "denoiser_kept": (0.199, 0.00242),
        "others_kept": (0.0474, 0.00713),
        "step": (0.0166, 1.01),
        "decoding": (0.0621, 51.3),
    },
}
