"""Figures' names carry labels, and nothing from outside breaks them."""

from __future__ import annotations

from collector.figures import labelled, labels_of, lag_figures
from collector.ports import TopicPartition


def test_a_name_gives_back_its_labels() -> None:
    assert labels_of("held_bytes") == ("held_bytes", {})
    name = labelled("lag", topic="lastbeat.cn-east.business", partition="3")
    assert name == 'lag{partition="3",topic="lastbeat.cn-east.business"}'
    assert labels_of(name) == ("lag", {"partition": "3", "topic": "lastbeat.cn-east.business"})
    assert lag_figures({TopicPartition("lastbeat.cn-east.business", 3): 7}) == {name: 7}


def test_a_value_from_outside_stays_one_value() -> None:
    name = labelled("sees", ingress='a",b="c}\n')
    assert labels_of(name) == ("sees", {"ingress": "a__b__c__"})
