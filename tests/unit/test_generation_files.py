"""Benchmarks of language models over files: what they build, and what their metrics give, worked out here."""

import hashlib
import json
import re
import sys
from itertools import pairwise
from pathlib import Path

import pytest

from longspan.benchmarks import harness
from longspan.benchmarks.files import write_lines
from longspan.benchmarks.generation import (
    altered_numeric_qa,
    cnnsum,
    free_form_qa,
    leval,
    lm_eval_task,
    longbench,
    loogle,
    lost_in_the_middle,
    m4le,
    many_shot,
    mmneedle,
)
from longspan.benchmarks.haystack import generator
from longspan.benchmarks.tasks import Question, digest, usual_count
from longspan.benchmarks.text_metrics import best_subspan_em, presence, rouge, rouge_mean, token_f1
from longspan.errors import BenchmarkError

ALL = {
    altered_numeric_qa: altered_numeric_qa.AlteredNumericQA,
    cnnsum: cnnsum.CNNSum,
    free_form_qa: free_form_qa.FreeFormQA,
    leval: leval.LEval,
    lm_eval_task: lm_eval_task.LMEvalTask,
    longbench: longbench.LongBench,
    loogle: loogle.LooGLE,
    lost_in_the_middle: lost_in_the_middle.LostInTheMiddle,
    m4le: m4le.M4LE,
    many_shot: many_shot.ManyShot,
    mmneedle: mmneedle.MMNeedle,
}


@pytest.fixture(scope="module")
def twins(tmp_path_factory):
    """The folder of each module's twin."""
    home = tmp_path_factory.mktemp("twins")
    for module in ALL:
        module.twin(home / module.__name__)
    return {module: str(home / module.__name__) for module in ALL}


def rows_of(path):
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]


def tasks_of(module, folder):
    benchmark = ALL[module](folder=folder)
    return benchmark.parts() if hasattr(benchmark, "parts") else (benchmark,)


# Metrics


def lcs(one, other):
    """Length of the longest common subsequence, by its recurrence."""
    table = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, a in enumerate(one):
        for j, b in enumerate(other):
            table[i + 1][j + 1] = table[i][j] + 1 if a == b else max(table[i][j + 1], table[i + 1][j])
    return table[-1][-1]


def grams(words, n):
    return [tuple(words[i : i + n]) for i in range(len(words) - n + 1)]


def overlap(told, right, n):
    told, right = grams(told, n), grams(right, n)
    shared = sum(min(told.count(g), right.count(g)) for g in set(right))
    return 2 * shared / (len(told) + len(right)) if shared else 0.0


REPLY = "the old keeper of the light wrote every ship into a book"
RIGHT = "the keeper wrote each ship of the year into the book"


def test_token_f1_counts_shared_words_without_articles():
    # Without articles and marks: {red, lamp, of, tower} and {red, lamp}: 2 x 2 shared of 4 + 2 words.
    assert token_f1("The red lamp, of a tower!", ["red lamp"]) == pytest.approx(4 / 6)
    assert token_f1("red red lamp", ["red lamp lamp"]) == pytest.approx(2 * 2 / 6)
    assert token_f1("red lamp", ["blue", "a lamp"]) == pytest.approx(2 / 3)  # the best answer
    assert token_f1("", ["lamp"]) == 0
    assert token_f1("The", ["the"]) == 1  # nothing but an article


def test_best_subspan_reads_the_first_line_and_presence_reads_all():
    assert best_subspan_em("It was the Red-Lamp.\nBlue", ["blue", "redlamp"]) == 1
    assert best_subspan_em("It was red.\nBlue", ["blue"]) == 0
    assert best_subspan_em("", ["blue"]) == 0
    assert presence("It was red.\nBlue 37", ["37"]) == 1
    assert presence("blue", ["Blue"]) == 0


def test_rouge_is_the_longest_common_subsequence_and_shared_ngrams():
    told, right = REPLY.split(), RIGHT.split()
    found = rouge(REPLY, [RIGHT], ("rouge1", "rouge2", "rougeL"))
    assert found["rougeL"] == pytest.approx(2 * lcs(told, right) / (len(told) + len(right)))
    assert lcs(told, right) == 6  # the keeper wrote ship into book
    assert found["rouge1"] == pytest.approx(overlap(told, right, 1))
    assert found["rouge2"] == pytest.approx(overlap(told, right, 2))
    product = found["rouge1"] * found["rouge2"] * found["rougeL"]
    assert rouge_mean(REPLY, [RIGHT]) == pytest.approx(product ** (1 / 3))
    assert rouge_mean("harbour", ["harbour"]) == 1  # has no pair of words
    assert rouge(REPLY, ["nothing here", RIGHT])["rougeL"] == found["rougeL"]


