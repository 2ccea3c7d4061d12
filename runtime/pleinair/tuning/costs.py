"""What engines cost in processor seconds of one thread; `estimating.EngineCosts` says what each number is.

Written by benchmarks/engine_costs.py, on: AMD EPYC.
"""

COSTS = {
    "openvino bf16": {
        "importing": 0.076,
        "denoiser": (0.37001, 0.00204),
        "others": (0.14637, 0.00637),
        "denoiser_kept": (0.17741, 0.0017),
        "others_kept": (0.07186, 0.00191),
        "step": (0.00869, 0.47),
        "decoding": (0.02656, 25.6),
    },
    "openvino f32": {
        "importing": 0.084,
        "denoiser": (0.3607, 0.00253),
        "others": (0.13506, 0.00689),
        "denoiser_kept": (0.19838, 0.0023),
        "others_kept": (0.07319, 0.00211),
        "step": (0.01444, 0.873),
        "decoding": (0.14429, 47.7),
    },
    "onnx f32": {
        "importing": 0.062,
        "denoiser": (0.13062, 0.00367),
        "others": (0.03252, 0.00344),
        "denoiser_kept": (0.13062, 0.00367),
        "others_kept": (0.03252, 0.00344),
        "step": (0.01274, 0.942),
        "decoding": (0.03279, 49.2),
    },
}
