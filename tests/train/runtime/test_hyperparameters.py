import dataclasses
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from train.errors import TrainingError
from train.runtime.hyperparameters import CIFAR10_CLASSES, Hyperparameters, describe, parse


def test_nothing_given_means_the_defaults():
    assert parse({}) == Hyperparameters()
    assert parse({}).class_names == CIFAR10_CLASSES
    assert parse({}).shape == (32, 32, 3)


def test_every_type_is_read_from_a_string_with_or_without_json_quotes():
    given = {
        "epochs": "3", "batch-size": '"64"', "learning-rate": "1e-05", "optimizer": '"sgd"', "model": "lab",
        "augment": '"true"', "alternate-flips": "1",
        "seed": "7.0", "fifo-timeout": "2.5", "classes": "cat,dog", "image-shape": "64,48,1",
    }  # fmt: skip
    hparams = parse(given)
    assert dataclasses.astuple(hparams)[:6] == (3, 64, 1e-05, "sgd", "lab", 7)
    assert (hparams.augment, hparams.alternate_flips) == (True, True)
    assert hparams.fifo_timeout == 2.5
    assert hparams.class_names == ("cat", "dog")
    assert hparams.shape == (64, 48, 1)


@pytest.mark.parametrize("quote", [str, json.dumps])
def test_lists_as_the_sdks_send_them(quote):
    """They send json.dumps of whatever value they get; SDK v2 does so to a text, too."""
    hparams = parse({"classes": quote('["cat", "hot dog, large"]'), "image-shape": quote("[64, 48, 1]")})
    assert hparams.class_names == ("cat", "hot dog, large")
    assert hparams.shape == (64, 48, 1)


def test_the_largest_seed_is_exact():
    assert parse({"seed": "4294967295"}).seed == parse({"seed": "4294967295.0"}).seed == 2**32 - 1


def test_each_model_has_a_recipe_and_what_is_given_comes_first():
    tutorial = parse({"model": "tutorial"})
    assert (tutorial.optimizer, tutorial.learning_rate, tutorial.schedule) == ("adam", 0.001, "constant")
    assert (tutorial.augment, tutorial.label_smoothing) == (False, 0.0)
    lab = parse({"model": '"lab"', "schedule": "one-cycle", "learning-rate": "0.01"})
    assert (lab.optimizer, lab.learning_rate, lab.schedule) == ("adam", 0.01, "one-cycle")
    airbench = parse({"model": "airbench", "batch-size": "1000"})
    assert (airbench.optimizer, airbench.epochs, airbench.batch_size) == ("muon", 8, 1000)
    assert (airbench.augment, airbench.alternate_flips, airbench.precision) == (True, True, "auto")
    assert parse({"model": "fast"}) == Hyperparameters()


def test_what_the_platform_adds_is_not_unknown():
    names = {
        "sagemaker_program": '"x.py"', "sagemaker_submit_directory": '"s3://b/x"', "sagemaker_region": '"eu-west-1"',
        "_tuning_objective_metric": "validation:accuracy", "model_dir": '"s3://b/m"',
    }  # fmt: skip
    assert parse(names) == Hyperparameters()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("batch_size", "64", "Unknown hyperparameter. Received: batch_size. Did you mean batch-size? Known: epochs,"),
        ("colour", "red", "Unknown hyperparameter. Received: colour. Known: epochs,"),
        ("epochs", "three", "Hyperparameter epochs can't be used. Received: 'three'. Expected: a whole number."),
        ("epochs", "1.5", "Received: '1.5'. Expected: a whole number."),
        ("epochs", "0", "Received: '0'. Expected: int of at least 1."),
        ("epochs", "inf", "Received: 'inf'. Expected: a whole number."),
        ("learning-rate", "nan", "Received: 'nan'. Expected: a finite number."),
        ("learning-rate", "fast", "Received: 'fast'. Expected: a number."),
        ("learning-rate", "-1", "at least 1e-12."),
        ("optimizer", "adamw", "Received: 'adamw'. Expected: one of sgd, adam, rmsprop, muon."),
        ("augment", "yes", "Received: 'yes'. Expected: true or false."),
        ("label-smoothing", "1", "Expected: float of at most 0.9."),
        ("classes", "cat", "two or more names"),
        ("classes", "cat,cat", "every name once"),
        ("image-shape", "32x32", "height,width,channels such as 32,32,3"),
        ("image-shape", "32,32,4", "1 or 3 channels"),
        ("image-shape", "100000,32,3", "Expected: height and width from 1 to 65535"),
        ("image-shape", "[32, null, 3]", "Expected: values separated by commas, or a JSON list of them."),
        ("classes", "['cat', 'dog']", "Expected: values separated by commas, or a JSON list of them."),
        ("classes", '["cat", ["dog"]]', "Expected: values separated by commas, or a JSON list of them."),
        ("classes", '["cat", ""]', "Expected: two or more names separated by commas, none of them empty."),
        ("seed", "4294967296", "Received: '4294967296'. Expected: int of at most 4294967295."),
        ("seed", "9007199254740993", "Received: '9007199254740993'. Expected: int of at most 4294967295."),
        ("batch-size", "1000000000", "Expected: int of at most 1048576."),
        ("shuffle-buffer", "1e12", "Expected: int of at most 2147483647."),
        ("train-examples", "9" * 5000, "Expected: a whole number."),
        ("learning-rate", "1e39", "Expected: float of at most 1e+38."),
        ("fifo-timeout", "1e300", "Expected: float of at most 2419200."),
    ],
)
def test_a_wrong_value_says_what_was_received_and_expected(name, value, expected):
    with pytest.raises(TrainingError) as failure:
        parse({name: value})
    assert expected in str(failure.value)
    assert "\n" not in str(failure.value)


@given(st.integers(1, 10**9), st.floats(1e-12, 1e6))
def test_numbers_survive_the_way_through_strings_and_json_quotes(epochs, rate):
    for quote in (str, lambda text: json.dumps(str(text))):
        hparams = parse({"epochs": quote(epochs), "learning-rate": quote(rate)})
        assert (hparams.epochs, hparams.learning_rate) == (epochs, rate)


def test_patience_is_no_use_while_pictures_are_small():
    assert parse({"patience": "3", "initial-scale": "1"}).patience == 3
    message = "Hyperparameter patience can't be used. Received: '3 with initial-scale 0.65'. Expected: 0,"
    with pytest.raises(TrainingError, match=re.escape(message)):
        parse({"patience": "3", "initial-scale": "0.65"})


def test_a_model_of_ones_own_has_its_own_width():
    assert parse({"width": "1", "model": "own.py"}).width == 1
    with pytest.raises(TrainingError, match=r"width can't be used. Received: '2 with own.py'. Expected: 1,"):
        parse({"width": "2", "model": "own.py"})


@given(st.dictionaries(st.sampled_from([row[0] for row in describe()]), st.text()))
def test_any_text_is_either_read_or_refused_in_one_line(hyperparameters):
    try:
        parse(hyperparameters)
    except TrainingError as failure:
        assert "Received: " in str(failure)
