"""The synthetic benchmarks of language models: construction as published, fitting, scoring, pinned bytes."""

import hashlib
import json
import re

import pytest

from longspan.benchmarks.fit import fit
from longspan.benchmarks.generation.key_value import KeyValue
from longspan.benchmarks.generation.lm_needle import LMNeedle
from longspan.benchmarks.generation.lm_passkey import LMPasskey
from longspan.benchmarks.generation.longchat_lines import LongChatLines
from longspan.benchmarks.generation.multi_key import MultiKey
from longspan.benchmarks.generation.multi_value import MultiValue
from longspan.benchmarks.generation.needle_threading import NeedleThreading
from longspan.benchmarks.generation.variable_tracking import VariableTracking
from longspan.errors import BenchmarkError

TASKS = ("single", "multiple", "conditional", "thread", "multi_thread", "branching")
UNIT = "The grass is green. The sky is blue. The sun is yellow. Here we go. There and back again. "
# One more unit is so many tokens at most, where four characters are a token.
EVERY = [
    (LMPasskey(), 1),
    (LMNeedle(), 8),
    (LMNeedle(values="uuids"), 8),
    (MultiKey(), 24),
    (MultiKey(keys=4), 8),
    (MultiKey(kind="uuids"), 32),
    (MultiValue(), 8),
    (VariableTracking(), 24),
    (LongChatLines(), 16),
    (KeyValue(), 24),
    *((NeedleThreading(task), 24) for task in TASKS),
]


def characters(text):
    return len(text) // 4


def one(benchmark, length=2000, key="q0001", seed=0):
    return benchmark.examples(length, seed, characters).questions[key]


def pairs(prompt):
    return re.findall(r'^[{ ]?"(\S+)": "(\S+)"[,}]$', prompt, re.M)


@pytest.mark.parametrize(("room", "least", "guess"), [(7, 0, None), (1000, 3, None), (1000, 3, 90), (50_000, 0, 1)])
def test_fit_finds_the_largest_number_with_few_counts(room, least, guess):
    calls = []

    def count(text):
        calls.append(text)
        return 5 + 3 * len(text) + len(text) % 7

    found = fit(lambda units: "x" * units, room, count, least if room > 50 else 0, guess)
    assert count("x" * found) <= room < count("x" * (found + 1))
    assert len(calls) < 14


def test_fit_never_builds_much_more_than_fits():
    # The first units are almost free, as where they only complete a word.
    built = []

    def count(text):
        built.append(len(text))
        return max(0, len(text) - 20) + len(text) // 10

    assert fit(lambda units: "x" * units, 1000, count) == 928
    assert max(built) < 16 * 1000


def test_fit_refuses_a_room_that_the_smallest_prompt_does_not_fit():
    with pytest.raises(BenchmarkError, match=r"has 9 tokens, and there is room for 5.*\n.*4 or more"):
        fit(lambda units: "x" * (9 + units), 5, len)


@pytest.mark.parametrize(("benchmark", "unit"), EVERY, ids=str)
@pytest.mark.parametrize("length", [1500, 6000])
def test_prompts_and_replies_fill_the_length(benchmark, unit, length):
    for question in benchmark.examples(length, 1, characters).questions.values():
        assert 0 <= length - question.new_tokens - characters(question.prompt) <= unit
        assert characters(question.gold) <= question.new_tokens


@pytest.mark.parametrize(("benchmark", "unit"), EVERY, ids=str)
def test_a_question_hides_the_same_needle_at_every_length(benchmark, unit):
    short, long = (benchmark.examples(length, 2, characters).questions for length in (2500, 5000))
    assert len(short) == 50
    assert [q.answers for q in short.values()] == [q.answers for q in long.values()]
    assert len({q.answers for q in short.values()}) == 50


@pytest.mark.parametrize(("benchmark", "unit"), EVERY, ids=str)
def test_a_length_without_room_is_refused(benchmark, unit):
    with pytest.raises(BenchmarkError, match=r"length 40\. .* tokens"):
        benchmark.examples(40, 0, characters)
    with pytest.raises(BenchmarkError, match="none was given"):
        benchmark.examples(None, 0, characters)


