"""The model card as text, from facts made up for it."""

from tests.factories import new_space, new_spec
from tuner.modelcard import render
from tuner.study import Study, TrialRecord
from tuner.training.dataspec import DataInfo

INFO = DataInfo(
    name="pets",
    classes=("cat", "dog|wolf"),
    height=32,
    width=32,
    channels=3,
    train_size=900,
    val_size=100,
    flip=True,
    fingerprint="0" * 64,
    test_source="the data set's own test/ folder",
)
METRICS = {
    "accuracy": 0.75,
    "precision": 0.7,
    "recall": 0.6,
    "balanced_accuracy": 0.6,
    "f1": 0.65,
    "per_class": {
        "cat": {"precision": 1.0, "recall": 0.5, "f1": 0.6667, "support": 40},
        "dog|wolf": {"precision": 0.4, "recall": 0.7, "f1": 0.5, "support": 60},
    },
    "loss": 0.875,
    "validation": {
        "score": 0.8,
        "epoch": 3,
        "trial": 1,
        "metric": "val_accuracy",
        "scores": {"val_accuracy": 0.8, "val_macro_f1": 0.6},
    },
    "parity": {"max_abs_difference": 2e-7, "images": 100, "differing_argmax": 0, "tolerance": 1e-4},
    "test_size": 100,
    "test_source": "the data set's own test/ folder",
    "file": "model.onnx",
    "machine": {"cpu": "a CPU", "threads": 1},
    "models": {
        "model.onnx": {
            "format": "onnx",
            "precision": "fp32",
            "bytes": 1_250_000,
            "accuracy": 0.75,
            "accuracy_pytorch": 0.75,
            "parity": {"max_abs_difference": 2e-7, "images": 100, "differing_argmax": 0, "tolerance": 1e-4},
            "latency": {"1": {"median_ms": 0.5, "p99_ms": 0.75}, "64": {"median_ms": 20, "p99_ms": 31.25}},
        },
        "model-int8.onnx": {
            "format": "onnx",
            "precision": "int8",
            "bytes": 330_000,
            "accuracy": 0.74,
            "accuracy_pytorch": 0.75,
            "parity": {"max_abs_difference": 0.125, "images": 100, "differing_argmax": 3},
            "latency": {"1": {"median_ms": 0.25, "p99_ms": 0.5}, "64": {"median_ms": 10, "p99_ms": 11}},
        },
    },
}


def card():
    kept = {"path": "/s/best", "sha256": "a" * 64, "epoch": 3, "score": 0.8}
    trials = (
        TrialRecord(0, "pruned", None, {}, [(1, 0.1)], 1, None, 2.0, None, None),
        TrialRecord(1, "complete", None, {}, [(1, 0.5), (2, 0.7), (3, 0.8)], 1, None, 5.0, kept, kept),
    )
    spec = new_spec(name="pets-2", space=new_space(source="/home/ann/pets.toml"), seed=7, max_epochs=3)
    study = Study(spec, trials, 8, None)
    return render(study, INFO, {"lr": 0.1, "depth": 3}, METRICS, {"tuner": "0.1.0", "torch": "2.15.0"})


def test_the_card_has_a_table_row_for_each_class_and_the_mean():
    rows = [line for line in card().splitlines() if line.startswith("|")]
    assert rows[2:5] == [
        "| cat | 1.0000 | 0.5000 | 0.6667 | 40 |",
        "| dog\\|wolf | 0.4000 | 0.7000 | 0.5000 | 60 |",
        "| mean of the classes | 0.7000 | 0.6000 | 0.6500 | 100 |",
    ]


def test_the_card_has_size_accuracy_and_speed_of_each_file():
    rows = [line for line in card().splitlines() if line.startswith("| model")]
    assert rows == [
        "| model.onnx | fp32 | 1.25 | 0.7500 | 0.7500 | 2.0e-07 | 0.5 / 0.75 | 20 / 31.2 |",
        "| model-int8.onnx | int8 | 0.33 | 0.7400 | 0.7500 | 1.2e-01 | 0.25 / 0.5 | 10 / 11 |",
    ]
    assert "(median / 99th percentile), on one core of a CPU." in card()
    assert "- `model-int8.onnx`: the same in int8\n" in card()
    assert "pt2" not in card()


def test_the_card_tells_searched_hyperparameters_from_fixed_ones():
    assert "| lr | 0.1 | yes |\n| depth | 3 |  |" in card()


def test_the_card_tells_how_the_search_went_and_names_no_path():
    text = card()
    search = text.split("## The search\n\n")[1].split("\n\n")[0]
    assert search == (
        "- study pets-2, stopped when this was exported; the winner is trial 1 at epoch 3 of at most 3\n"
        "- space pets.toml: lr, width, norm\n"
        "- trials: 1 complete, 1 pruned; 8 wanted\n"
        "- 4 epochs trained in 7 worker-seconds\n"
        "- ASHA with grace period 1 and reduction factor 3\n"
        "- seed 7"
    )
    assert "/home/ann" not in text
    assert "/s/best" not in text


def test_the_card_says_where_the_data_came_from_and_how_the_winner_was_chosen():
    text = card()
    assert "900 pictures to train on, 100 to validate, 100 to test. The test split is the data set's own test/" in text
    assert "chosen by its validation score, on one training run of each configuration" in text
    assert "it was read once, for this card" in text
    assert "- tuner 0.1.0\n- torch 2.15.0\n" in text
