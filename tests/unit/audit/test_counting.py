"""Store against archive against ledger: every difference is named by stream and range, and no other is made."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from alerts.audit.counting import Booked, Later, Place, count
from collector.dead_letters import DeadLetter
from collector.ledger.intervals import Interval, IntervalSet
from collector.ledger.inventory import Held

DAY = "2026-11-20"
PAY = ("business", "eu", "pay100000000.business")


class Shelf:
    """A store: the numbers of each stream, by its day. `asked` counts how often it had to look number by number."""

    def __init__(self, *runs: Interval, day: str = DAY, place: Place = PAY) -> None:
        self.held: dict[tuple[str, Place], list[Interval]] = {(day, place): list(runs)} if runs else {}
        self.hidden = IntervalSet()
        self.mislabelled = False
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
        """Those that are hidden, and those that counting sees under their own name."""
        seen = IntervalSet(self.hidden)
        for (_, place), runs in self.held.items():
            if place == (dataset, region, stream) and not self.mislabelled:
                seen.merge(IntervalSet(runs))
        return numbers.without(numbers.without(seen))

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
    meanwhile: Callable[[], object] = lambda: None,
) -> list[str]:
    """`behind` is what no sink is unless it says so; `meanwhile` happens between counting and what is asked later."""

    def ask(sink: str, day: str, region: str) -> Mapping[Place, Booked]:
        return books.get(sink, {}) if day == DAY else {}

    def later() -> Later:
        meanwhile()
        late = {sink: (behind or {}).get(sink, False) for sink in stores}
        return Later(ask, late, lambda *day: day in (gone or set()))

    found = count([DAY], "", stores, ask, later)
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


def test_what_came_since_the_ledger_was_read_is_no_difference() -> None:
    """A late batch, of today or of a day that is over: the store had it before its ledger was asked."""
    store, books = {"lake": Shelf((1, 200))}, {"lake": booked([(1, 100)])}

    def flush() -> None:
        books["lake"] = booked([(1, 200)])

    assert differences(store, books, behind={"lake": True}) == [], "an indexer that can't flush its ledger"
    assert differences(store, books) == ["lake has 101–200 (100 events), of which its ledger knows nothing"]
    assert differences(store, books, meanwhile=flush) == []


def test_a_store_that_is_ahead_of_another_makes_no_difference_on_a_system_that_runs() -> None:
    stores = {"elastic": Shelf((1, 200)), "lake": Shelf((1, 100))}
    books = {"elastic": booked([(1, 200)]), "lake": booked([(1, 100)])}

    def catch_up() -> None:
        books["lake"] = booked([(1, 190)], [(191, 200)])
        books["elastic"] = booked([(1, 900)])  # and it runs on

    assert differences(stores, books, meanwhile=catch_up) == []


def test_a_day_that_ageing_deletes_while_it_is_counted_is_not_missed() -> None:
    gone: set[tuple[str, str, str, str]] = set()
    stores, books = {"elastic": Shelf()}, {"elastic": booked([(1, 200)])}
    assert differences(stores, books) != []
    assert differences(stores, books, gone=gone, meanwhile=lambda: gone.add(("elastic", "business", "eu", DAY))) == []


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


def test_a_line_that_says_another_stream_than_its_header_is_not_missed() -> None:
    store = Shelf((1, 5))
    store.hidden.add(6, 10)
    assert differences({"elastic": store}, {"elastic": booked([(1, 10)])}) == []
    store.hidden.discard(8, 8)
    assert differences({"elastic": store}, {"elastic": booked([(1, 10)])}) == [
        "elastic lacks 8 (1 events), which its ledger has as stored"
    ]
