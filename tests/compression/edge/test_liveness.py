from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from compression.edge.liveness import Peak, Step, peak

Graph = tuple[list[Step], dict[str, int], list[str], list[str]]


def test_a_chain_holds_two_values_at_a_time() -> None:
    steps = [Step("a", ("x",), ("p",)), Step("b", ("p",), ("q",)), Step("c", ("q",), ("y",))]
    sizes = {"x": 1, "p": 10, "q": 20, "y": 5}
    assert peak(steps, sizes, ["x"], ["y"]) == Peak(30, "b")


def test_a_residual_lives_until_it_is_added() -> None:
    steps = [
        Step("widen", ("x",), ("p",)),
        Step("narrow", ("p",), ("q",)),
        Step("add", ("x", "q"), ("y",)),
    ]
    assert peak(steps, {"x": 7, "p": 100, "q": 7, "y": 7}, ["x"], ["y"]) == Peak(114, "narrow")


def test_an_output_lives_to_the_end() -> None:
    steps = [Step("a", ("x",), ("y",)), Step("b", ("x",), ("p",)), Step("c", ("p",), ("z",))]
    assert peak(steps, {"x": 1, "y": 8, "p": 2, "z": 4}, ["x"], ["y", "z"]) == Peak(14, "c")


def test_what_nobody_reads_is_held_only_while_it_is_made() -> None:
    steps = [Step("split", ("x",), ("p", "waste")), Step("b", ("p",), ("y",))]
    assert peak(steps, {"x": 1, "p": 2, "waste": 50, "y": 60}, ["x"], ["y"]) == Peak(62, "b")


def test_weights_count_nothing_and_a_value_read_twice_counts_once() -> None:
    steps = [Step("product", ("x", "weight"), ("p",)), Step("square", ("p", "p"), ("y",))]
    assert peak(steps, {"x": 1, "p": 4, "y": 4}, ["x"], ["y"]) == Peak(8, "square")


def test_an_empty_graph_holds_its_inputs() -> None:
    assert peak([], {"x": 3}, ["x"], ["x"]) == Peak(3, "")


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """Steps that read any earlier values, and one or two values to keep."""
    count = draw(st.integers(1, 12))
    names, steps = ["x"], []
    for number in range(count):
        reads = tuple(draw(st.lists(st.sampled_from(names), min_size=1, max_size=3)))
        makes = tuple(f"v{number}.{part}" for part in range(draw(st.integers(1, 2))))
        steps.append(Step(f"s{number}", reads, makes))
        names += makes
    sizes = {name: draw(st.integers(0, 100)) for name in names}
    kept = draw(st.lists(st.sampled_from(names[1:]), min_size=1, max_size=2, unique=True))
    return steps, sizes, ["x"], kept


@given(graphs())
def test_the_walk_equals_the_sum_over_lifetimes(graph: Graph) -> None:
    """The oracle asks of every value and every step whether the one lives while the other runs."""
    steps, sizes, given_, kept = graph
    born = dict.fromkeys(given_, 0) | {
        name: number for number, step in enumerate(steps) for name in step.makes
    }
    dies = dict(born)
    for number, step in enumerate(steps):
        dies |= dict.fromkeys(step.reads, number)
    dies |= dict.fromkeys(kept, len(steps))
    totals = [
        sum(size for name, size in sizes.items() if born[name] <= number <= dies[name])
        for number in range(len(steps))
    ]
    found = peak(steps, sizes, given_, kept)
    assert found.bytes == max(totals)
    assert totals[[step.name for step in steps].index(found.step)] == max(totals)
