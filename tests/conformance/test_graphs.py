"""Updates that are not made by Python as they stand: captured and replayed, on a device that notes its operations and does them again, and compiled. They are
every method's own, to rounding."""

import copy
import gc
from contextlib import nullcontext, suppress
from dataclasses import replace
from functools import partial

import pytest
import torch
from battery import TOTAL, Case, battery_seeds, configured, is_policy_gradient, is_value_learning, shorten, updates, worlds
from other_device import DEVICE, other_device
from recorded_graph import RecordedGraph

from operant.core import graphs
from operant.core.errors import BadInput
from operant.core.flat import Adam, FlatParameters, RMSProp
from operant.core.graphs import WARM, Compiled, Execution, Repeated
from operant.core.random import Streams, names_of
from operant.core.registry import configure, get_method
from operant.core.spec import Field, Spec
from operant.nets.distributions import Categorical, Categoricals, EpsilonGreedyChoice, Gaussian, Mixed, SquashedGaussian, SquashedMixture, TanhPoint
from operant.nets.normalize import RunningNormalizer
from operant.worlds import make_world

CPU, PLAIN = torch.device("cpu"), Execution()


@pytest.fixture(autouse=True)
def recorded(monkeypatch):
    monkeypatch.setitem(graphs.GRAPHS, DEVICE.type, RecordedGraph)
    monkeypatch.setattr(RecordedGraph, "replays", 0)


def learner_of(case: Case, device: torch.device, execution: Execution):
    world = case.world()
    sizes = {"hidden": (256, 256, 256), "batch_size": 256} if case.key == "iql" else {}  # of a user; the others are small
    return replace(shorten(case.spine(**sizes)), execution=execution).learner(world, battery_seeds(world), TOTAL, device)


def trained(case: Case, device: torch.device, iterations: int, execution: Execution = PLAIN):
    """(the policy's weights, what each iteration told)"""
    learner = learner_of(case, device, execution)
    metrics = [learner.iterate() for _ in range(iterations)]
    return {name: x.cpu() for name, x in learner.policy.state_dict().items()}, metrics


def same(found, wanted, off: float) -> None:
    """They are, but for so much relative to their size."""
    (weights, told), (others, told_before) = found, wanted
    for name, x in others.items():
        torch.testing.assert_close(weights[name], x, rtol=off, atol=off / 10, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}")
    for one, other in zip(told, told_before, strict=True):
        assert one.keys() == other.keys()
        for name, x in other.items():
            torch.testing.assert_close(one[name], x, rtol=off, atol=off / 10, equal_nan=True, msg=lambda text, name=name: f"{name}: {text}")


def executes(case: Case) -> bool:
    return updates(case) and case.kind in ("gym", "data", "agents") and (is_value_learning(case) or is_policy_gradient(case))


@worlds(executes)
def test_replayed_updates_are_those_that_python_makes(case, firm, monkeypatch):
    iterations = 3 if is_value_learning(case) else 2 * (WARM + 1)
    with other_device(monkeypatch) as device:
        found = trained(case, device, iterations, Execution(cuda_graphs=True))
        assert RecordedGraph.replays > 2
        same(found, trained(case, device, iterations), 1e-4)


def test_seeds_that_stand_still_do_so_in_replays(monkeypatch):
    small = {"environments": 2, "rollout_length": 16, "hidden": (8,), "minibatches": 2, "learning_rate": 1e-2, "target_kl": 1e-3}

    def of(device: torch.device, execution: Execution):
        spine = replace(get_method("ppo").build(configure("ppo", small)), execution=execution)
        learner = spine.learner(make_world("gym:CartPole-v1"), [100, 101], 10_000, device)
        told = [learner.iterate() for _ in range(4)]
        return {name: x.cpu() for name, x in learner.policy.state_dict().items()}, told

    with other_device(monkeypatch) as device:
        found, wanted = of(device, Execution(cuda_graphs=True)), of(device, PLAIN)
    same(found, wanted, 1e-4)
    assert RecordedGraph.replays > 2 and any(len(set(told["updates"].tolist())) > 1 for told in wanted[1])


@worlds(executes, lambda case: getattr(configured(case), "region", None) is None)
def test_compiled_updates_are_those_that_python_makes(case, firm, monkeypatch):
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager", fullgraph=True))  # whole, up to where code would be generated
    found = trained(case, CPU, 2, Execution(compile=True))
    assert 1 <= torch._dynamo.utils.counters["stats"]["unique_graphs"] <= 8
    same(found, trained(case, CPU, 2), 1e-3)


