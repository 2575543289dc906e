"""No input, however damaged, ends in another error than ours, takes a second or much memory.

`make fuzz` goes over many more of them.
"""

from pathlib import Path

import pytest

from dev.fuzz.kinds import KINDS, tried

FUZZED = Path(__file__).parent / "fuzzed"


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_inputs_of_300_seeds_do_nothing_that_none_may(tmp_path, kind):
    inputs = ((seed, KINDS[kind].make(seed)) for seed in range(300))
    found = dict(tried(kind, inputs, tmp_path))
    assert {seed: told.offence for seed, told in found.items() if told.offence} == {}
    # Damage of numbers and pixels often cannot be told; that of the rest is refused.
    assert 20 < sum(told.taken for told in found.values()) < 250


@pytest.mark.parametrize("kind", KINDS)
def test_an_input_is_the_same_in_every_run(kind):
    module = KINDS[kind]
    assert [module.make(seed) for seed in range(20)] == [module.make(seed) for seed in range(20)]


@pytest.mark.parametrize("kind", KINDS)
def test_inputs_that_once_failed_are_taken_or_refused(tmp_path, kind):
    """Each file is an input that did wrong, found by chance or by a user; see CONTRIBUTING.md."""
    inputs = [(path.name, path.read_bytes()) for path in sorted((FUZZED / kind).iterdir())]
    found = dict(tried(kind, inputs, tmp_path))
    assert {name: told.offence for name, told in found.items() if told.offence} == {}
