"""The faults that the parity tests are held to: each can be put in, and is one."""

import pytest
from mutations import MUTATIONS, ROOT, Mutation, mutated


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_fault_replaces_is_there_exactly_once(mutation):
    path = ROOT / mutation.file
    assert path.exists(), f"{mutation.name}: {mutation.file} is not there"
    text = path.read_text("utf-8")
    count = text.count(mutation.old)
    assert count == 1, (
        f"{mutation.name}: {mutation.file} has {mutation.old!r} {count} times, not "
        "once; tests/mutations.py has to follow the source"
    )
    # A fault that is no Python would be caught by any test.
    compile(mutated(mutation, text), mutation.file, "exec")
    assert mutation.new != mutation.old


def test_no_two_faults_are_one():
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)
    assert len({mutation[1:] for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("text", ["nothing", "twice, twice"])
def test_a_text_that_is_gone_or_there_twice_is_an_error_that_names_the_fault(text):
    with pytest.raises(ValueError, match=r"a slip: here\.py has 'twice' [02] times"):
        mutated(Mutation("a slip", "here.py", "twice", "once"), text)