@pytest.mark.parametrize("key, task", [("ppo", "gym:CartPole-v1"), ("sac-v2", "gym:Pendulum-v1"), ("crossq", "gym:Pendulum-v1")])
def test_a_compiled_run_that_goes_on_has_the_bits_of_one_that_went_through(key, task, monkeypatch):
    """Whatever is done only to see what a loss draws is undone: its draws, and what norms of batches have seen."""
    torch.compiler.reset()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    through, begun, on = (learner_of(Case(key, task), CPU, Execution(compile=True)) for _ in range(3))
    through.iterate(), through.iterate()
    begun.iterate()
    on.load_state_dict(copy.deepcopy(begun.state_dict()))
    on.iterate()
    for name, x in through.policy.state_dict().items():
        assert torch.equal(on.policy.state_dict()[name], x), name
    beside = learner_of(Case(key, task), CPU, PLAIN)
    beside.iterate(), beside.iterate()
    assert len({str(learner.streams.state_dict()) for learner in (through, on, beside)}) == 1


def test_replays_draw_anew_and_see_the_numbers_of_their_day(monkeypatch):
    with other_device(monkeypatch) as device:
        streams, beside = Streams([0, 1], device), Streams([0, 1])
        work = Repeated(lambda tensors, numbers, twice: tensors["x"] * numbers["share"] + streams.normal("n", 3) * (1 + twice), streams, "the work")
        for call in range(3 * WARM):
            x, share = torch.full((2, 3), float(call)), 1 / (call + 1)
            found = [work({"x": x.to(device)}, {"share": share}, twice).cpu() for twice in (False, True)]  # two graphs, of one stream
            for twice, each in enumerate(found):
                torch.testing.assert_close(each, x * share + beside.normal("n", 3) * (1 + twice))
        assert RecordedGraph.replays == 2 * 2 * WARM


def test_draws_are_those_of_the_stream_that_is_asked_for():
    streams = Streams([0])
    with streams.noted() as wanted:
        streams.normal("first", 3)
    with streams.given(names_of(wanted), streams.drawn(wanted)), pytest.raises(BadInput, match=r"an update draws \[1, 3\] of the stream 'second' now"):
        streams.normal("second", 3)


@pytest.mark.parametrize("optimizer", [Adam, RMSProp])
def test_a_rate_on_the_device_takes_the_steps_of_the_number(optimizer):
    def weights(on_device: bool) -> torch.Tensor:
        flat = FlatParameters(torch.nn.Linear(3, 2), stacked=False)
        flat.data.data.fill_(1.0)
        made = optimizer([flat], learning_rate=0.1)
        if on_device:
            made.keep_rate_on(CPU)
        for rate in (0.1, 0.05):
            made.learning_rate = rate
            flat.grad.copy_(torch.arange(8.0))
            made.step(flat.grad_norm())
        assert made.learning_rate == 0.05
        return flat.data.data.clone()

    assert torch.equal(weights(True), weights(False))


@pytest.mark.parametrize(
    "work, says",
    [
        (lambda streams, tensors: tensors["x"] * float(tensors["x"].sum()), "the update of phase q cannot be captured, for it reads a number to the host"),
        (lambda streams, tensors: tensors["x"][tensors["x"] > 0], "the update of phase q cannot be captured, for it reads a number to the host"),
        (lambda streams, tensors: tensors["x"] + tensors["x"].unique().sum(), "cannot be captured"),
        (lambda streams, tensors: tensors["x"] @ torch.linalg.inv(tensors["x"].mT @ tensors["x"] + torch.eye(3, device=streams.device)), "cannot be captured"),
        (lambda streams, tensors: tensors["x"] + torch.ones(3).to(tensors["x"].device), "cannot be captured"),
        (lambda streams, tensors: tensors["x"] + torch.tensor(1.0).to(tensors["x"].device), "cannot be captured"),
        (lambda streams, tensors: tensors["x"] + tensors["x"].new_tensor(1.0), "cannot be captured"),
        (lambda streams, tensors: torch.where(tensors["x"] > 0, tensors["x"], torch.tensor(0.0)), "cannot be captured"),
        (lambda streams, tensors: tensors["x"][:, [0, 2]], "cannot be captured"),
        (lambda streams, tensors: tensors["x"][:, torch.arange(2)], "cannot be captured"),
        (lambda streams, tensors: streams.torch_generators("own") and tensors["x"], "an update takes generators of the stream 'own'"),
    ],
)
def test_what_cannot_be_captured_is_told(work, says, monkeypatch):
    with other_device(monkeypatch) as device:
        streams = Streams([0], device)
        repeated = Repeated(lambda tensors, numbers: work(streams, tensors), streams, "the update of phase q")
        with pytest.raises(BadInput, match=says):
            for _ in range(WARM + 1):
                repeated({"x": torch.ones(1, 3, device=device)}, {})


