"""Which call is which, by what became of the replies."""

from __future__ import annotations

from typing import Any

from chargehand.gateway.book import Answer, Book, Said


def said(request: str, gateway: str = "g1", **more: Any) -> Said:
    """Return a call that a client asks for."""
    given = {"kind": "call", "at": 10.0, "window": 100.0, "idle": 1.0, "tool": "send", "arguments": {"to": "ann"}, **more}
    return Said(gateway=gateway, request=request, **given)


def answer(by: str = "g1", at: float = 10.0, **more: Any) -> Answer:
    """Return what a call gave."""
    return Answer(result={"content": []}, at=at, by=by, **more)


def test_an_equal_call_after_a_delivered_reply_is_a_new_one() -> None:
    """The client had the first answer, so it means another call."""
    book = Book()
    first = book.place(said("r1"))
    book.answered(first.number, answer())
    assert book.place(said("r2", written=["r1"], delivered=["r1"])).new


def test_an_equal_call_after_a_lost_reply_is_answered_from_the_record() -> None:
    """The client never got the first answer: within the window it gets that one."""
    book = Book()
    first = book.place(said("r1"))
    given = answer()
    book.answered(first.number, given)
    again = book.place(said("r2", lost=["r1"]))
    assert (again.new, again.answer) == (False, given)


def test_the_window_ends() -> None:
    """Later than the window a lost reply is nobody's any more."""
    book = Book()
    first = book.place(said("r1"))
    book.answered(first.number, answer())
    assert book.place(said("r2", lost=["r1"], at=111.0)).new


def test_a_call_that_goes_on_is_joined_after_its_gateway_died() -> None:
    """No answer can have been delivered of a call that has none."""
    book = Book()
    first = book.place(said("r1"))
    again = book.place(said("r1", gateway="g2"))
    assert (again.new, again.number, again.answer) == (False, first.number, None)


def test_two_equal_calls_side_by_side_are_two() -> None:
    """While the first still waits in this process, the second is not the first again."""
    book = Book()
    assert [book.place(said(f"r{n}")).number for n in (1, 2)] == [1, 2]


def test_what_only_a_later_process_knows_was_never_delivered() -> None:
    """The gateway that owed the reply died before there was one; who recovered the call had nobody to tell."""
    book = Book()
    first = book.place(said("r1"))
    book.answered(first.number, answer(by="g2"))
    assert not book.place(said("r2", gateway="g2")).new


def test_an_unknown_reply_of_a_tool_that_may_not_be_repeated_is_unclear() -> None:
    """The gateway died between the answer and the word that it was delivered: somebody has to say."""
    book = Book()
    first = book.place(said("r1"))
    book.answered(first.number, answer())
    asked = book.place(said("r2", gateway="g2"))
    assert (asked.new, asked.unclear) == (True, first.number)


def test_an_unknown_reply_of_a_tool_that_may_be_repeated_is_a_new_call() -> None:
    """Calling it once more does no harm, so nobody is asked."""
    for more in ({"was": "read"}, {"repeatable": True}):
        book = Book()
        first = book.place(said("r1", **more))
        book.answered(first.number, answer())
        placed = book.place(said("r2", gateway="g2", **more))
        assert (placed.new, placed.unclear) == (True, None)


def test_a_written_reply_without_a_word_since_is_unknown_in_the_same_process_too() -> None:
    """Another connection of a client that was started again is no sign that the reply came."""
    book = Book()
    first = book.place(said("r1"))
    book.answered(first.number, answer())
    assert book.place(said("r2", written=["r1"])).unclear == first.number


def test_the_client_may_say_which_it_means() -> None:
    """`again` ends every doubt, and the window with it."""
    for word, new in (("same", False), ("new", True)):
        book = Book()
        first = book.place(said("r1"))
        book.answered(first.number, answer())
        placed = book.place(said("r2", gateway="g2", again=word, at=500.0))
        assert (placed.new, placed.unclear) == (new, None)


def test_a_book_forgets_what_was_delivered() -> None:
    """A long session holds no more than what is still owed."""
    book = Book()
    for n in range(1000):
        placed = book.place(said(f"r{n + 1}", written=[f"r{n}"], delivered=[f"r{n}"]))
        book.answered(placed.number, answer())
    assert len(book._calls) == 1
    assert len(book._by_request) == 1
    assert not book.going_on