def test_a_missing_package_is_a_typed_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "jieba", None)
    with pytest.raises(BenchmarkError, match=r"jieba[\s\S]*pip install 'longspan\[lm\]'"):
        cnnsum.cut("海")


# Laws that every one of these keeps on its twin


@pytest.mark.parametrize("module", ALL, ids=lambda module: module.__name__.rpartition(".")[2])
def test_gold_scores_one_empty_scores_zero_and_prompts_fill_their_length(module, twins):
    for benchmark in tasks_of(module, twins[module]):
        length = None if getattr(benchmark, "natural", False) else 1024
        made = benchmark.examples(length, 0)
        assert made.questions
        assert digest(made) == digest(benchmark.examples(length, 0))
        for question in made.questions.values():
            gold = benchmark.score(question, question.gold)
            assert tuple(gold) == module.CARD["metrics"]
            assert set(gold.values()) == {1.0}
            assert set(benchmark.score(question, "").values()) == {0.0}
            if length:
                assert length - 130 < usual_count(question.prompt) + question.new_tokens <= length


@pytest.mark.parametrize(
    ("module", "file", "line"),
    [
        (lost_in_the_middle, "questions.jsonl", {"question": "who", "answers": [], "passages": []}),
        (lost_in_the_middle, "questions.jsonl", {"question": "who", "answers": ["x"], "passages": ["text"]}),
        (altered_numeric_qa, "documents.jsonl", {"document": "It weighs 5 pounds.", "question": "?", "answer": "6"}),
        (free_form_qa, "documents.jsonl", {"document": "It rains.", "question": "?"}),
        (many_shot, "train.jsonl", {"text": " ", "label": "a"}),
        (m4le, "items.jsonl", {"text": "a note", "label": "a", "question": "?"}),
        (longbench, "qasper.jsonl", {"input": "?", "context": "text", "answers": "text"}),
        (longbench, "lcc.jsonl", {"input": "?", "answers": ["text"]}),
        (lm_eval_task, "longbench2_govt_single.jsonl", {"context": "text"}),
        (leval, "coursera.jsonl", {"input": "text", "instructions": ["?"], "outputs": []}),
        (leval, "quality.jsonl", {"input": "text", "instructions": ["?"], "outputs": ["E"]}),
        (leval, "gsm100.jsonl", {"input": "text", "instructions": ["?"], "outputs": ["no number"]}),
        (loogle, "longdep_qa.jsonl", {"input": "text", "qa_pairs": "[{'Q': 'what', 'A"}),
        (loogle, "shortdep_cloze.jsonl", {"input": "text", "qa_pairs": [{"Q": "<mask-0>", "A": "x"}]}),
        (cnnsum, "cnnsum_L_16k.jsonl", {"context": "海", "summary": ""}),
        (mmneedle, "captions.jsonl", {"file": "captions.jsonl", "caption": "a list"}),
        (mmneedle, "captions.jsonl", ["not", "an", "object"]),
    ],
)
def test_a_damaged_line_is_named(module, file, line, tmp_path):
    module.twin(tmp_path)
    path = tmp_path / file
    whole = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    parts = {getattr(benchmark, "task", ""): benchmark for benchmark in tasks_of(module, str(tmp_path))}
    benchmark = parts[task_of(file)] if task_of(file) in parts else parts[""]
    length = None if getattr(benchmark, "natural", False) else 1024
    benchmark.examples(length, 0)
    path.write_text("\n".join([*whole, json.dumps(line)]) + "\n", encoding="utf-8")
    with pytest.raises(BenchmarkError, match=rf"{re.escape(file)}, line {len(whole) + 1}: "):
        benchmark.examples(length, 0)


def task_of(file):
    stem = file.removesuffix(".jsonl")
    return {"cnnsum_L_16k": "L", "items": "explicit_single"}.get(stem, stem)


