"""The world of text tasks: a problem set, a verifier, and a language model as the policy."""

from __future__ import annotations

import copy
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from operant.core.errors import BadInput, unknown
from operant.core.random import Streams
from operant.core.records import Evaluation
from operant.core.registry import read_settings
from operant.core.seeds import derive_seed
from operant.nets.language import TokenCritic, TokenPolicy
from operant.worlds.base import SampleWorkers, World
from operant.worlds.plans import Groups, Plan, Turns
from operant.worlds.text.builtin_verifiers import NoisyVerifier, make_verifier
from operant.worlds.text.options import TextOptions
from operant.worlds.text.rewards import RewardVerifier
from operant.worlds.text.tasks import TEXT_TASKS, TextTask
from operant.worlds.text.tasks.base import Problem
from operant.worlds.text.tasks.turns import TurnTask

if TYPE_CHECKING:
    from operant.worlds.text.evaluation import Answers
    from operant.worlds.text.exchange import Exchange
    from operant.worlds.text.verifiers import Scorer
    from operant.worlds.text.vllm import Vllm

SAMPLES = 16  # completions a problem in an evaluation: pass@k up to this k
EPISODES = 128  # problems of an evaluation
LOOKED_AT = 256  # training problems of a task that draws them whose lengths are looked at before a run
BATCHES = 4  # in which workers draw a round's answers, however many they are: bits hang on a batch's size
AT_ONCE = 4096  # prompts that are tokenized together
# Largest |log ratio| of the training pass to the sampler in bfloat16. A batch's shape moves log-probabilities: by up to 0.25 in 768 tokens of an 8-layer model.
BFLOAT16_RATIO_TOLERANCE = 1.0


