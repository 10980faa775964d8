"""nsmc with a Hugging Face checkpoint: the tests create a small one with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from components.prep_data import step as prep_data
from components.train import step as train
from continuous_training.core.errors import UserError
from continuous_training.serving.models.model import load_model
from workloads import discovery
from workloads.nsmc.handler import NsmcHandler

torch = pytest.importorskip("torch", reason="needs torch: make install EXTRAS=torch,hf")
transformers = pytest.importorskip("transformers", reason="needs transformers: make install EXTRAS=torch,hf")

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
PIECES = [
    "재미",
    "##있",
    "##다",
    "good",
    "##s",
    "!",
    ".",
    "日",
    "쓰레기",
    "영화",
    "cafe",
    "##é",
    "café",
    "$",
    "가",
]
TEXTS = [
    "재미있다 good!", "goods.", "日本 日영화", "쓰레기!!", "", "  ", "CAFÉ café cafe", "가" * 101,
    "가 " * 200, "\0재미\u200b있다", "재미\ud800있다", "a$b 😀", "재미\u3000영화\t\n가",
]  # fmt: skip


def make(folder: Path, labels: int = 2, **tokenizer: Any) -> Path:
    """Write a BERT checkpoint with random weights."""
    torch.manual_seed(1)
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*SPECIAL, *PIECES]) + "\n", encoding="utf-8")
    transformers.BertTokenizerFast(str(folder / "vocab.txt"), **tokenizer).save_pretrained(folder)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    config = transformers.BertConfig(
        vocab_size=len(SPECIAL) + len(PIECES), max_position_embeddings=48, num_labels=labels, **shape
    )
    transformers.BertForSequenceClassification(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("lowercase", [True, False])
def test_the_tokens_equal_those_of_transformers(tmp_path: Path, lowercase: bool) -> None:
    from workloads.nsmc.checkpoint import _load

    folder = make(tmp_path / "tiny", do_lower_case=lowercase)
    reference = transformers.AutoTokenizer.from_pretrained(folder)
    _, tokenize = _load(str(folder), 1)
    for text in TEXTS:
        numbers, mask = tokenize([text])
        clean = text.encode("utf-8", "ignore").decode()
        expected = reference(clean, truncation=True, max_length=48).input_ids
        assert numbers[0].tolist() == expected, text
        assert mask.all()
    numbers, mask = tokenize(["good", "good good !"])
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert numbers[0, 3:].tolist() == [0, 0]


@pytest.mark.parametrize("passes", [0, 1])
def test_a_checkpoint_is_served_unchanged_or_fine_tuned(tmp_path: Path, passes: int) -> None:
    folder, nsmc = make(tmp_path / "tiny"), discovery.get("nsmc")
    parameters = {"model": "deep", "checkpoint": str(folder), "deep_passes": str(passes)}
    prep_data.run(nsmc, parameters, tmp_path / "data")
    description = train.run(nsmc, parameters, tmp_path / "data", tmp_path / "model")
    assert len(description.training.curve) == passes
    model = load_model(tmp_path / "model")
    answer = model.predict({"text": TEXTS})
    assert len(answer["predictions"]) == len(TEXTS)
    with pytest.raises(ValueError, match="this version has no fast model"):
        model.predict({"text": TEXTS, "do_fast": True})
    reference = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = reference(**tokenizer("재미있다 good!", return_tensors="pt")).logits[0]
    handler = NsmcHandler()
    handler.load(tmp_path / "model")
    same = np.isclose(handler._deep_scores(["재미있다 good!"])[0], float(logits[1] - logits[0]), atol=1e-4)
    assert same == (passes == 0), "only fine-tuning may change the scores"


def test_a_checkpoint_that_cannot_be_loaded_is_an_error_with_the_option_to_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads.nsmc.checkpoint import train_checkpoint

    # The tests use no network: offline mode with an empty cache is equivalent to an unreachable hub.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("nobody/nothing", str(tmp_path)):
        with pytest.raises(UserError, match=r"cannot be loaded .* checkpoint=DIR"):
            train_checkpoint(name, ["a"], np.array([1]), 1, 0, print)


def test_a_checkpoint_with_another_number_of_classes_is_an_error(tmp_path: Path) -> None:
    from workloads.nsmc.checkpoint import train_checkpoint

    folder = make(tmp_path / "three", labels=3)
    with pytest.raises(UserError, match="it has 3 classes, not 2"):
        train_checkpoint(str(folder), ["a"], np.array([1]), 0, 0, print)
    train_checkpoint(str(folder), ["a", "b"], np.array([0, 1]), 1, 0, print)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"checkpoint": "some/thing"}, "it is for the deep model; add model=both"),
        ({"model": "both", "deep_passes": "0"}, "0 is only allowed with a trained checkpoint"),
    ],
)
def test_contradictory_parameters_are_an_error(
    tmp_path: Path, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        prep_data.run(discovery.get("nsmc"), parameters, tmp_path / "data")