def test_a_capture_that_fails_tells_what_failed_first(monkeypatch):
    """Ending a CUDA capture that has failed fails too, with an error that says nothing."""

    class Failing(RecordedGraph):
        def capture(self, work):
            try:
                raise RuntimeError("an operation that is not permitted")
            finally:
                raise RuntimeError("an operation failed earlier")

    class Full(RecordedGraph):
        def capture(self, work):
            raise torch.OutOfMemoryError("the device is full")

    class FullAtLast(RecordedGraph):
        def capture(self, work):
            try:
                raise torch.OutOfMemoryError("the device is full")
            finally:
                raise RuntimeError("an operation failed earlier")

    full = [(graph, torch.OutOfMemoryError, "full") for graph in (Full, FullAtLast)]
    for graph, error, says in ((Failing, BadInput, "hands one over: an operation that is not permitted; leave it out"), *full):
        monkeypatch.setitem(graphs.GRAPHS, "cpu", graph)
        work = Repeated(lambda tensors, numbers: tensors["x"] + 1, Streams([0]), "the work")
        with pytest.raises(error, match=says):
            for _ in range(WARM + 1):
                work({"x": torch.ones(1, 3)}, {})


def test_nothing_is_collected_while_a_graph_is_captured(monkeypatch):
    """CUDA's calls are made by nobody: what is held is the state of Python's collector, and that all graphs share a stream."""
    stream = type("Stream", (), {"wait_stream": lambda self, other: None})
    for name, made in (("CUDAGraph", object), ("Stream", stream), ("current_stream", stream), ("stream", lambda of: nullcontext())):
        monkeypatch.setattr(torch.cuda, name, made)
    monkeypatch.setattr(torch.cuda, "graph", lambda *given, **named: nullcontext())
    monkeypatch.setattr(graphs.CudaGraph, "_aside", None)
    one, other = graphs.CudaGraph(), graphs.CudaGraph()
    assert one._stream is other._stream
    assert one.warm(gc.isenabled) and not one.capture(gc.isenabled) and gc.isenabled()
    with pytest.raises(ZeroDivisionError):
        other.capture(lambda: 1 / 0)
    assert gc.isenabled()


def test_streams_are_put_back_while_draws_are_noted():
    """As compiled losses do it in an update that is then captured, of a run that also draws by NumPy."""
    streams = Streams([0])
    streams.numpy_generators("levels")
    with streams.noted():
        streams.load_state_dict(streams.state_dict())


CHOICE, CHOICES = Field("a", (), "int64", "discrete", (3,), (0,)), Field("b", (2,), "int64", "multi-discrete", (3, 2), (0, 0))
BOX = Field("c", (2,), "float32", low=(-1.0,), high=(3.0,))
FAMILIES = [
    *(Categorical(Spec((CHOICE,))), EpsilonGreedyChoice(Spec((CHOICE,))), Categoricals(Spec((CHOICES,)))),
    *(Gaussian(Spec((BOX,))), SquashedGaussian(Spec((BOX,))), SquashedMixture(Spec((BOX,)), 3), TanhPoint(Spec((BOX,)))),
    *(Mixed(Spec((CHOICES, BOX)), Gaussian), Mixed(Spec((CHOICES, BOX)), SquashedGaussian)),
]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: type(family).__name__)
def test_whatever_a_distribution_computes_can_be_captured(family, monkeypatch):
    parameters = torch.randn(1, 4, family.size, generator=torch.Generator().manual_seed(0))

    def work(streams, tensors, numbers):
        at = tensors["parameters"]
        action = family.sample(at, family.noise(streams, "a", 4))
        found = {"sample": action, "mode": family.mode(at), "encode": family.encode(action)}
        for name, of in (("log_prob", (action,)), ("entropy", ()), ("kl", (at.flip(1),)), ("score", (action,))):
            with suppress(BadInput, TypeError):  # a family does not have it
                found[name] = getattr(family, name)(at, *of)
        return found

    wanted = Streams([0])
    with other_device(monkeypatch) as device:
        streams = Streams([0], device)
        repeated = Repeated(partial(work, streams), streams, "the work")
        for _ in range(WARM + 2):
            found = {name: x.cpu() for name, x in repeated({"parameters": parameters.to(device)}, {}).items()}
            beside = work(wanted, {"parameters": parameters}, {})
            assert found.keys() == beside.keys()
            for name, x in beside.items():
                torch.testing.assert_close(found[name], x, msg=name)
    assert RecordedGraph.replays == 2