class TextWorld(World):
    """One text task.

    Args:
        name: a key of `TEXT_TASKS`.
        options: fields of `TextOptions`, values or text. `verifier` is what scores completions instead of the task's own, in training and, where
            `evaluate_with` names no other, in evaluation: a callable `(problem, completion) → float`, or "module:function". Unless it says that it is
            `trusted`, it runs in child processes with limits, and must be importable there.

    Attributes:
        base: folder of the policy that training starts from where no model was given, in the Hugging Face format; None for fresh weights.
        taught: the same of the teacher; None where none was made.
        longest: tokens of the longest answer, with the end token.
    """

    kind = "text"
    scheme = "text"
    stacked = False
    score = "pass@1"
    step_unit = "iterations"
    answers = True
    sampled_beside = True
    makes_base = True
    default_steps = 100
    option_type = TextOptions

    def __init__(self, name: str, **options: Any):
        self.task = f"{self.scheme}:{name}"
        self.options: TextOptions = read_settings(TextOptions, options, self.task, "option")
        self.problems = self.find_task(name)
        self.verifier = make_verifier(self.options.verifier, self.problems.verifier)
        self.evaluator = self._evaluator()
        try:
            from operant.worlds.text.models import load_tokenizer, make_tokenizer
        except ImportError as error:
            raise BadInput(f"{self.task} needs transformers: pip install 'operant[language]'") from error
        model = self.options.model
        self.tokenizer = make_tokenizer(self.problems.alphabet) if model is None else load_tokenizer(model)
        template = self.tokenizer.chat_template is not None
        self.chat = model is not None and template if self.options.chat is None else self.options.chat
        if self.chat and not template:
            raise BadInput(f"{self.task}: chat=true, and the tokenizer{'' if model is None else f' of {model}'} has no chat template; leave chat out")
        self.longest = self.options.max_new_tokens or self.problems.longest_completion + 1
        self.base: Path | None = None
        self.taught: Path | None = None
        self._kept_judge: tuple[Any, Scorer] | None = None  # of evaluations: the verifier, and what scores by it
        self._exchange: Exchange | None = None
        self._vllm: Vllm | None = None
        self._clean = False
        self._reference_notes: list[str] = []

    @staticmethod
    def find_task(name: str) -> TextTask:
        """The task that the name behind the colon stands for."""
        if name not in TEXT_TASKS:
            raise unknown("text task", name, TEXT_TASKS, f"known: {', '.join(TEXT_TASKS)}; --import FILE.py brings one of your own")
        return TEXT_TASKS[name]()

    @property
    def modules(self) -> Sequence[str]:
        return (type(self.problems).__module__,)

    @property
    def parameters(self) -> int:
        if self.options.model is None:
            return 0
        from operant.worlds.text.models import count_parameters

        return count_parameters(self.options.model)

    @property
    def drawn_apart(self) -> bool:
        return self.options.engine == "vllm"

    @property
    def files(self) -> Sequence[Path]:
        return [folder for folder in (self.base, self.taught) if folder is not None]

    @property
    def learning_rate_scale(self) -> float:
        """What default learning rates, which are for a million parameters, are multiplied by for the given model of N: (1M / N)^½, at most 1.

        A rule of thumb: Adam's best rate for hidden layers falls with their width (arXiv:2203.03466, of training from scratch), and at equal depth parameters
        grow with its square. An adapter takes ten times as much (Schulman et al., "LoRA Without Regret", 2025). TRL and verl start at 1e-6 whatever the size.
        """
        if self.options.model is None:
            return 1.0
        rate = (1e6 / self.parameters) ** 0.5
        return min(1.0, 10 * rate if self.options.lora_rank else rate)

    def _evaluator(self) -> Any:
        """What scores completions in evaluations; None for the task's own verifier."""
        chosen = self.options.evaluate_with
        if chosen is None:
            if isinstance(self.verifier, RewardVerifier):  # what it says is no matter of right and wrong
                return None
            return self.verifier.base if isinstance(self.verifier, NoisyVerifier) else self.verifier
        return None if chosen == "task" else make_verifier(chosen, self.problems.verifier)

    @property
    def notes(self) -> list[str]:
        """What a person should know before a run, a line each: what was dropped from the problems, and which of their own answers `check` saw rejected."""
        return [f"{self.task}: {line}" for line in (*self.problems.notes, *self._reference_notes)]

    @property
    def to_check(self) -> str:
        return "the problems and their own answers" + (", and the model" if self.options.model is not None else "")

    @property
    def base_split(self) -> str:
        """The held-out set that tells how able a base policy is."""
        return self.problems.base_split

    @property
    def base_range(self) -> tuple[float, float] | None:
        """The pass@1 that a base policy is to have, where the task says so."""
        return self.problems.base_range

    @property
    def teacher_learning_rate(self) -> float | None:
        """The learning rate with which a teacher is first tried, where the task says so."""
        return self.problems.teacher_learning_rate

    @property
    def teacher_range(self) -> tuple[float, float] | None:
        """The same of a teacher."""
        return self.problems.teacher_range

    @classmethod
    def from_name(cls, name: str, **options: Any) -> TextWorld:
        return cls(name, **options)

    @staticmethod
    def names() -> dict[str, str]:
        return dict.fromkeys(TEXT_TASKS, "language model trained from scratch, verifier (extra: language)")

    def fingerprint(self) -> str:
        return f"{self.task} {self.problems!r}"

    def from_scratch(self, *, clean: bool = False) -> TextWorld:
        """The same task without options: the world that base policies and teachers are made in.

        Args:
            clean: its traces are all right.
        """
        from operant.worlds.text.models import make_tokenizer

        twin = copy.copy(self)
        twin.options, twin.verifier, twin.evaluator, twin.chat, twin.base, twin._clean = TextOptions(), None, None, False, None, clean
        twin._kept_judge = twin._exchange = twin._vllm = None
        twin.tokenizer, twin.longest = make_tokenizer(self.problems.alphabet), self.problems.longest_completion + 1
        return twin

    def steps_of(self, loop: str) -> int:
        return 1_500 if loop == "pairs" else self.default_steps  # its steps are updates

    def device(self) -> torch.device:
        """Language models train on the accelerator where there is one."""
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")

    def check_source(self, plan: Any, seeds: int, workers: SampleWorkers | None) -> None:
        kind = type(plan)
        if not isinstance(plan, Plan):
            raise BadInput(f"{self.task} is sampled by a plan of completions; this method's plan is {kind.__name__}")
        if self.takes_turns and not isinstance(plan, Turns) and kind is not Groups:
            raise BadInput(f"{self.task} takes turns, and this method's plan ({kind.__name__}) does not; methods with plain groups of answers do, such as grpo")
        if isinstance(plan, Turns) and not self.takes_turns:
            raise BadInput(f"{self.task} does not reply: a method that takes turns needs a task that does (text:twenty-questions, text:lookup)")
        if self.drawn_apart and (callable(plan.temperature) or plan.logits is not None):
            raise BadInput(f"{self.task}: --engine vllm draws from the policy as it is, and this method's plan ({kind.__name__}) does not; leave it out")
        if self.drawn_apart and self.options.generation_batch_size is not None:
            raise BadInput(f"{self.task}: --engine vllm makes its batches by itself; leave --generation-batch-size out")
        if workers is not None:
            self._check_beside(plan, workers)

    def _check_beside(self, plan: Plan, workers: SampleWorkers) -> None:
        """Raise `BadInput` where such processes cannot draw what a plan asks for."""
        from operant.worlds.workers import check_start

        if plan.logits is not None:
            raise BadInput(f"{workers.given}: workers draw from the policy as it is, and this method's plan ({type(plan).__name__}) does not; leave them out")
        if self.drawn_apart:
            if workers.count > 1 or workers.on is not None or not workers.staleness:
                raise BadInput(f"{workers.given}: vLLM is the one process that draws; --sample-workers 1 --staleness 1 lets it draw while this one learns")
            return
        size, rows = self._batch_size(plan, workers), plan.iteration_rows
        if workers.count > (batches := -(-rows // size)):
            smaller = f", or --generation-batch-size {rows // workers.count:,}" if rows >= workers.count else ""
            what = f"a round of {rows:,} answers in batches of {size:,} keeps at most {batches:,} of them busy"
            raise BadInput(f"{workers.given}: {what}; nearest: {workers.option} {batches}{smaller}")
        check_start(plan.temperature, f"the temperature of {type(plan).__name__}", workers)

    def _batch_size(self, plan: Plan, workers: SampleWorkers | None) -> int | None:
        """Answers that are drawn at a time; None for all of a round."""
        if workers is None or self.options.generation_batch_size is not None:
            return self.options.generation_batch_size
        return -(-plan.iteration_rows // BATCHES)

    def decided(self, plan: Plan, workers: SampleWorkers) -> dict[str, Any]:
        return {} if self.drawn_apart else {"generation_batch_size": self._batch_size(plan, workers)}

    def check_demonstrations(self) -> None:
        """Tasks write traces, files hold worked solutions."""

    def check_teacher(self) -> None:
        if self.options.model is not None and self.options.teacher is None:
            raise BadInput(f"{self.task}: this method follows a teacher, which can be made only where the policy is made from scratch: give one as --teacher")

    def check(self, plan: Any, seeds: Sequence[int], episodes: int | None = None, *, workers: SampleWorkers | None = None) -> None:
        """Look for what would stop a run later: in all problems of a file, else in the first ones; in the rows' own answers, which are scored; and in the
        models that were given, which are loaded.

        Raises:
            BadInput: the tokenizer cannot write the task's characters, the model lacks tokens of it, a prompt and its answer do not fit the model, the
                teacher reads other tokens, a verifier rejects the rows' own answers (`references.check_references`), or a model cannot be trained here
                (`probe.probe`).
        """
        from operant.worlds.text.models import load_config, load_tokenizer, longest_row, other_layers, unwritable, why_no_longer
        from operant.worlds.text.probe import probe

        super().check(plan, seeds, episodes, workers=workers)
        options, tokenizer = self.options, self.tokenizer
        if self.drawn_apart:
            from operant.worlds.text.models import make_model
            from operant.worlds.text.vllm import check_vllm

            if plan is None:
                raise BadInput(f"{self.task}: --engine vllm draws answers in training, and this method trains on none; leave it out")
            check_vllm(make_model("llama", len(tokenizer), 0).config if options.model is None else load_config(options.model))
        positions, why = self._positions, ""
        if options.model is not None:
            if missing := unwritable(tokenizer, self.problems.alphabet):
                shown = " ".join(map(repr, missing[:10])) + " …" * (len(missing) > 10)
                raise BadInput(f"{self.task}: the tokenizer of {options.model} cannot write {shown}, which the problems hold; take another model")
            config = load_config(options.model)
            if kinds := other_layers(config):
                raise BadInput(f"model {options.model} has layers of {kinds}: only models whose layers all are attention can be trained here")
            if (tokens := 1 + max(tokenizer.get_vocab().values())) > config.vocab_size:
                raise BadInput(f"model {options.model} has {config.vocab_size} tokens and its tokenizer {tokens}: they do not belong together")
            positions, why = longest_row(config), why_no_longer(config)
        if options.teacher is not None and load_tokenizer(options.teacher).get_vocab() != tokenizer.get_vocab():
            raise BadInput(f"{self.task}: the teacher {options.teacher} reads other tokens than the policy; take one with the same tokenizer")
        if options.model is not None and plan is not None and options.max_new_tokens is None and not self.problems.worked:
            raise BadInput(f"{self.task} holds no worked solutions, so nothing says how long an answer may be: give --max-new-tokens, for example 256")
        self._check_lengths(seeds[0], EPISODES if episodes is None else episodes, positions, why)
        self._reference_notes = self._score_references()
        computed = getattr(torch, options.dtype)
        if options.model is not None:
            probe(self.policy(None, Streams([seeds[0]])), computed)
        elif options.lora_rank:
            self.policy(None, Streams([seeds[0]]))  # a model made from scratch has the layers of the base policy
        if options.teacher is not None:
            probe(self.teacher(), computed)

    def _check_lengths(self, seed: int, tests: int, positions: int | None, why: str) -> None:
        """Raise for the first prompt that cannot be made, or that leaves no room for the longest answer."""
        from operant.worlds.text.source import problems_of_a_run, tokenize_prompts

        def lengths(problems: Sequence[Problem]) -> list[int]:
            try:
                return [len(tokens) for tokens in tokenize_prompts(self.tokenizer, problems, chat=self.chat)]
            except Exception as error:  # templates and tokenizers raise what they like
                if len(problems) > 1:
                    return [length for problem in problems for length in lengths([problem])]
                what = "the chat template" if self.chat else "the tokenizer"
                reason = str(error).strip().partition("\n")[0] or type(error).__name__
                raise BadInput(
                    f"{self.task}: {what} of {options.model} cannot write the prompt {problems[0].prompt[:40]!r}: {reason}"
                    + "; --chat false leaves the template out" * self.chat
                ) from error

        options, limit = self.options, self.longest
        named = problems_of_a_run(self.problems, seed, tests, LOOKED_AT)
        beside = lengths([named[0][1]])[0]  # more than what a template puts around a prompt
        if positions is None:
            return
        # A character is at most four tokens, its bytes: most rows of most files are far from the limit, and need not be tokenized to know it.
        near = [(name, problem) for name, problem in named if 4 * len(problem.prompt) + beside > positions - limit]
        found = [length for start in range(0, len(near), AT_ONCE) for length in lengths([problem for _, problem in near[start : start + AT_ONCE]])]
        longer = [(name, length) for (name, _), length in zip(near, found, strict=True) if length + limit > positions]
        if not longer:
            return
        (name, length), most = longer[0], max(found)
        raise BadInput(
            f"{self.task}: {name} has {length:,} prompt tokens, which with an answer of up to {limit:,} do not fit the model's {positions:,} positions{why}"
            + (f", nor do {len(longer) - 1:,} other prompts" if len(longer) > 1 else "")
            + (f"; answers of up to {positions - most:,} would" if most < positions else "; take a model of longer context or leave long problems out")
        )

    def _score_references(self) -> list[str]:
        """What came of scoring each row's own answer by the verifiers of training and of evaluation."""
        from operant.worlds.text.references import check_references, check_verifier

        references = self.problems.references
        chosen = self.verifier.base if isinstance(self.verifier, NoisyVerifier) else self.verifier
        used = [(chosen, self.options.verifier)] + [(self.evaluator, self.options.evaluate_with)] * (self.evaluator is not chosen)
        notes: dict[str, None] = {}
        for verifier, spec in used:
            scoring, name = (self.problems.verifier, "of the task") if verifier is None else (verifier, spec if isinstance(spec, str) else repr(spec))
            if not references:
                if verifier is not None:
                    problems, rng = self.problems.held_out(self.base_split, 2), np.random.default_rng(0)
                    check_verifier(problems, [self.problems.solution(problem, rng) for problem in problems], scoring, task=self.task, name=name)
                continue
            notes |= dict.fromkeys(check_references(references, scoring, task=self.task, name=name, imitated=self.options.model is None))
        return list(notes)

    @property
    def _positions(self) -> int:
        """Of a model made from scratch."""
        return 2 * (self.problems.longest_prompt + self.problems.longest_completion + 1)

    def policy(self, net: Any, streams: Streams) -> TokenPolicy:
        """The policy that training starts from: the given model, else the base policy, else fresh weights; with an adapter where one was asked for.

        What is trained is float32; in bfloat16, weights beside an adapter are bfloat16 themselves.

        Args:
            net: a `TokenCritic` for a value function beside it, or None.
        """
        from operant.worlds.text.models import load_model, make_model, recompute_layers

        options, seed = self.options, streams.seeds[0]
        critic = net if isinstance(net, TokenCritic) else None
        dtype = torch.bfloat16 if options.lora_rank and options.dtype == "bfloat16" else torch.float32
        if (start := options.model or self.base) is not None:
            model = load_model(start, dtype)
        else:
            ends = {"pad_token_id": self.tokenizer.pad_token_id, "eos_token_id": self.tokenizer.eos_token_id}
            model = make_model("llama", len(self.tokenizer), derive_seed(seed, "initialize/model"), positions=self._positions, **ends).to(dtype)
        kind = TokenPolicy
        if options.lora_rank:
            try:
                from operant.worlds.text.lora import LoraPolicy, add_adapter
            except ImportError as error:
                raise BadInput(f"{self.task}: lora_rank={options.lora_rank} needs peft: pip install 'operant[language]'") from error
            add_adapter(model, options.lora_rank, derive_seed(seed, "initialize/adapter"))
            kind = LoraPolicy
        if options.gradient_checkpointing:
            recompute_layers(model)
        return in_dtype(kind, model, self.options.dtype, critic)

    def teacher(self, seeds: int = 1) -> TokenPolicy:
        """The policy that a method of distillation follows, frozen: the given model, else the one that was made (`loops.base_policy.ensure_teacher`).

        Raises:
            BadInput: neither is there.
        """
        from operant.worlds.text.models import load_model

        if (source := self.options.teacher or self.taught) is None:
            raise BadInput(f"{self.task}: this method follows a teacher, and none is there; give one as --teacher, a folder or hub id")
        dtype = torch.bfloat16 if self.options.dtype == "bfloat16" else torch.float32
        return in_dtype(TokenPolicy, load_model(source, dtype), self.options.dtype).requires_grad_(False)

    def source(self, plan: Any, streams: Streams, *, workers: SampleWorkers | None = None) -> Any:
        from operant.worlds.text.source import TextSource

        self.check_source(plan, len(streams.seeds), workers)
        if self.takes_turns and type(plan) is Groups:
            plan = Turns(plan.prompts, plan.n, plan.temperature)
        verifier = self.problems.verifier if self.verifier is None else self.verifier
        settings = {"limit": self.longest, "chat": self.chat, "verifier_workers": self.options.verifier_workers}
        tokenizer, ahead = self.tokenizer, 0 if workers is None else workers.staleness
        if self.drawn_apart:
            settings["engine"] = self._engine(plan)
        elif workers is None:
            settings["batch_size"] = self._batch_size(plan, workers)
        else:
            from operant.worlds.text.workers import AnswerWorkers

            settings["workers"] = AnswerWorkers(workers, self._batch_size(plan, workers))
        if not ahead:
            return TextSource(self.problems, tokenizer, plan, streams, verifier, **settings)
        from operant.worlds.text.ahead import Ahead

        tokenizer = copy.deepcopy(tokenizer)  # fast ones are for one thread at a time
        return Ahead(TextSource(self.problems, tokenizer, plan, streams, verifier, **settings), ahead)

    def _engine(self, plan: Plan) -> Vllm:
        """vLLM, which starts when it first draws, and is kept until `close`: it takes a minute to start."""
        from operant.worlds.text.vllm import Vllm

        if self._vllm is None:
            self._vllm = Vllm(self.options.dtype, plan.iteration_rows)
        return self._vllm

    def demonstrations(self, policy: Any, batch_size: int, streams: Streams) -> Traces:
        return Traces(self, batch_size, streams)

    def decoded_policy(self, policy: TokenPolicy, decode: str, samples: int) -> TokenPolicy:
        """A policy that answers in evaluations by a decoder of `samples` completions a problem (`worlds.text.decoders`).

        Raises:
            BadInput: there is no such decoder.
        """
        from operant.worlds.text.decoders import get_decoder

        policy.decode = (decode, 1 if get_decoder(decode).greedy else samples)
        return policy

    def evaluate(self, policy: TokenPolicy, seeds: int, *, episodes: int = EPISODES, seed: int = 0) -> Evaluation:
        """pass@1 on held-out problems of the first split, from 16 completions each at temperature 1, and beside it the mean on longer ones where there are.

        Of a policy with a decoder (`decoded_policy`), the share of problems whose chosen answer is right.
        """
        decode, samples = policy.decode or ("sample", SAMPLES)
        answers = self._answers(policy, self.problems.splits[0], episodes, samples, seed, decode)
        values = answers.decoded
        details = {
            "correct": answers.correct[None],
            "samples": samples,
            "distinct": answers.distinct[None],
            "entropy": answers.entropy[None],
        }
        if answers.turns is not None:
            details["turns"] = answers.turns[None]
        if answers.fault:
            details |= {"unscored": answers.unscored[None], "fault": np.array([answers.fault])}
        if "length" in self.problems.splits:
            longer = self.count_correct(policy, "length", max(1, episodes // 2), SAMPLES // 4, seed)
            details["longer"] = np.array([longer.mean() / (SAMPLES // 4)])
        return Evaluation(self.score, values[None], details)

    def count_correct(self, policy: TokenPolicy, split: str, problems: int, samples: int, seed: int = 0) -> np.ndarray:
        """How many of `samples` completions are right, for the first held-out problems of a split: `[P]`."""
        return self._answers(policy, split, problems, samples, seed).correct

    def _answers(self, policy: TokenPolicy, split: str, problems: int, samples: int, seed: int, decode: str = "sample") -> Answers:
        from operant.worlds.text.decoders import get_decoder
        from operant.worlds.text.evaluation import evaluate_policy

        return evaluate_policy(
            policy,
            self.problems.held_out(split, problems),
            self.tokenizer,
            samples=samples,
            max_new_tokens=self.longest,
            seed=derive_seed(seed, "evaluation", split),
            verifier=self._judge(),
            answer=self.problems.answer,
            chat=self.chat,
            exchange=self.exchange,
            decoder=get_decoder(decode),
        )

    def _judge(self) -> Scorer:
        """What scores evaluations, made at the first one and kept until `close`: its processes take a second or more to start."""
        from operant.worlds.text.verifiers import scorer

        verifier = self.problems.verifier if self.evaluator is None else self.evaluator
        if self._kept_judge is None or self._kept_judge[0] is not verifier:
            if self._kept_judge is not None:
                self._kept_judge[1].close()
            judge = scorer(verifier, workers=self.options.verifier_workers)
            weakref.finalize(self, judge.close)
            self._kept_judge = (verifier, judge)
        return self._kept_judge[1]

    @property
    def takes_turns(self) -> bool:
        """Whether the task replies to what the policy writes."""
        return isinstance(self.problems, TurnTask)

    @property
    def exchange(self) -> Exchange | None:
        """The replies of a task that takes turns, made when they are first asked for and kept until `close`."""
        if not self.takes_turns:
            return None
        from operant.worlds.text.exchange import Exchange

        if self._exchange is None:
            self._exchange = Exchange(self.problems, self.tokenizer, chat=self.chat, workers=self.options.verifier_workers)
            weakref.finalize(self, self._exchange.close)
        return self._exchange

    def close(self) -> None:
        """End the processes that score and reply in evaluations, and that which draws; whatever needs them next starts them again."""
        for kept in (self._kept_judge and self._kept_judge[1], self._exchange, self._vllm):
            if kept is not None:
                kept.close()

    def save_policy(self, policy: TokenPolicy, folder: Path) -> None:
        """Write the model and its tokenizer in the Hugging Face format: an adapter merged, and alone in `adapter/`."""
        from operant.worlds.text.models import save_policy

        if not self.options.lora_rank:
            save_policy(folder, policy.model, self.tokenizer)
            return
        from operant.worlds.text.lora import save_lora

        save_lora(folder, policy, self.tokenizer, self.options.model or self.base)

    def load_policy(self, folder: Path) -> TokenPolicy:
        from operant.worlds.text.models import load_model

        return in_dtype(TokenPolicy, load_model(folder), self.options.dtype)


class Traces:
    """Worked completions as supervised rows, made from the task's generator."""

    def __init__(self, world: TextWorld, batch_size: int, streams: Streams):
        self._world, self._batch_size, self._streams = world, batch_size, streams

    def draw(self) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        """(inputs, action, mask) of one batch: right-padded rows that hold prompt, trace and the end token."""
        from operant.worlds.text.source import prompt_tokens

        world, tokenizer = self._world, self._world.tokenizer
        rng = self._streams.numpy_generators("traces")[0]
        rows = []
        for _ in range(self._batch_size):
            problem = world.problems.problem(rng)
            answer, own = self._answer(problem, rng)
            rows.append((prompt_tokens(tokenizer, problem, chat=world.chat), answer, own))
        steps = max(len(trace) for _, trace, _ in rows)
        width = max(len(prompt) for prompt, _, _ in rows) + steps
        tokens = torch.full((1, len(rows), width), tokenizer.pad_token_id)
        action = torch.zeros(1, len(rows), steps, dtype=torch.int64)
        mask = torch.zeros(1, len(rows), steps, dtype=torch.bool)
        for place, (prompt, trace, own) in enumerate(rows):
            tokens[0, place, : len(prompt) + len(trace)] = torch.tensor([*prompt, *trace])
            action[0, place, : len(trace)] = torch.tensor(trace)
            mask[0, place, : len(trace)] = torch.tensor(own)
        prompts = torch.tensor([[len(prompt) for prompt, _, _ in rows]])
        device = self._streams.device
        inputs = {"tokens": tokens, "prompt_length": prompts, "length": prompts + torch.tensor([[len(trace) for _, trace, _ in rows]])}
        return {name: value.to(device) for name, value in inputs.items()}, action.to(device), mask.to(device)

    def _answer(self, problem: Problem, rng: np.random.Generator) -> tuple[list[int], list[bool]]:
        """The tokens of a worked answer with its end, and which of them are the policy's own: where the task replies, not all."""
        world, end = self._world, self._world.tokenizer.eos_token_id
        if world.exchange is not None:
            said = world.problems.trace(problem, rng, 0.0) if world._clean else world.problems.trace(problem, rng)
            return world.exchange.worked(problem, said, end)
        trace = world.problems.solution(problem, rng) if world._clean else world.problems.trace(problem, rng)
        answer = [*world.tokenizer.encode(trace, add_special_tokens=False), end]
        return answer, [True] * len(answer)

    def state_dict(self) -> dict:
        return {}

    def load_state_dict(self, state: dict) -> None:
        pass


def in_dtype(kind: type[TokenPolicy], model: Any, dtype: str, critic: TokenCritic | None = None) -> TokenPolicy:
    """A policy of this kind that computes in "float32" or "bfloat16"."""
    if dtype == "float32":
        return kind(model, critic=critic)
    from operant.nets.bfloat16 import compute_in_bfloat16

    compute_in_bfloat16(model)
    policy = kind(model, critic=critic)
    policy.ratio_tolerance = BFLOAT16_RATIO_TOLERANCE
    return policy
