"""Who belongs to which group, and what counts as correct."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from verl_nthr.integration.driver.groups import entry_values, group_responses
from verl_nthr.text import quoted


def test_rows_are_grouped_by_uid_whatever_their_order() -> None:
    keys = ["b_0_0", "a_1_0", "pad1_0_0", "a_0_0", "c_0_0", "b_1_0", "c_1_0", "a_2_0"]
    padding = [key.startswith("pad") for key in keys]
    correct = [True, True, True, False, True, False, True, False]
    groups = group_responses(keys, padding, correct)
    assert groups.num_groups == 3
    assert groups.num_mixed == 2
    # c is all correct; padding rows take no part whatever their reward
    assert groups.response.tolist() == [0, 1, -1, 2, -1, 3, -1, 4]
    assert groups.group.tolist() == [0, 1, 1, 0, 1]
    assert groups.correct.tolist() == [True, True, False, False, False]
    assert groups.success_rate.tolist()[:2] == [0.5, pytest.approx(1 / 3)]
    assert groups.success_rate.tolist()[4] == 1.0
    assert torch.isnan(groups.success_rate[2])
    assert groups.row_correct.tolist() == [True, True, False, False, True, False, True, False]


def test_all_outputs_of_a_session_are_one_response() -> None:
    keys = ["a_0_0", "a_0_1", "a_1_0", "a_0_2", "a_1_1"]
    groups = group_responses(keys, [False] * 5, [True, True, False, True, False])
    assert groups.response.tolist() == [0, 0, 1, 0, 1]
    assert groups.success_rate.tolist() == [0.5] * 5


def test_the_last_output_of_a_session_decides_whatever_the_order() -> None:
    groups = group_responses(["a_0_10", "a_1_0", "a_0_9", "a_1_1"], [False] * 4, [True, True, False, False])
    assert groups.correct.tolist() == [True, False]
    assert groups.row_correct.tolist() == [True, False, True, False]


def test_uids_may_hold_underscores() -> None:
    groups = group_responses(["x_y_0_0", "x_y_1_0", "x_z_0_0"], [False] * 3, [True, False, True])
    assert groups.num_groups == 2


@pytest.mark.parametrize("key", ["ab", "a_0", "a_0_x"])
def test_a_key_of_another_form_is_refused(key: str) -> None:
    with pytest.raises(ValueError, match=f"'{key}' is not of the form"):
        group_responses([key], [False], [True])


def test_no_mixed_group() -> None:
    groups = group_responses(["a_0_0", "b_0_0"], [False, False], [True, False])
    assert groups.num_mixed == 0
    assert groups.response.tolist() == [-1, -1]
    assert groups.group.shape == (0,)


def test_another_metric_comes_from_the_extra_info() -> None:
    values = [True, 0.0, 1, np.float32(0.5), np.bool_(True), np.array(1.0), np.array([2]), torch.tensor([1.0])]
    rows = [{"acc": value, "x": 1} for value in values]
    assert entry_values("acc", [*"abcdefgh"], rows) == [1.0, 0.0, 1.0, 0.5, 1.0, 1.0, 2.0, 1.0]


@pytest.mark.parametrize(
    "value", [None, "1", "correct", [1.0], {"a": 1}, np.array([0, 1]), np.array("1"), torch.ones(2), 1j]
)
def test_what_is_no_number_is_named_with_its_row(value: object) -> None:
    with pytest.raises(ValueError, match=r"algorithm\.nthr\.metric=acc.*row u_1_0") as error:
        entry_values("acc", ["u_0_0", "u_1_0"], [{"acc": 1.0}, {"acc": value}])
    assert quoted(value) in str(error.value)


def test_a_missing_entry_is_named_with_its_row_and_what_there_is() -> None:
    with pytest.raises(KeyError, match=r"algorithm\.nthr\.metric=acc.*row u_1_0.*score"):
        entry_values("acc", ["u_0_0", "u_1_0"], [{"acc": 1.0}, {"score": 1.0}])
    with pytest.raises(KeyError, match="none"):
        entry_values("acc", ["u_0_0"], [{}])