def test_running_statistics_stay_in_the_memory_that_a_graph_reads(monkeypatch):
    with other_device(monkeypatch) as device:
        normalizer = RunningNormalizer(1, 2).to(device)
        repeated = Repeated(lambda tensors, numbers: normalizer(tensors["x"]), Streams([0], device), "the work")
        for call in range(WARM + 3):
            x = torch.arange(6.0, device=device).view(1, 3, 2) * call
            normalizer.update(x, torch.ones(1, 3, dtype=torch.bool, device=device))
            assert torch.equal(repeated({"x": x}, {}).cpu(), normalizer(x).cpu())


def test_what_a_compiled_loss_keeps_is_written_once(monkeypatch):
    """Of any tensor, a part of one, and one that an operation writes to as its result: the first time, to see the draws, is undone."""
    monkeypatch.setattr(torch, "compile", lambda work: work)
    mean, place, largest = torch.zeros(3), torch.zeros(4), torch.zeros(())

    def work(x: torch.Tensor) -> torch.Tensor:
        mean.lerp_(x, 0.5)
        place[1:3] += 1
        torch.maximum(largest, largest + 1, out=largest)
        return x.clone().mul_(2)

    compiled = Compiled(work, Streams([0]))
    for call in (1, 2):
        assert compiled(torch.ones(3)).tolist() == [2, 2, 2]
        assert mean[0] == 1 - 0.5**call and place.tolist() == [0, call, call, 0] and largest == call


def test_each_compiled_work_is_compiled(monkeypatch):
    """However many there are in a process, which have the same code: PyTorch has a limit for each code."""
    torch.compiler.reset()
    torch._dynamo.utils.counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    for work in 6 * [torch.sin, torch.cos]:
        compiled = Compiled(work, Streams([0]))
        assert torch.equal(compiled(torch.ones(2)), work(torch.ones(2)))
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 12


def test_a_graph_keeps_no_memory_that_others_let_go(monkeypatch):
    """Of the stand-in: what a method forgets between two updates, a captured one may not read."""
    kept = []
    with other_device(monkeypatch) as device:
        work = Repeated(lambda tensors, numbers: tensors["x"] + kept[0], Streams([0], device), "the work")
        with pytest.raises(AssertionError, match="memory .* that is gone"):
            for _ in range(WARM + 2):
                kept[:] = [torch.ones(3, device=device)]
                work({"x": torch.ones(1, 3, device=device)}, {})


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("key, task", [("ppo", "gym:CartPole-v1"), ("sac-v2", "gym:Pendulum-v1"), ("td3", "gym:Pendulum-v1"), ("rainbow", "gym:CartPole-v1")])
def test_updates_that_a_gpu_replays_are_those_that_python_makes(key, task, firm):
    device, iterations = torch.device("cuda"), 3 * WARM
    same(trained(Case(key, task), device, iterations, Execution(cuda_graphs=True)), trained(Case(key, task), device, iterations), 1e-3)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_replays_of_a_gpu_draw_anew():
    streams, beside = Streams([0, 1], "cuda"), Streams([0, 1])
    work = Repeated(lambda tensors, numbers: tensors["x"] * numbers["share"] + streams.normal("n", 3), streams, "the work")
    for call in range(3 * WARM):
        x = torch.full((2, 3), float(call))
        torch.testing.assert_close(work({"x": x.cuda()}, {"share": 1 / (call + 1)}).cpu(), x / (call + 1) + beside.normal("n", 3))
