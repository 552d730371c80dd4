"""Store against archive against ledger: every difference is named by stream and range, and no other is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from alerts.audit.counting import Booked, Place, count, unproven
from collector.dead_letters import DeadLetter
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held

DAY, TODAY = "2026-11-20", "2026-11-21"
PAY = ("business", "eu", "pay100000000.business")


class Shelf:
    """A store: the numbers of each stream, by its day. `asked` counts how often it had to look number by number."""

    def __init__(self, *runs: Interval, day: str = DAY, place: Place = PAY) -> None:
        self.held: dict[tuple[str, Place], list[Interval]] = {(day, place): list(runs)} if runs else {}
        self.hidden = IntervalSet()
        self.asked = 0

    def days(self) -> list[str]:
        return sorted({day for day, _ in self.held})

    def inventory(self, day: str, region: str = "") -> Iterator[Held]:
        for (its, (dataset, where, stream)), runs in self.held.items():
            if its == day and region in ("", where):
                number = sum(last - first + 1 for first, last in runs)
                yield Held(dataset, where, day, stream, min(runs)[0], max(last for _, last in runs), number)

    def runs(self, held: Held) -> list[Interval]:
        self.asked += 1
        return list(IntervalSet(self.held[held.day, (held.dataset, held.region, held.stream)]))

    def identified(self, dataset: str, region: str, stream: str, numbers: IntervalSet) -> IntervalSet:
        return self.hidden

    def letters(self) -> Iterator[DeadLetter]:
        return iter(())


def booked(stored: list[Interval], other: list[Interval] | None = None) -> Mapping[Place, Booked]:
    return {PAY: Booked(IntervalSet(stored), IntervalSet(other or []))}


def differences(
    stores: Mapping[str, Shelf],
    books: Mapping[str, Mapping[Place, Booked]],
    *,
    behind: Mapping[str, bool] | None = None,
    gone: set[tuple[str, str, str, str]] | None = None,
    today: str = TODAY,
) -> list[str]:
    found = count(
        [DAY], "", stores, lambda sink, day, region: books.get(sink, {}) if day == DAY else {},
        lambda *day: day in (gone or set()), behind or {}, today,
    )  # fmt: skip
    assert all((each.day, each.dataset, each.region, each.stream) == (DAY, *PAY) for each in found.differences)
    return [each.words for each in found.differences]


def test_what_agrees_is_settled_by_counts_alone() -> None:
    store = Shelf((1, 10_000))
    assert differences({"lake": store}, {"lake": booked([(1, 10_000)])}) == []
    assert store.asked == 0


def test_what_was_deleted_from_a_store_is_named_by_its_range() -> None:
    lost = Shelf((1, 6), (10, 99), (101, 200))
    [words] = differences({"elastic": lost}, {"elastic": booked([(1, 200)])})
    assert words == "elastic lacks 7–9, 100 (4 events), which its ledger has as stored"
    [words] = differences({"elastic": Shelf()}, {"elastic": booked([(1, 200)])})
    assert words == "elastic lacks 1–200 (200 events), which its ledger has as stored"


def test_equal_counts_with_other_numbers_do_not_agree() -> None:
    [words] = differences({"lake": Shelf((1, 5), (7, 10))}, {"lake": booked([(1, 6), (8, 10)])})
    assert words == (
        "lake lacks 6 (1 events), which its ledger has as stored "
        "and has 7 (1 events), of which its ledger knows nothing"
    )


def test_an_event_that_is_there_twice_is_seen() -> None:
    assert differences({"lake": Shelf((1, 10), (4, 5))}, {"lake": booked([(1, 10)])}) == ["lake has 2 events twice"]


def test_what_came_since_the_ledger_was_read_is_no_difference_on_the_day_that_runs() -> None:
    store, ledger = {"lake": Shelf((1, 12))}, {"lake": booked([(1, 10)])}
    assert differences(store, ledger, today=DAY) == []
    assert differences(store, ledger) == ["lake has 11–12 (2 events), of which its ledger knows nothing"]


def test_what_the_archive_lacks_is_named_once_it_has_read_everything() -> None:
    stores = {"elastic": Shelf((1, 10)), "lake": Shelf((1, 7))}
    books = {"elastic": booked([(1, 10)]), "lake": booked([(1, 7)])}
    assert differences(stores, books, behind={"elastic": False, "lake": True}) == []
    assert differences(stores, books, behind={"elastic": False, "lake": False}) == [
        "lake lacks 8–10 (3 events), which elastic has"
    ]


def test_what_is_a_dead_letter_on_one_side_is_accounted_for() -> None:
    stores = {"elastic": Shelf((1, 9)), "lake": Shelf((1, 10))}
    books = {"elastic": booked([(1, 9)], [(10, 10)]), "lake": booked([(1, 10)])}
    assert differences(stores, books, behind={"elastic": False, "lake": False}) == []


def test_a_day_that_was_let_go_on_purpose_is_not_missed() -> None:
    gone = {("elastic", "business", "eu", DAY)}
    stores = {"elastic": Shelf(), "lake": Shelf((1, 10))}
    books = {"elastic": booked([(1, 10)]), "lake": booked([(1, 10)])}
    assert differences(stores, books, gone=gone, behind={"elastic": False, "lake": False}) == []


def test_what_stands_among_impossible_days_is_there() -> None:
    store = Shelf((1, 10), day="skewed")
    assert differences({"lake": store}, {"lake": booked([(1, 10)])}) == []


def prove(
    hot: Shelf, archive: Shelf, hot_book: list[Interval], archive_dead: list[Interval] | None = None
) -> list[str]:
    def books(sink: str, day: str, region: str) -> Mapping[Place, Booked]:
        return booked(hot_book) if sink == "elastic" else booked([], archive_dead)

    return [each.words for each in unproven(*PAY[:2], DAY, hot, archive, books, ("elastic", "lake"))]


def test_a_day_may_go_only_when_the_archive_has_every_number_of_it() -> None:
    assert prove(Shelf((1, 10)), Shelf((1, 10)), [(1, 10)]) == []
    assert prove(Shelf((1, 10)), Shelf((1, 4), (6, 11)), [(1, 10)]) == ["lake lacks 5 (1 events)"]
    assert prove(Shelf((1, 4)), Shelf((1, 4)), [(1, 10)]) == ["lake lacks 5–10 (6 events)"], "as many are not the same"
    assert prove(Shelf((1, 10)), Shelf((1, 9)), [(1, 10)], [(10, 10)]) == []
    assert prove(Shelf((1, 10)), Shelf(), []) == ["lake lacks 1–10 (10 events)"]


def test_a_line_that_says_another_stream_than_its_header_is_not_missed() -> None:
    store = Shelf((1, 5))
    store.hidden.add(6, 10)
    assert differences({"elastic": store}, {"elastic": booked([(1, 10)])}) == []
    store.hidden.discard(8, 8)
    assert differences({"elastic": store}, {"elastic": booked([(1, 10)])}) == [
        "elastic lacks 8 (1 events), which its ledger has as stored"
    ]
