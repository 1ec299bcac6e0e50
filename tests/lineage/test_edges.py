"""What an edge says, from nodes made by hand."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chargehand.core.lineage import STRENGTHS, Edge, Lineage, Node, lineage_of, telling

OFFER = {"supplier": "Beech Industrial", "pack": 25, "price": "8.52"}


def node(path: str, seq: int, value: Any = None, arguments: dict[str, Any] | None = {}) -> Node:  # noqa: B006
    """Return a call that was asked just before it was settled at `seq`; given nothing, unless said."""
    return Node(path, "call", seq - 1, arguments, seq, value)


def edges_of(*nodes: Node) -> dict[tuple[str, str], str]:
    """Return the strengths found by source and target."""
    return {(edge.source, edge.target): edge.strength for edge in lineage_of(nodes).edges}


@pytest.mark.parametrize(
    "value", [None, True, False, 0, 7, 100, 2_000_000, "", "yes", "approved", "1", "EUR", [], {}, {"ok": True}, [1, 2], {"n": 3}]
)
def test_what_is_everywhere_proves_nothing(value: Any) -> None:
    """Truth values, numbers of few digits, short plain words and small records of them link nothing."""
    assert telling(value) is None
    assert edges_of(node("a", 1, value), node("b", 2, arguments={"x": value})) == {}


@pytest.mark.parametrize(
    "value", ["po-1042", "SO-0001", 4711, 13.63, "1363.20", "incompatibility", "a b c d", OFFER, [1, 2, 3], {"a": 1, "b": 2, "c": 3}]
)
def test_what_is_rare_links(value: Any) -> None:
    """Codes, exact numbers, long words, and records that are equal as a whole."""
    assert edges_of(node("a", 1, value), node("b", 2, arguments={"x": value})) == {("a", "b"): "exact"}


def test_a_common_value_links_through_its_record_only() -> None:
    """The pack size alone says nothing; with its record it is part of what was released."""
    quotes = [OFFER, {"supplier": "Alder", "pack": 20, "price": "7.17"}]
    assert edges_of(node("a", 1, quotes), node("b", 2, arguments={"pack": 25})) == {}
    assert edges_of(node("a", 1, quotes), node("b", 2, arguments={"offer": OFFER})) == {("a", "b"): "part"}


def test_what_several_have_is_possible_of_each() -> None:
    """Where two sources hold the same thing nothing says which it was."""
    found = edges_of(node("a", 1, "po-1042"), node("b", 2, {"ref": "po-1042"}), node("c", 3, arguments={"ref": "po-1042"}))
    assert found == {("a", "c"): "possible", ("b", "c"): "possible"}


def test_the_strongest_of_several_findings_counts() -> None:
    """One argument is ambiguous, another is not."""
    found = edges_of(
        node("a", 1, "po-1042"),
        node("b", 2, {"ref": "po-1042", "id": "SO-0001"}),
        node("c", 3, arguments={"ref": "po-1042", "id": "SO-0001"}),
    )
    assert found == {("a", "c"): "possible", ("b", "c"): "part"}


@pytest.mark.parametrize(("given", "taken"), [("1363.20", 1363.2), (1363.2, "1363.20"), (4711, 4711.0), ("4711", 4711)])
def test_numbers_are_equal_however_they_are_spelled(given: Any, taken: Any) -> None:
    """A decimal as text is the same amount as the number."""
    assert edges_of(node("a", 1, given), node("b", 2, arguments={"amount": taken})) == {("a", "b"): "exact"}


@pytest.mark.parametrize(
    ("value", "argument", "strength"),
    [
        ("All bolts of lot 7 are too short.", "Tell them: All bolts of lot 7 are too short. Thanks.", "exact"),
        ({"id": "SO-0001"}, "Order SO-0001, as asked.", "part"),
        ({"total": "1363.20"}, "Pay 1363.2 now.", "part"),
        ("First sentence of a report. Second sentence of a report.", "Second sentence of a report.", "part"),
        ({"id": "SO-0001"}, "Order SO-00012, as asked.", None),
    ],
)
def test_texts(value: Any, argument: str, strength: str | None) -> None:
    """A text in a text, a code or amount named in a text, and a passage of a longer text."""
    found = edges_of(node("a", 1, value), node("b", 2, arguments={"text": argument}))
    assert found == ({} if strength is None else {("a", "b"): strength})


def test_nothing_comes_from_later() -> None:
    """Two calls asked at the same time: neither can have been given what the other gave."""
    assert edges_of(Node("a", "call", 1, {"x": "po-1042"}, 3, "SO-0001"), Node("b", "call", 1, {"x": "SO-0001"}, 4, "po-1042")) == {}


def test_where_it_was_found() -> None:
    """An edge says where in the arguments."""
    lineage = lineage_of([node("a", 1, OFFER), node("b", 2, arguments={"order": {"lines": [{"offer": OFFER}]}})])
    assert lineage.edges == (Edge("a", "b", "exact", ("order.lines.0.offer",)),)


def test_without_arguments_a_value_speaks_and_proves_nothing() -> None:
    """What a call gave may hold what it was given; that is possible and no more."""
    assert edges_of(node("a", 1, OFFER), node("b", 2, {"choice": OFFER}, None)) == {("a", "b"): "possible"}


def test_inside_an_agent() -> None:
    """A tool's call may be given what the agent was given and what its tools gave; the agent saw what they gave."""
    nodes = [
        node("ask", 1, {"ref": "po-1042"}),
        node("other", 2, {"code": "XX-9999"}),
        Node("buyer", "agent", 2, {"ref": "po-1042"}, 6, {"order": "SO-0001"}),
        Node("buyer/order~1.1", "effect", 3, {"ref": "po-1042"}, 4, {"id": "SO-0001"}, "buyer"),
        Node("buyer/pay~2.1", "effect", 4, {"for": "SO-0001", "code": "XX-9999"}, 5, {"receipt": "CH-0001"}, "buyer"),
        Node("buyer/look~3.1", "call", 4, None, 5, "nothing new", "buyer"),
    ]
    assert edges_of(*nodes) == {
        ("ask", "buyer"): "part",
        ("ask", "buyer/order~1.1"): "part",
        ("buyer/order~1.1", "buyer/pay~2.1"): "part",
        ("buyer/order~1.1", "buyer"): "part",
        ("buyer/pay~2.1", "buyer"): "possible",
        ("buyer/look~3.1", "buyer"): "possible",
    }