@pytest.mark.parametrize("module", ALL, ids=lambda module: module.__name__.rpartition(".")[2])
def test_without_a_folder_the_hint_names_the_layout(module, monkeypatch):
    import datasets

    def unreachable(*_, **__):
        raise ConnectionError("no network")

    monkeypatch.setattr(datasets, "load_dataset", unreachable)
    benchmark = tasks_of(module, "")[0]
    with pytest.raises(BenchmarkError, match="jsonl"):
        benchmark.examples(None if getattr(benchmark, "natural", False) else 4096, 0)


@pytest.mark.parametrize("module", [longbench, leval, loogle, cnnsum, m4le])
def test_a_collection_names_its_tasks(module):
    collection = ALL[module]
    with pytest.raises(BenchmarkError, match=module.TASKS[0]):
        collection().examples(None, 0)
    with pytest.raises(BenchmarkError, match=f"nearest: {module.TASKS[1]}"):
        collection(task=module.TASKS[1] + "x")
    assert [part.task for part in collection().parts()] == list(module.TASKS)


# Construction


def test_the_right_document_stands_where_the_paper_puts_it(twins):
    benchmark = lost_in_the_middle.LostInTheMiddle(folder=twins[lost_in_the_middle], documents=20)
    made = benchmark.examples(None, 0)
    places = []
    for question in made.questions.values():
        documents = re.findall(r"^Document \[\d+\].*$", question.prompt, re.MULTILINE)
        assert len(documents) == 20
        assert len(set(documents)) == 20
        (place,) = [i for i, text in enumerate(documents) if question.answers[0] in text]
        places.append(place)
        assert question.prompt[int(question.depth * len(question.prompt) + 0.5) :].startswith("(Title: Lighthouse of")
    assert places == [0, 4, 9, 14, 19] * 10


def test_no_distractor_holds_an_answer(tmp_path):
    rows = [
        {"question": f"q{i}", "answers": [f"word{i}"], "ctxs": [{"title": f"t{i}", "text": f"word{i} and word{i + 1}"}]}
        for i in range(6)
    ]
    write_lines(tmp_path / "questions.jsonl", rows)
    benchmark = lost_in_the_middle.LostInTheMiddle(folder=str(tmp_path), documents=5)
    for question in benchmark.examples(None, 0).questions.values():
        assert sum(f"{question.answers[0]} " in f"{line} " for line in question.prompt.split("\n")[2:-2]) == 1
    with pytest.raises(BenchmarkError, match=r"documents=1 to [56]"):
        lost_in_the_middle.LostInTheMiddle(folder=str(tmp_path), documents=7).examples(None, 0)
    with pytest.raises(BenchmarkError, match="tokens less"):
        lost_in_the_middle.LostInTheMiddle(folder=str(tmp_path)).examples(4096, 0)


def test_numbers_are_altered_by_the_rule():
    document = "In 1492 and 1492 there were 7 ships, 2101 men, 007 cats and 15 dogs; 1000 and 2100 are years."
    new = altered_numeric_qa.alter((document, "what happened in 1492", "15 dogs"), generator("test", 3))
    old_numbers, numbers = (re.findall(r"\d+", text) for text in (document, new[0]))
    assert numbers[0] == numbers[1]
    assert new[1] == f"what happened in {numbers[0]}"
    assert new[2] == f"{numbers[5]} dogs"
    assert re.sub(r"\d+", "#", new[0]) == re.sub(r"\d+", "#", document)
    for before, after in zip(old_numbers, numbers, strict=True):
        assert before != after
        if before in ("1492", "1000", "2100"):
            assert 1 <= abs(int(before) - int(after)) <= 10
        else:
            assert len(before) == len(after)
    assert altered_numeric_qa.alter(("15 dogs", "?", "dogs"), generator("test", 3)) is None


@pytest.mark.parametrize(("place", "low", "high"), [("first", 0, 0.12), ("bulk", 0.1, 0.91), ("last", 0.88, 1)])
def test_wikiqa_places_answer_and_question(place, low, high, twins):
    folder = twins[free_form_qa]
    made = free_form_qa.FreeFormQA(folder=folder, answer=place).examples(4096, 0)
    assert len(made.questions) == 9
    for question in made.questions.values():
        assert question.prompt.count(question.gold) == 1
        assert low <= question.prompt.index(question.gold) / len(question.prompt) <= high
        assert question.prompt.split("\n\n")[-1].startswith("Question: how many pounds")
    asked = free_form_qa.FreeFormQA(folder=folder, question=place).examples(4096, 0)
    for question in asked.questions.values():
        assert low - 0.02 <= question.prompt.index("Question: ") / len(question.prompt) <= high
    with pytest.raises(BenchmarkError, match="no places"):
        free_form_qa.FreeFormQA(answer="middle")