def test_passkey_has_the_five_published_lines():
    for question in LMPasskey().examples(1000, 0, characters).questions.values():
        task, before, needle, after, asked = question.prompt.split("\n")
        assert task == (
            "There is an important info hidden inside a lot of irrelevant text. Find it and memorize them. "
            "I will quiz you about the important information there."
        )
        assert asked == "What is the pass key? The pass key is"
        key = question.gold
        assert needle == f"The pass key is {key}. Remember it. {key} is the pass key."
        assert 1 <= int(key) <= 50_000
        # Both parts are cut from the start of the stream.
        assert (UNIT * 99).startswith(before)
        assert (UNIT * 99).startswith(after)
        assert question.depth == len(before) / len(before + after)


@pytest.mark.parametrize(
    ("benchmark", "needle"),
    [
        (LMPasskey(depths=5), "Remember it."),
        (LMNeedle(depths=5), "One of the special"),
        (MultiKey(depths=5), None),
        (LongChatLines(depths=5), None),
        (KeyValue(depths=5), None),
        (NeedleThreading("single", depths=5), None),
    ],
    ids=str,
)
def test_needles_stand_once_at_the_depths_of_a_grid(benchmark, needle):
    questions = benchmark.examples(8000, 0, characters).questions
    assert [q.depth for q in questions.values()] == pytest.approx([0.1, 0.3, 0.5, 0.7, 0.9] * 10)
    for question in questions.values():
        # Two lines of LongChat may have one number, and the pass key is told twice.
        told = needle or question.gold
        if isinstance(benchmark, LongChatLines):
            told = "line " + re.search(r"in line (\S+)\? I need", question.prompt)[1] + ":"
        assert question.prompt.count(told) == 1
        at = question.prompt.index(told) / len(question.prompt)
        assert at == pytest.approx(question.depth, abs=0.06)


def test_needle_stands_between_sentences_of_the_prose():
    for question in LMNeedle().examples(6000, 0, characters).questions.values():
        head, context, asked = question.prompt.split("\n", 1)[0], *question.prompt.split("\n", 1)[1].rsplit("\n", 1)
        key = re.search(r"for (\S+) is: (\d{7})\. ?", context)
        assert key[2] == question.gold
        assert head == (
            "A special magic number is hidden within the following text. Make sure to memorize it. I will quiz you "
            "about the number afterwards."
        )
        assert asked == (
            f"What is the special magic number for {key[1]} mentioned in the provided text? The special magic number "
            f"for {key[1]} mentioned in the provided text is"
        )
        before, after = context.split(f"One of the special magic numbers for {key[1]} is: {key[2]}.")
        assert not before or re.search(r"[.!?][\"')\]]*\s$", before)
        assert re.match(r" [\"'(]*[A-Z0-9]|$", after)
        assert question.depth == pytest.approx(len(before) / len(before + after), abs=0.02)


def test_prose_begins_again_where_it_ends():
    question = one(LMNeedle(questions=2), 120_000)
    assert question.prompt.count("I am of the eighth generation from Mathew Grant") == 2
    assert question.prompt.count("special magic numbers for") == 1


def test_every_line_of_multi_key_is_a_needle_with_a_key_of_its_own():
    for kind, form in (("words", r"[a-z]+-[a-z]+ is: \d{7}"), ("uuids", r"[0-9a-f-]{36} is: [0-9a-f-]{36}")):
        question = one(MultiKey(kind=kind), 4000)
        lines = question.prompt.split("\n")[1:-1]
        plural = "uuids" if kind == "uuids" else "numbers"
        assert all(re.fullmatch(rf"One of the special magic {plural} for {form}\.", line) for line in lines)
        assert len({line.split(" for ")[1].split(" ")[0] for line in lines}) == len(lines) > 25
        asked = re.search(r"for (\S+) mentioned", question.prompt)[1]
        assert f"for {asked} is: {question.gold}." in question.prompt


def test_needles_in_prose_are_as_many_as_asked():
    question = one(MultiKey(keys=4), 3000)
    found = re.findall(r"magic numbers for (\S+) is: (\d{7})\.", question.prompt)
    assert len({key for key, _ in found}) == len(found) == 4
    assert dict(found)[re.search(r"for (\S+) mentioned", question.prompt)[1]] == question.gold
    question = one(MultiValue(), 3000)
    found = re.findall(r"magic numbers for (\S+) is: (\d{7})\.", question.prompt)
    assert len({key for key, _ in found}) == 1
    assert sorted(value for _, value in found) == sorted(question.answers)
    assert question.prompt.startswith("Some special magic numbers are hidden within")
    assert question.prompt.endswith(f"magic numbers for {found[0][0]} mentioned in the provided text are")


