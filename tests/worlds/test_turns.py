"""Rows that go on after inserted tokens, and tasks that take turns: layout, log-probabilities, rewards, what goes wrong in a reply, and resumption."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
import text_turns as replies
import torch
from test_plans import made, recorded_log_prob, text_source

from operant.core.errors import BadInput, RunFailed
from operant.core.random import Streams
from operant.core.status import Status
from operant.nets.language import TokenPolicy
from operant.worlds.plans import Groups, Request, Turns
from operant.worlds.text.exchange import Exchange
from operant.worlds.text.models import make_model, make_tokenizer
from operant.worlds.text.source import TextSource
from operant.worlds.text.tasks import TEXT_TASKS
from operant.worlds.text.verifiers import VerifierPool


@dataclass(frozen=True)
class Interrupted(Groups):
    """Two tokens, then something inserted, then two more; the last row of each prompt is over after its first two."""

    def requests(self, problems):
        prompts = problems.draw(self.prompts)
        first = yield [Request(prompt.tokens, self.n, max_new_tokens=1, group=prompt.index) for prompt in prompts]
        rows = range(len(first.request))
        asked = [
            Request(continues=row, reward=0.5, over="ended" if row else "cut")
            if row % self.n == self.n - 1
            else Request(continues=row, inserted=(2,), reward=0.25, max_new_tokens=1)
            for row in rows
        ]
        going = [row for row in rows if not asked[row].over]
        second = yield asked
        assert [second.prompts[place][-1] for place in second.request.tolist()] == [2] * len(going)
        yield [Request(continues=row, reward=-1.0, over="cut") for row in going]


@pytest.mark.parametrize("kind", ["text", "sequences"])
def test_what_is_inserted_is_read_and_never_learned_from(kind: str):
    source, policy = made(kind, Interrupted(prompts=2, n=3))
    rollout = source.score(source.sample(policy, 0))
    extras, last = rollout.extras, rollout.terminated | rollout.truncated
    assert rollout.shape[1] == 6
    for seed in range(rollout.shape[0]):
        for row in range(6):
            over = row % 3 == 2
            length = 1 if over else 3
            assert extras["present"][seed, row].tolist() == [step < length for step in range(rollout.shape[2])]
            chosen = [0] if over else [0, 2]
            assert rollout.mask[seed, row].nonzero().flatten().tolist() == chosen == extras["drawn"][seed, row].nonzero().flatten().tolist()
            assert last[seed, row].nonzero().flatten().tolist() == [length - 1]
            assert bool(rollout.terminated[seed, row].any()) == (over and row > 0)
            if not over:
                assert rollout.action[seed, row, 1] == 2
                assert extras["turn"][seed, row, :3].tolist() == [0, 0, 1]
            scored = rollout.reward[seed, row, length - 1] - (0.5 if over else -1.0)
            if kind == "text":
                assert scored == 0  # nothing of this is right
            if not over:
                assert rollout.reward[seed, row, 0] == 0.25
    assert "unfinished" not in extras
    assert ((recorded_log_prob(policy, rollout) - rollout.log_prob) * rollout.mask).abs().max() < 1e-4
    assert (rollout.log_prob[~rollout.mask] == 0).all() and (extras["entropy"][~rollout.mask] == 0).all()


@dataclass(frozen=True)
class Wrong(Groups):
    """A plan that continues a row in a way that cannot be."""

    row: int = 0
    times: int = 1
    again: bool = False

    def __post_init__(self):
        pass

    def requests(self, problems):
        prompt = problems.draw(1)[0]
        yield [Request(prompt.tokens, max_new_tokens=1, group=prompt.index)]
        if self.again:
            yield [Request(continues=0, over="cut")]
        yield [Request(continues=self.row, max_new_tokens=1)] * self.times


@pytest.mark.parametrize(("plan", "why"), [(Wrong(row=3), "is not there"), (Wrong(times=2), "goes on once at a time"), (Wrong(again=True), "is over")])
def test_a_row_that_cannot_go_on_is_named(plan, why: str):
    source, policy = text_source(plan)
    with pytest.raises(RunFailed, match=f"Wrong continues row {plan.row}, which {why}"):
        source.sample(policy, 0)


def turns_source(task, seed: int = 0, n: int = 4, **options) -> tuple[TextSource, TokenPolicy]:
    tokenizer = make_tokenizer(task.alphabet)
    policy = TokenPolicy(make_model("llama", len(tokenizer), 3, width=16, layers=1, heads=2, positions=128))
    return TextSource(task, tokenizer, Turns(prompts=2, n=n), Streams([seed]), **options), policy


@pytest.mark.parametrize("task", [replies.Echo(), replies.Confined(enough=2)], ids=["here", "in child processes"])
def test_a_conversation_is_laid_out_turn_by_turn(task):
    source, policy = turns_source(task)
    rollout = source.score(source.sample(policy, 0))
    source.close()
    assert (rollout.status == Status.OK).all()
    assert ((recorded_log_prob(policy, rollout) - rollout.log_prob) * rollout.mask).abs().max() < 1e-4
    turn, present = rollout.extras["turn"][0], rollout.extras["present"][0]
    assert rollout.terminated.any(-1).all()
    for row in range(rollout.shape[1]):
        state, length = None, int(present[row].sum())
        assert int(turn[row, :length].max()) == task.enough - 1 and present[row, :length].all()
        assert (turn[row, :length].diff() >= 0).all()
        for number in range(task.enough):
            there = turn[row] == number
            said = rollout.action[0, row, there & rollout.mask[0, row] & present[row]]
            text = source.tokenizer.decode(said.tolist(), skip_special_tokens=True).partition(".")[0]
            reply = task.reply(source.problem(int(rollout.group[0, row])), text, state)
            state = reply.state
            heard = rollout.action[0, row, there & ~rollout.mask[0, row] & present[row]]
            assert source.tokenizer.decode(heard.tolist()) == ("" if reply.done else reply.text)
            place = int((there & rollout.mask[0, row] & present[row]).nonzero().max())
            assert rollout.reward[0, row, place] == reply.reward
            rollout.reward[0, row, place] = 0
    assert not rollout.reward.any()


def test_a_row_is_cut_when_its_turns_are_used_up_or_no_room_is_left():
    source, policy = turns_source(replies.Echo(enough=9))
    rollout = source.sample(policy, 0)
    assert rollout.truncated.any(-1).all() and "unfinished" not in rollout.extras and int(rollout.extras["turn"].max()) == 3
    source, policy = turns_source(replies.Echo(enough=9), limit=9)
    rollout = source.sample(policy, 0)
    assert rollout.truncated.any(-1).all() and rollout.extras["present"].sum(-1).max() <= 9


@pytest.mark.parametrize(
    ("task", "status", "message"),
    [
        (replies.Raises, Status.CRASHED, "ValueError: no reply today"),
        (replies.Leaves, Status.CRASHED, "SystemExit: 3"),
        (replies.Long, Status.MALFORMED, "5 characters, where the task allows 4"),
        (replies.Unwritable, Status.MALFORMED, "the tokenizer cannot write 'Z'"),
        (replies.NoText, Status.MALFORMED, "text int"),
        (replies.NoNumber, Status.MALFORMED, "its reward is nan"),
        (replies.NoReply, Status.CRASHED, "TypeError: None is no Reply"),
        (replies.NoReplyInside, Status.CRASHED, "TypeError: 'H' is no Reply"),
        (replies.NoData, Status.MALFORMED, "its state is no plain data"),
        (replies.FarTooMuch, Status.MALFORMED, "its state has 20,002 characters"),
        (replies.Dies, Status.CRASHED, "signal 6"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_reply_that_fails_is_a_status_and_no_reward(task, status, message: str):
    source, policy = turns_source(task(), n=1)
    rollout = source.score(source.sample(policy, 0))
    report = source.report()
    source.close()
    assert (rollout.status == int(status)).all() and not rollout.reward.any()
    told = report["messages"][status.name.lower()]
    assert report["statuses"] == {status.name.lower(): 2} and message in told and told.startswith("the reply: ") and "verifier" not in told


def test_a_reply_that_hangs_is_ended():
    task = replies.Hangs()
    exchange = Exchange(task, make_tokenizer(task.alphabet), chat=False)
    exchange._pool = VerifierPool(replies.Hangs, time_limit=0.3, made_of={})
    source, policy = turns_source(task, n=1)
    source.exchange = exchange
    rollout = source.score(source.sample(policy, 0))
    source.close()
    assert (rollout.status == int(Status.TIMEOUT)).all() and not rollout.reward.any()


def test_a_restored_source_goes_on_bit_for_bit():
    source, policy = turns_source(replies.Echo())
    source.sample(policy, 0)
    state = source.state_dict()
    expected = [source.score(source.sample(policy, step)).tensors() for step in range(2)]
    restored, _ = turns_source(replies.Echo())
    restored.load_state_dict(state)
    for step in range(2):
        found = restored.score(restored.sample(policy, step)).tensors()
        assert all(torch.equal(value, found[name]) for name, value in expected[step].items())


def test_replies_cannot_write_special_tokens():
    tokenizer = make_tokenizer(replies.Echo.alphabet + "<eos>")
    exchange = Exchange(replies.Echo(), tokenizer, chat=False)
    assert tokenizer.eos_token_id not in exchange.inserted("a<eos>b", 5) and len(exchange.inserted("a<eos>b", 5)) == 7


def test_in_a_chat_a_reply_is_a_users_message():
    tokenizer = make_tokenizer(replies.Echo.alphabet + "[]UA")
    tokenizer.chat_template = (
        "{% for m in messages %}[{{ 'U' if m.role == 'user' else 'A' }}:{{ m.content }}{{ eos_token }}]{% endfor %}{% if add_generation_prompt %}[A:{% endif %}"
    )
    exchange = Exchange(replies.Echo(), tokenizer, chat=True)
    ended, cut = (tokenizer.decode(exchange.inserted("b1", last)) for last in (tokenizer.eos_token_id, 3))
    assert ended == "][U:b1<eos>][A:" and cut == "<eos>" + ended


@pytest.mark.parametrize("name", ["twenty-questions", "lookup"])
def test_the_tasks_own_traces(name: str):
    task, rng = TEXT_TASKS[name](), np.random.default_rng(0)
    exchange = Exchange(task, make_tokenizer(task.alphabet), chat=False)

    def won(problem, said) -> bool:
        total, state = 0.0, None
        for text in said:
            assert len(text) <= task.longest_turn
            reply = task.reply(problem, text, state)
            assert len(reply.text) <= task.longest_reply and set(text + reply.text) <= set(task.alphabet)
            total, state = total + reply.reward, reply.state
            if reply.done:
                break
        return total + task.verifier.score(problem, text) > 0.5

    problems = [task.problem(rng) for _ in range(300)]
    assert all(won(problem, task.trace(problem, rng, 0.0)) for problem in problems)
    share = np.mean([won(problem, task.trace(problem, rng)) for problem in problems])
    assert 0.15 < share < 0.6
    for problem in problems[:50]:
        tokens, own = exchange.worked(problem, task.trace(problem, rng), 1)
        assert len(tokens) == len(own) <= task.longest_completion + 1 and own[-1]
    for split in task.splits:
        held = task.held_out(split, 128)
        assert len({task._identity(problem) for problem in held}) == 128
        assert held == TEXT_TASKS[name]().held_out(split, 128)
        assert split in task.apart or not {task._key(problem) for problem in held} & {task._key(problem) for problem in problems}
    for text in ["", "=", "a" * 60, "?" * 9, "=" * 40, "ba9", "\ud83d\ude00", *("".join(rng.choice(list(task.alphabet), size=5)) for _ in range(300))]:
        reply = task.reply(problems[0], text, None)
        assert isinstance(reply.text, str) and 0 <= task.verifier.score(problems[0], text) <= 1 and isinstance(task.answer(text), str)
    with pytest.raises(BadInput, match="the nearest is 0"):
        task.trace(problems[0], rng, -1)
    with pytest.raises(BadInput, match="the nearest is 20"):
        type(task)(turns=21)


# ---------------------------------------------------------------------------------------------------------------------------- methods, runs


def test_the_answers_likelihood_is_measured_behind_every_turn():
    """Against a plain forward pass for each history."""
    task = TEXT_TASKS["lookup"]()
    source, policy = turns_source(task, n=3)
    rollout = source.score(source.sample(policy, 0))
    found = source.measure({"turn_answer_likelihood", "start_answer_likelihood"}, rollout, policy)
    turn, present = rollout.extras["turn"][0], rollout.extras["present"][0]

    def likelihood(row: int, length: int) -> float:
        index = int(rollout.group[0, row])
        history = [*source.prompt(index).tokens, *rollout.action[0, row, :length].tolist(), *source.tokenizer.encode("=", add_special_tokens=False)]
        answer = source.tokenizer.encode(source.problem(index).answer, add_special_tokens=False)
        with torch.no_grad():
            log_p = policy.model(torch.tensor([history + answer])).logits[0].log_softmax(-1)
        return float(torch.stack([log_p[len(history) + k - 1, token] for k, token in enumerate(answer)]).mean().exp())

    for row in range(rollout.shape[1]):
        assert abs(float(found["start_answer_likelihood"][0, row]) - likelihood(row, 0)) < 1e-5
        last = int(turn[row, present[row]].max())
        known = 0
        for number in range(last + 1):
            places = (present[row] & (turn[row] == number)).nonzero().flatten()
            known = int(places.max()) + 1 if number < last else known
            expected = likelihood(row, known)
            assert (found["turn_answer_likelihood"][0, row, places] - expected).abs().max() < 1e-5


def test_information_gain_telescopes_and_stands_on_the_last_tokens_of_turns():
    from operant.core.registry import configure, get_method

    task = TEXT_TASKS["lookup"]()
    source, policy = turns_source(task, n=4)
    spine = get_method("igpo").build(configure("igpo", {}))
    rollout = source.score(source.sample(policy, 0))
    rollout.extras |= source.measure(spine.shape[0].needs, rollout, policy)
    gain = spine.shape[0](rollout) - rollout.reward
    likelihood = rollout.extras["turn_answer_likelihood"]
    last = (rollout.terminated | rollout.truncated).nonzero()[:, 2]
    for row in range(rollout.shape[1]):
        start = float(rollout.extras["start_answer_likelihood"][0, row])
        assert abs(float(gain[0, row].sum()) - (float(likelihood[0, row, last[row]]) - start)) < 1e-6
        places = gain[0, row].nonzero().flatten()
        assert rollout.mask[0, row, places].all() and gain[0, row, last[row]] == 0
    rollout.reward = rollout.reward + gain
    advantage = spine.credit(rollout)
    assert (advantage[~rollout.mask] == 0).all() and advantage[rollout.mask].abs().max() > 0
    turn = rollout.extras["turn"]
    for row in range(rollout.shape[1]):
        for number in range(int(turn[0, row].max()) + 1):
            assert len(set(advantage[0, row, rollout.mask[0, row] & (turn[0, row] == number)].tolist())) == 1


def test_a_run_of_turns_from_training_to_the_report(use_small_cache, tmp_path):
    import json

    import operant
    from operant.evaluate.records import load_run
    from operant.evaluate.report import write_report

    run = operant.train("grpo", "text:lookup", steps=2, threads=1, episodes=3, prompts=2, group_size=4, out=tmp_path / "run", progress=False)
    found = run.evaluate(episodes=3, seed=0)
    assert found["score"] == run.result["score"] and "pass_at_k" in found
    assert run.evaluate(episodes=3, decoder="majority", samples=4)["score"]["name"] == "pass@1"
    rows = [json.loads(row) for row in (run.path / "completions.jsonl").read_text().splitlines()]
    assert rows and all({"turn", "reply"} <= set(token) for row in rows for token in row["tokens"])
    assert all(not token["mask"] for row in rows for token in row["tokens"] if token["reply"])
    write_report([load_run(run.path)], tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert '"turn"' in page and '"reply"' in page


@pytest.mark.parametrize(
    ("method", "task", "line"),
    [
        ("cure", "text:lookup", "text:lookup takes turns, and this method's plan"),
        ("igpo", "text:arithmetic", "text:arithmetic does not reply"),
    ],
)
def test_a_method_and_a_task_that_do_not_fit_are_refused_in_one_line(use_small_cache, tmp_path, method: str, task: str, line: str):
    import operant

    with pytest.raises(BadInput, match=line) as raised:
        operant.train(method, task, steps=2, out=tmp_path / "run", progress=False)
    assert "\n" not in str(raised.value) and not (tmp_path / "run").exists()