def test_many_shot_goes_round_robin(twins):
    benchmark = many_shot.ManyShot(folder=twins[many_shot], samples=3)
    orders = set()
    for question in benchmark.examples(2048, 0).questions.values():
        labels = re.findall(r"^Class: (.+)$", question.prompt, re.MULTILINE)
        assert len(labels) == question.facts["shots"] > 40
        rounds = [labels[i : i + 5] for i in range(0, len(labels), 5)]
        assert all(len(set(r)) == len(r) for r in rounds)
        assert all(len(r) == 5 for r in rounds[:-1])
        orders |= {tuple(r) for r in rounds[:-1]}
        assert benchmark.score(question, f" {question.gold.upper()}.\nText: more") == {"accuracy": 1.0}
        assert benchmark.score(question, f"not {question.gold}") == {"accuracy": 0.0}
    assert len(orders) > 5


def test_m4le_answers_are_what_the_prompt_says(twins):
    path = f"{twins[m4le]}/items.jsonl"
    label = {row["text"]: row["label"] for row in rows_of(path)}
    asked = 0
    for benchmark in m4le.M4LE(folder=twins[m4le], samples=12).parts():
        for question in benchmark.examples(1500, 1).questions.values():
            told = dict(re.findall(r"^Passage ([0-9a-f]{6}): (.+)$", question.prompt, re.MULTILINE))
            ask = re.search(r"^Question: (.+)$", question.prompt, re.MULTILINE)[1]
            named = re.findall(r"\b[0-9a-f]{6}\b", ask)
            kind = re.search(r"of the class (\w+)", ask)
            members = [key for key, text in told.items() if kind and label[text] == kind[1]]
            if benchmark.task.startswith("explicit"):
                assert [label[told[key]] for key in named] == list(question.answers)
                assert len(named) == (1 if benchmark.task == "explicit_single" else 3)
            elif benchmark.task == "global":
                assert question.gold == str(len(members))
            elif kind:
                assert sorted(members) == sorted(question.answers)
                assert len(members) == 1 if benchmark.task == "semantic_single" else 2 <= len(members) <= 5
            else:
                day = re.search(r"on day (\d+)", ask)[1]
                (text,) = [text for text in told.values() if text.startswith(f"Day {day},")]
                assert question.gold in text
                asked += 1
    assert asked  # questions of the lines' own


def test_m4le_scores_lists():
    question = Question("", ("aaa111", "bbb222"), "aaa111; bbb222")
    unordered, ordered = m4le.M4LE(task="semantic_multiple"), m4le.M4LE(task="explicit_multiple")
    assert unordered.score(question, "bbb222; aaa111.") == {"accuracy": 1.0, "f1": 1.0}
    assert ordered.score(question, "bbb222; aaa111") == {"accuracy": 0.0, "f1": 1.0}
    assert unordered.score(question, "bbb222; ccc333; ddd444") == {"accuracy": 0.0, "f1": pytest.approx(2 / 5)}


# Other people's metrics


def test_longbench_scores_by_the_tasks_own_metrics(twins):
    def score(task, reply, which=0):
        benchmark = longbench.LongBench(task=task, folder=twins[longbench])
        question = list(benchmark.examples(None, 0).questions.values())[which]
        return benchmark.score(question, reply)["score"]

    # Right: "the lighthouse was built of red stone", 6 words without the article; told: 2 of 3.
    assert score("qasper", "the red stone tower") == pytest.approx(2 * 2 / (3 + 6))
    assert score("passage_count", "3 or 4, I think 3") == pytest.approx(2 / 3)
    assert score("passage_retrieval_en", "Paragraph 2 or Paragraph 5") == pytest.approx(1 / 2)
    assert score("trec", "Food, or maybe City") == pytest.approx(1 / 2)
    assert score("lcc", "```\n# a comment\n    return total / count\nmore") == 1
    told, right = ["a", "lighthouse", "of", "red", "brick"], ["the", "lighthouse", "was", "built", "of", "red", "stone"]
    expected = 2 * lcs(told, right) / (len(told) + len(right))
    assert score("gov_report", " ".join(told)) == pytest.approx(expected, abs=1e-6)