def test_variable_tracking_states_each_chain_in_order():
    question = one(VariableTracking(chains=2), 3000)
    shown, asked = question.prompt.split("\n\nMemorize and track")
    statements = re.findall(r"^VAR ([A-Z]{5}) = (?:VAR )?(\w+)$", asked, re.M)
    assert len(statements) == 10
    value = re.search(r"assigned the value (\d{5}) in", asked)[1]
    chain = [value]
    for name, source in statements:
        if source == chain[-1]:
            chain.append(name)
    assert tuple(chain[1:]) == question.answers
    assert asked.endswith(f"5 variables are assgined the value {value}, they are:")
    assert re.search(r"they are: [A-Z]{3}( [A-Z]{3}){4}$", shown)
    assert one(VariableTracking(shots=0), 3000).prompt.count("Memorize and track") == 1


def test_longchat_lines_have_names_of_their_own_and_are_asked_as_published():
    question = one(LongChatLines(), 4000)
    lines = re.findall(r"^line ([a-z-]+): REGISTER_CONTENT is <(\d+)>$", question.prompt, re.M)
    assert len(dict(lines)) == len(lines) > 200
    asked = re.search(
        r"\n\nNow the record is over\. Tell me what is the <REGISTER_CONTENT> in line (\S+)\? I need the number\.$",
        question.prompt,
    )[1]
    assert dict(lines)[asked] == question.gold
    assert question.prompt.startswith("Below is a record of lines I want you to remember. Each line begins with")


def test_key_value_is_a_json_object_between_the_published_lines():
    question = one(KeyValue(), 4000)
    data = json.loads(question.prompt[question.prompt.index("{") : question.prompt.index("}") + 1])
    assert question.prompt.startswith(
        "Extract the value corresponding to the specified key in the JSON object below.\n\nJSON data:\n{"
    )
    key = re.search(r'\n\nKey: "(.+)"\nCorresponding value:$', question.prompt)[1]
    assert data[key] == question.gold
    assert len(data) > 150
    assert len({*data, *data.values()}) == 2 * len(data)


def test_threads_lead_from_key_to_key_in_their_direction():
    for direction, order in (("forward", 1), ("backward", -1)):
        question = one(NeedleThreading("multi_thread", direction=direction, hops=4), 5000)
        told = dict(pairs(question.prompt))
        places = {key: place for place, key in enumerate(told)}
        ends = []
        for key in re.findall(r'"(\S+)"', question.prompt.rsplit("Keys: ")[1]):
            thread = [key]
            while (value := told[thread[-1]]) in told:
                thread.append(value)
            assert [places[k] for k in thread] == sorted((places[k] for k in thread), reverse=order < 0)
            assert len(thread) == 4
            ends.append(value)
        assert tuple(ends) == question.answers


def test_a_random_thread_goes_both_ways():
    question = one(NeedleThreading("thread", direction="random", hops=12), 5000)
    told = dict(pairs(question.prompt))
    places = {key: place for place, key in enumerate(told)}
    thread = [re.search(r'Key: "(\S+)"', question.prompt)[1]]
    while told[thread[-1]] in told:
        thread.append(told[thread[-1]])
    assert told[thread[-1]] == question.gold
    assert [places[k] for k in thread] not in (sorted(places[k] for k in thread), sorted(map(places.get, thread))[::-1])


def test_conditional_keys_are_all_that_have_the_character():
    question = one(NeedleThreading("conditional", needles=7), 5000)
    marked = [value for key, value in pairs(question.prompt) if "*" in key]
    assert sorted(marked) == sorted(question.answers)
    assert len(marked) == 7
    assert 'contain the character "*" in' in question.prompt


def test_one_branch_is_longer_than_the_others():
    question = one(NeedleThreading("branching", hops=4, branches=3), 5000)
    told = pairs(question.prompt)
    keys = {key for key, _ in told}
    at = re.search(r'Key: "(\S+)"', question.prompt)[1]
    for _ in range(3):
        values = [value for key, value in told if key == at]
        assert len(values) == 3
        (at,) = (value for value in values if value in keys)
    assert [value for key, value in told if key == at] == [question.gold]


def test_the_first_integer_decides():
    for benchmark in (LMPasskey(), LongChatLines()):
        question = one(benchmark)
        told = question.gold
        for reply, score in {
            f" {told}. Remember it.": 1,
            f"It is <{told}>": 1,
            f"1{told}": 0,
            f"7 {told}": 0,
            "none": 0,
            str(int(told) + 1): 0,
        }.items():
            assert benchmark.score(question, reply) == {"acc": score}, reply


