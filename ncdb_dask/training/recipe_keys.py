"""The keys of a recipe: what each may hold."""

from ncdb_dask.model.values import Sections, choice, flag, many_numbers, many_texts, number, table, text, whole

LARGEST = 1e6
PENALTIES = ("none", "channel-mean", "channel-range", "branch-range")

KEYS: Sections = {
    "network": {
        "factory": text,
        "arguments": table,
        "checkpoint": text,
        "prefix": text,
        "trust_checkpoint": flag,
        "output": many_texts,
        "model_spec": text,
    },
    "data": {
        "root": text,
        "allow_root": many_texts,
        "train": many_texts,
        "validation": many_texts,
        "variants": many_texts,
        "depth_scale": number(1e-3, LARGEST),
        "stretch": flag,
        "batch_size": whole(1, 4096),
        "workers": whole(0, 1024),
        "flip": flag,
    },
    "loss": {"kind": choice("silog", "l1", "berhu"), "smoothness": number(0, LARGEST)},
    "penalty": {
        "kind": choice(*PENALTIES),
        "lambda": many_numbers(0, LARGEST),
        "include": many_texts,
        "exclude": many_texts,
        "report": text,
    },
    "training": {
        "epochs": whole(1, 100_000),
        "learning_rate": number(0, LARGEST),
        "weight_decay": number(0, LARGEST),
        "schedule": choice("constant", "cosine"),
        "clip_norm": number(0, LARGEST),
        "patience": whole(0, 100_000),
        "freeze_batch_norm": flag,
        "seed": whole(0, 2**63 - 1),
        "device": text,
        "amp": flag,
    },
    "export": {"opset": whole(18, 24), "dynamic": flag},
    "quantization": {
        "split": many_texts,
        "size": whole(1, 100_000),
        "backend": text,
        "skip_bad": flag,
        "options": table,
    },
    "evaluation": {"split": many_texts, "resamples": whole(100, 1_000_000)},
}