def test_longbench_questions_are_lm_evals(twins):
    import lm_eval.tasks

    benchmark = longbench.LongBench(task="qmsum", folder=twins[longbench])
    question = benchmark.examples(None, 0).questions["q0001"]
    assert question.new_tokens == 512
    row = rows_of(f"{twins[longbench]}/qmsum.jsonl")[1]
    assert row["context"] in question.prompt
    assert row["input"] in question.prompt
    home = next(iter(lm_eval.tasks.__path__))
    template = Path(home, "longbench", "qmsum.yaml").read_text(encoding="utf-8")
    assert question.prompt[:60] in template
    whole = longbench.LongBench(task="trec", folder=twins[longbench]).examples(None, 0).questions
    few = longbench.LongBench(task="trec", folder=twins[longbench], samples=1).examples(None, 0).questions
    assert len(whole) == 2
    assert len(few) == 1
    assert all(whole[key] == question for key, question in few.items())
    assert [question.stop for question in whole.values()] == [("\n",), ("\n",)]


def test_a_choice_of_lm_eval_is_scored_by_what_was_chosen(twins, monkeypatch):
    benchmark = lm_eval_task.LMEvalTask(folder=twins[lm_eval_task])
    questions = benchmark.examples(None, 0).questions
    assert [q.choices for q in questions.values()] == [(" A", " B", " C", " D")] * 3
    assert [benchmark.score(q, " B")["score"] for q in questions.values()] == [0, 1, 0]
    # The index of all tasks takes ten seconds to read; the one of a folder is enough to know that a name is wrong.
    index = harness._manager(harness._family("longbench2_x"))
    monkeypatch.setattr(harness, "_manager", lambda _: index)
    with pytest.raises(BenchmarkError, match="no task 'longbench2_nothing'"):
        lm_eval_task.LMEvalTask(task="longbench2_nothing").examples(None, 0)
    with pytest.raises(BenchmarkError, match="tokenizer would have no effect"):
        lm_eval_task.LMEvalTask(folder="here", tokenizer="there")
    with pytest.raises(BenchmarkError, match="made to a length"):
        lm_eval_task.LMEvalTask(tokenizer="there").examples(None, 0)


@pytest.mark.parametrize(
    ("task", "reply", "right", "score"),
    [
        ("coursera", "A, B and D", "ABD", 1),
        ("coursera", "BA", "ABD", 0.25),
        ("coursera", "ABC", "ABD", 0),
        ("coursera", "", "ABD", 0),
        ("coursera", "The options are A and D.", "AD", 1),
        ("quality", "B. Because A is wrong", "B", 1),
        ("tpo", "None of them", "D", 0),
        ("gsm100", "2 + 3 = 5. The answer is 5, of 7", "The answer is 5", 1),
        ("gsm100", "The answer is 1250.", "so it is 1,250", 1),
        ("gsm100", "so 3 x 6.25 makes 18.75", "18", 1),
        ("gsm100", "no", "7", 0),
        ("sci_fi", "False [fact: False]", "True [fact: False]", 0.5),
        ("sci_fi", "True", "True [fact: False]", 0.5),
        ("sci_fi", "", "True [fact: False]", 0),
        ("sci_fi", "False, I think", "False", 1),
        ("codeU", "The final output is ['a',  1.0] [2]", "[a, 1][2]", 1),
        ("codeU", "[1, 2] but in the end it all becomes three", "[1, 2]", 0),
        ("topic_retrieval_longchat", "It was The Art Of  Sailing.", "The art of sailing", 1),
    ],
)
def test_leval_judges_closed_answers(task, reply, right, score):
    assert leval.judge(task, reply, right) == score


def test_leval_scores_open_answers(twins):
    for task, expected in (("financial_qa", token_f1), ("news_summ", rouge_mean)):
        benchmark = leval.LEval(task=task, folder=twins[leval])
        for question in benchmark.examples(None, 0).questions.values():
            value = benchmark.score(question, "a lighthouse of each rock wrote down")["score"]
            assert value == expected("a lighthouse of each rock wrote down", question.answers)
            assert 0 < value < 1