def test_ruler_scores_the_share_that_is_told():
    benchmark = MultiValue()
    question = one(benchmark)
    a, b, c, d = question.answers
    for reply, score in {f"{a} and {b}": 0.5, f"{d},{c},{b},{a}": 1, f"{a} {a} {a} {a}": 0.25, "1234": 0}.items():
        assert benchmark.score(question, reply) == {"string_match_all": score}, reply
    tracking = VariableTracking()
    question = one(tracking)
    assert tracking.score(question, " ".join(question.answers[:2]).lower()) == {"string_match_all": 0.4}


def test_only_the_first_uuids_of_a_reply_count():
    single, many = NeedleThreading("single"), NeedleThreading("multiple", needles=4)
    right, other = one(single).gold, one(single, key="q0002").gold
    for reply, score in {
        f'"{right.upper()}"': 1,
        f"{other} {right}": 0,
        right[:-1]: 0,
        f"is {right} {other}": 1,
    }.items():
        assert single.score(one(single), reply) == {"acc": score}, reply
    question = one(many)
    a, b, c, d = question.answers
    for reply, score in {f"[{b}, {a}]": 0.5, ",".join([other, a, b, c, d]): 0.75, f"{a} {a} {a} {a}": 0.25}.items():
        assert many.score(question, reply) == {"acc": score}, reply


def test_key_value_takes_the_value_anywhere_in_the_reply():
    question = one(KeyValue())
    assert KeyValue().score(question, f'The value is "{question.gold.upper()}".') == {"acc": 1}
    assert KeyValue().score(question, question.gold[1:]) == {"acc": 0}


def test_the_collection_has_a_part_for_each_task_and_nothing_of_its_own():
    collection = NeedleThreading(questions=4, depths=2, needles=3, hops=2, direction="backward")
    single, multiple, _, thread, *_ = collection.parts()
    assert [part.task for part in collection.parts()] == list(TASKS)
    assert (single.depths, multiple.needles, thread.hops, thread.direction) == (2, 3, 2, "backward")
    assert all(part.questions == 4 for part in collection.parts())
    with pytest.raises(BenchmarkError, match="multi_thread"):
        collection.examples(2000, 0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: NeedleThreading("multithread"), "did you mean multi_thread"),
        (lambda: NeedleThreading("single", hops=3), "single has no hops"),
        (lambda: NeedleThreading("branching", hops=1), "no branch"),
        (lambda: NeedleThreading("thread", direction="up"), "forward"),
        (lambda: NeedleThreading("conditional", character="a"), "cannot mark"),
        (lambda: LMPasskey(questions=0), "at least 1"),
        (lambda: LMPasskey(questions=50, depths=7), "questions=49"),
        (lambda: LMNeedle(values="words"), "uuids"),
        (lambda: LMNeedle(depths=25).examples(1000, 0), "fewer than 25 depths"),
        (lambda: MultiKey(keys=1), "keys=0"),
        (lambda: MultiKey(kind="numbers"), "uuids"),
        (lambda: MultiValue(values=1), "2 to 16"),
        (lambda: VariableTracking(hops=0), "1 to 16"),
    ],
)
def test_parameters_that_cannot_be_are_refused_with_what_can(make, message):
    with pytest.raises(BenchmarkError, match=message):
        make()


PINS = [
    "707a065ed3be0abf",
    "fbbbba45e0cf80fd",
    "82b77ce531e869cd",
    "8bb4bae5f54adf82",
    "8a8cf1e53b7ec77c",
    "25e6eade4ba06266",
    "b61670f52c0738a9",
    "07098066658f47a3",
    "e948c2a4470e6795",
    "8bb7f6091d821d6e",
    "22afc49ef2287f32",
    "7ff8d4b0bc770ccd",
    "629c9afc4e579ded",
    "02b17268949cb43a",
    "e9c13992e295146a",
    "c434c5663491c520",
]


@pytest.mark.parametrize(("benchmark", "pin"), [(b, pin) for (b, _), pin in zip(EVERY, PINS, strict=True)], ids=str)
def test_the_bytes_of_a_seed_never_change(benchmark, pin):
    question = one(benchmark, 2000, seed=7)
    text = repr((question.prompt, question.answers, question.gold, question.depth))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == pin
