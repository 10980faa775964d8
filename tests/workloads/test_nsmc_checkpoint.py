"""nsmc with a Hugging Face checkpoint: a tiny one with random weights, made here."""

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
    """Write a checkpoint of BERT's form with random weights."""
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
def test_the_pieces_are_those_of_transformers(tmp_path: Path, lowercase: bool) -> None:
    from workloads.nsmc.checkpoint import _load

    folder = make(tmp_path / "tiny", do_lower_case=lowercase)
    theirs = transformers.AutoTokenizer.from_pretrained(folder)
    _, ours = _load(str(folder), 1)
    for text in TEXTS:
        numbers, mask = ours([text])
        clean = text.encode("utf-8", "ignore").decode()
        wanted = theirs(clean, truncation=True, max_length=48).input_ids
        assert numbers[0].tolist() == wanted, text
        assert mask.all()
    numbers, mask = ours(["good", "good good !"])
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert numbers[0, 3:].tolist() == [0, 0]


@pytest.mark.parametrize("passes", [0, 1])
def test_a_checkpoint_is_served_as_it_is_or_learned_from(tmp_path: Path, passes: int) -> None:
    folder, nsmc = make(tmp_path / "tiny"), discovery.get("nsmc")
    given = {"model": "deep", "checkpoint": str(folder), "deep_passes": str(passes)}
    prep_data.run(nsmc, given, tmp_path / "data")
    description = train.run(nsmc, given, tmp_path / "data", tmp_path / "model")
    assert len(description.training.curve) == passes
    model = load_model(tmp_path / "model")
    answer = model.predict({"text": TEXTS})
    assert len(answer["predictions"]) == len(TEXTS)
    with pytest.raises(ValueError, match="this version has no fast model"):
        model.predict({"text": TEXTS, "do_fast": True})
    theirs = transformers.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.no_grad():
        logits = theirs(**tokenizer("재미있다 good!", return_tensors="pt")).logits[0]
    handler = NsmcHandler()
    handler.load(tmp_path / "model")
    same = np.isclose(handler._deep_scores(["재미있다 good!"])[0], float(logits[1] - logits[0]), atol=1e-4)
    assert same == (passes == 0), "what was served as it is says what it said; what has learned says another"


def test_a_checkpoint_that_is_not_to_be_had_says_how_to_give_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from workloads.nsmc.checkpoint import train_checkpoint

    # No test asks a hub on the network; an empty cache is the same as one that cannot be reached.
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    for name in ("nobody/nothing", str(tmp_path)):
        with pytest.raises(UserError, match=r"cannot be loaded .* checkpoint=DIR"):
            train_checkpoint(name, ["a"], np.array([1]), 1, 0, print)


def test_a_checkpoint_of_another_kind_is_refused(tmp_path: Path) -> None:
    from workloads.nsmc.checkpoint import train_checkpoint

    three = make(tmp_path / "three", labels=3)
    with pytest.raises(UserError, match="it has 3 classes, not 2"):
        train_checkpoint(str(three), ["a"], np.array([1]), 0, 0, print)
    train_checkpoint(str(three), ["a", "b"], np.array([0, 1]), 1, 0, print)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"checkpoint": "some/thing"}, "it is for the deep model; add model=both"),
        ({"model": "both", "deep_passes": "0"}, "0 is only allowed with a trained checkpoint"),
    ],
)
def test_parameters_that_contradict_each_other_are_refused(
    tmp_path: Path, given: dict[str, str], words: str
) -> None:
    with pytest.raises(UserError, match=words):
        prep_data.run(discovery.get("nsmc"), given, tmp_path / "data")