def test_loogle_counts_masks(twins):
    benchmark = loogle.LooGLE(task="shortdep_cloze", folder=twins[loogle])
    (question,) = benchmark.examples(None, 0).questions.values()
    assert question.facts["masks"] == {"<mask-0>": "Captain Moreau", "<mask-1>": "Port Belgo"}
    half = "Here: {'<mask-0>': 'Captain Moreau', '<mask-1>': 'Belgo'}"
    assert benchmark.score(question, half) == {"score": 0.5, "partial": 1.0}
    assert benchmark.score(question, '{"<mask-1>": "Port Belgo"}') == {"score": 0.5, "partial": 0.5}
    assert benchmark.score(question, "{Captain Moreau}") == {"score": 0.0, "partial": 0.0}


def test_loogle_reads_pairs_written_as_text(tmp_path):
    pairs = "[{'Q': 'who sailed', 'A': 'the captain', 'S': []}, {'Q': 'when', 'A': 'in spring', 'S': []}]"
    write_lines(tmp_path / "longdep_qa.jsonl", [{"input": "Long ago.", "qa_pairs": pairs, "output": "none"}])
    made = loogle.LooGLE(task="longdep_qa", folder=str(tmp_path)).examples(None, 0)
    assert [q.gold for q in made.questions.values()] == ["the captain", "in spring"]


def test_cnnsum_is_rouge_l_over_jiebas_words(twins):
    benchmark = cnnsum.CNNSum(task="XL", folder=twins[cnnsum])
    question = benchmark.examples(None, 0).questions["q0000"]
    reply = "船长写下船的名字。在秋天回家。"
    told, right = cnnsum.cut(reply), cnnsum.cut(question.answers[0])
    assert len(told) < len(reply)  # words, not characters
    expected = 2 * lcs(told, right) / (len(told) + len(right))
    assert 0 < expected < 1
    assert benchmark.score(question, reply)["rouge_l"] == pytest.approx(expected)


def test_mmneedle_stitches_the_picture_where_it_says(twins):
    from PIL import Image

    benchmark = mmneedle.MMNeedle(folder=twins[mmneedle], images=3, grid=2, pixels=48)
    made = benchmark.examples(None, 0)
    captions = {row["caption"]: row["file"] for row in rows_of(f"{twins[mmneedle]}/captions.jsonl")}
    golds = [question.gold for question in made.questions.values()]
    assert golds.count("-1") == 5
    for question in made.questions.values():
        assert [image.size for image in question.images] == [(96, 96)] * 3
        caption = re.search(r"caption: (.+)$", question.prompt, re.MULTILINE)[1]
        wanted = Image.open(f"{twins[mmneedle]}/{captions[caption]}").convert("RGB").tobytes()
        found = [
            f"{i}, {y + 1}, {x + 1}"
            for i, image in enumerate(question.images, start=1)
            for y in range(2)
            for x in range(2)
            if image.crop((48 * x, 48 * y, 48 * x + 48, 48 * y + 48)).tobytes() == wanted
        ]
        assert found == ([] if question.gold == "-1" else [question.gold])
        shown = hashlib.sha256(question.images[0].tobytes()).hexdigest()[:12]
        assert repr(question.images[0]) == f"Image((96, 96), {shown})"


def test_mmneedle_scores_image_row_and_column():
    benchmark, question = mmneedle.MMNeedle(), Question("", ("3, 1, 2",), "3, 1, 2")
    assert benchmark.score(question, "Image 3, row 1, column 2") == {"exact_accuracy": 1.0, "index_accuracy": 1.0}
    assert benchmark.score(question, "3, 2, 1") == {"exact_accuracy": 0.0, "index_accuracy": 1.0}
    assert benchmark.score(question, "-1") == {"exact_accuracy": 0.0, "index_accuracy": 0.0}
    absent = Question("", ("-1",), "-1")
    assert benchmark.score(absent, "1, 1, 1") == {"exact_accuracy": 0.0, "index_accuracy": 0.0}


def test_mmneedle_needs_enough_pictures(twins):
    with pytest.raises(BenchmarkError, match=r"48 pictures here, 10 images of 4 x 4 need 161"):
        mmneedle.MMNeedle(folder=twins[mmneedle], grid=4).examples(None, 0)


def test_other_seeds_draw_other_sets(twins):
    for module in (lost_in_the_middle, altered_numeric_qa, free_form_qa, many_shot, m4le, mmneedle):
        benchmark = tasks_of(module, twins[module])[0]
        length = None if getattr(benchmark, "natural", False) else 1024
        sets = [digest(benchmark.examples(length, seed)) for seed in (0, 1, 2)]
        assert all(one != other for one, other in pairwise(sets)), module.__name__