def test_an_effect_whose_arguments_show_nothing_may_come_of_all_its_agent_was_given() -> None:
    """A model words its calls anew: that nothing is found does not cut an effect off from what its agent knew."""
    nodes = [
        node("ask", 1, {"ref": "po-1042"}),
        Node("buyer", "agent", 1, {"ref": "po-1042"}, 4, "done"),
        Node("buyer/mail~1.1", "effect", 2, {"text": "Hello"}, 3, None, "buyer"),
    ]
    assert edges_of(*nodes)["ask", "buyer/mail~1.1"] == "possible"


REACH = Lineage(
    tuple(Node(path, "call") for path in "abcde"),
    (Edge("a", "b", "exact"), Edge("b", "c", "possible"), Edge("a", "c", "part"), Edge("c", "d", "exact"), Edge("b", "e", "possible")),
)


def test_forward_and_backward() -> None:
    """Each call that is reached, with the weakest edge of the strongest way."""
    assert REACH.forward("a") == {"b": "exact", "c": "part", "d": "part", "e": "possible"}
    assert REACH.forward("d") == {}
    assert REACH.backward("d") == {"a": "part", "b": "possible", "c": "exact"}


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(st.lists(JSON, max_size=5))
def test_any_values(values: list[Any]) -> None:
    """Whatever the values are: edges go from earlier to later, name calls that exist, and are one per pair."""
    nodes = [node(str(n), n + 1, value, {"all": values}) for n, value in enumerate(values)]
    edges = lineage_of(nodes).edges
    assert all(int(edge.source) < int(edge.target) and edge.strength in STRENGTHS for edge in edges)
    assert len({(edge.source, edge.target) for edge in edges}) == len(edges)


@given(JSON)
def test_a_telling_value_is_found_again(value: Any) -> None:
    """What is telling is found when it is handed on as it is."""
    found = edges_of(node("a", 1, value), node("b", 2, arguments={"x": value}))
    if telling(value) is not None:
        assert found == {("a", "b"): "exact"}
