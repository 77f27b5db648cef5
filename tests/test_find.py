"""The lr finder: that it leaves no trace, that it measures what it says, and that the rules find what is
there."""

import copy
import json
import math
import os
import random
import signal
import sys
import tempfile
import threading
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, Sampler, TensorDataset

import lessonkit.train.find as find
import lessonkit.train.restore as trace
import lessonkit.train.update as update
from lessonkit.train.find import lr_find
from lessonkit.train.restore import no_trace
from lessonkit.train.rules import RULES, default_smooth, ema, minimum, slide, smooth_losses, steepest, valley
from lessonkit.train.schedule import sgdr
from lessonkit.train.stop import StopRequest
from lessonkit.train.suggest import LRFind


@pytest.fixture(autouse=True, scope="module")
def one_thread():
    "The tensors here are tiny."
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


# ------------------------------------------------------------------------------------------------ stand-ins


class Net(nn.Module):
    """Batch norm, dropout, a frozen part with batch norm of its own, and state of every kind that modules
    have."""

    def __init__(self):
        super().__init__()
        self.frozen = nn.Sequential(nn.Linear(6, 6), nn.BatchNorm1d(6)).requires_grad_(False)
        self.a, self.norm, self.drop, self.b = (
            nn.Linear(6, 8),
            nn.BatchNorm1d(8),
            nn.Dropout(0.3),
            nn.Linear(8, 3),
        )
        self.register_buffer("hidden", torch.tensor([0.0, -0.0, math.nan]), persistent=False)
        self.register_buffer("replaced", torch.zeros(2))
        self.register_buffer("wide", torch.arange(3.0).view(1, 3).expand(4, 3))
        self.calls, self.log, self.cache = 0, [], None
        self.before_forward = lambda: None

    def forward(self, x):
        self.before_forward()
        self.calls += 1
        self.log.append(float(self.calls))
        self.cache = x
        if self.training:
            self.hidden += 1
            self.replaced = self.replaced + 1
        return self.b(self.drop(self.norm(self.a(self.frozen(x))).relu()))


def make_data(n=40, seed=0):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 6, generator=g)
    return x, (x[:, 0] > 0).long() + (x[:, 1] > 0.5).long()


def make_loader(n=40, bs=8, generator=None, **kwargs):
    return DataLoader(TensorDataset(*make_data(n)), bs, shuffle=True, generator=generator, **kwargs)


OPTS = {
    "sgd": lambda ps: torch.optim.SGD(ps, lr=0.01, momentum=0.9, weight_decay=1e-4),
    "adamw": lambda ps: torch.optim.AdamW(ps, lr=0.01, fused=True),
    "adamw, lr a tensor": lambda ps: torch.optim.AdamW(ps, lr=torch.tensor(0.01), foreach=False),
    "rmsprop": lambda ps: torch.optim.RMSprop(ps, lr=0.01, momentum=0.5, centered=True),
}


def make_opt(model, name="sgd"):
    return OPTS[name]([p for p in model.parameters() if p.requires_grad])


def step(model, opt, n=3, scaler=None):
    "A few plain updates, so that there are state, gradients and running statistics."
    x, y = make_data(16, seed=5)
    for _ in range(n):
        opt.zero_grad()
        loss = F.cross_entropy(model(x), y)
        if scaler is None:
            loss.backward()
            opt.step()
        else:
            scaler.scale(loss).backward()
            scaler.step(opt)
            scaler.update()


def bits(value):
    "A value for comparison: tensors by their bits, type and shape, containers item by item."
    if isinstance(value, torch.Tensor):
        return (
            "tensor",
            type(value).__name__,
            value.dtype,
            tuple(value.shape),
            str(value.device),
            value.detach().contiguous().view(-1).numpy().tobytes(),
        )
    if isinstance(value, dict):
        return [(k if not isinstance(k, torch.Tensor) else id(k), bits(v)) for k, v in value.items()]
    if isinstance(value, list | tuple):
        return [type(value).__name__, *map(bits, value)]
    return value if isinstance(value, int | float | str | bool | type(None)) else ("object", id(value))


def everything(model, opt=None, scaler=None, loader=None):
    "All that must not change, by a route of its own: state dicts, attributes, identities, random generators."
    named = [*model.named_parameters(), *model.named_buffers()]
    seen = {
        "tensors": [(name, id(t), bits(t), t.requires_grad, id(t.grad), bits(t.grad)) for name, t in named],
        "memory": [t.data_ptr() for _, t in named],
        "flags": [(name, m.training) for name, m in model.named_modules()],
        "attributes": (model.calls, [*model.log], model.cache) if isinstance(model, Net) else (),
        "names": list(model.state_dict()),
        "random": (random.getstate(), np.random.get_state()[1].tobytes(), np.random.get_state()[2:]),
        "torch's random": bits(torch.get_rng_state()),
        "modes": (
            torch.is_grad_enabled(),
            torch.is_inference_mode_enabled(),
            torch.is_autocast_enabled("cpu"),
        ),
    }
    if opt is not None:
        seen["opt"] = bits(opt.state_dict()), bits(opt.defaults), sorted(vars(opt)), id(opt.step.__func__)
        seen["state"] = [(id(p), id(s), [(k, id(v)) for k, v in s.items()]) for p, s in opt.state.items()]
        seen["groups"] = [(id(g), [id(p) for p in g["params"]], type(g["lr"])) for g in opt.param_groups]
    if scaler is not None:
        seen["scaler"] = bits(scaler.state_dict()), bits(scaler._scale), bits(scaler._growth_tracker)
    if isinstance(loader, DataLoader) and loader.generator is not None:
        seen["loader"] = bits(loader.generator.get_state())
    return seen


def same(before, after):
    for name in before:
        assert before[name] == after[name], name


def seed_all(seed=0):
    random.seed(seed), np.random.seed(seed), torch.manual_seed(seed)


def use_rng(*_):
    random.random(), np.random.rand(), torch.rand(1)


# ------------------------------------------------------------------------------------------------- no trace


@pytest.mark.parametrize("name", OPTS)
@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("with_scaler", [False, True])
def test_no_trace_to_the_bit(name, used, with_scaler):
    seed_all()
    model = Net()
    opt = make_opt(model, name)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0, growth_interval=2) if with_scaler else None
    loader = make_loader(generator=torch.Generator().manual_seed(3))
    if used:
        step(model, opt, scaler=scaler)
        model.a.weight.grad = None  # some gradients are there, some are not
        model.eval()
        model.norm.train()  # flags that are nobody's default
    model.cache = None
    before, groups = everything(model, opt, scaler, loader), copy.deepcopy(opt.state_dict()["param_groups"])
    model.before_forward = use_rng
    hook = model.before_forward
    found = lr_find(model, loader, F.cross_entropy, opt, n_steps=30, scaler=scaler)
    assert len(found.lrs) > 15
    same(before, everything(model, opt, scaler, loader))
    assert (
        opt.state_dict()["param_groups"] == groups
        and bool(opt.state) == used
        and model.before_forward is hook
    )


def test_no_trace_for_what_a_block_does_to_everything():
    "Objects replaced, shapes and types changed, structure altered: the context manager by itself."
    seed_all()
    model, scaler = Net(), torch.amp.GradScaler("cpu")
    opt = make_opt(model)
    step(model, opt)
    model.cache = None
    weight, before = model.a.weight, everything(model, opt, scaler)
    with no_trace(model, opt, scaler):
        assert weight.grad is None
        model.a.weight = nn.Parameter(torch.ones(8, 6))
        model.b.weight.data = torch.ones(1, 1, dtype=torch.float64)
        model.norm.running_mean = torch.ones(8)
        model.extra = nn.Linear(2, 2)
        model.register_buffer("new", torch.ones(1))
        del model._buffers["hidden"]
        model.half()
        model.requires_grad_(True)
        opt.state.clear()
        opt.param_groups[0]["lr"], opt.param_groups[0]["momentum"] = 5.0, 0.1
        opt.add_param_group({"params": [nn.Parameter(torch.ones(1))]})
        scaler.scale(torch.ones(1))
        use_rng()
    same(before, everything(model, opt, scaler))
    assert model.a.weight is weight and not hasattr(model, "extra") and "new" not in model._buffers
    assert scaler._scale is None


def test_no_trace_for_buffers_written_with_a_gradient_and_made_without():
    model = nn.Linear(2, 2)
    model.register_buffer("state", torch.zeros(2))
    with torch.inference_mode():
        model.cached = torch.arange(3.0)  # what an evaluation may leave behind
    with no_trace(model):
        model.state.copy_(model(torch.ones(2)))
        assert model.state.grad_fn is not None
    assert model.state.is_leaf and not model.state.requires_grad and model.state.tolist() == [0, 0]
    assert model.cached.tolist() == [0, 1, 2]


def test_no_trace_keeps_tied_weights_and_hidden_modules():
    class Tied(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
            self.b.weight = self.a.weight
            self.unregistered = [nn.Linear(3, 3)]

    model = Tied()
    hidden = model.unregistered[0].weight.detach().clone()
    with no_trace(model), torch.no_grad():
        model.a.weight.zero_()
        model.unregistered[0].weight.zero_()
    assert model.a.weight is model.b.weight and model.a.weight.abs().sum() > 0
    assert model.unregistered[0].weight.equal(hidden)


@pytest.mark.filterwarnings("ignore")
def test_no_trace_for_a_scripted_module():
    "Its parameters and flags are not among the attributes of the Python object."
    model = torch.jit.script(nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 3)))
    model.eval()
    before = everything(model)
    lr_find(model, make_loader(), F.cross_entropy, n_steps=6, lr_min=1e-3)
    same(before, everything(model))


def test_sparse_gradients_and_buffers_survive():
    model = nn.Embedding(5, 2, sparse=True)
    model.register_buffer("table", torch.eye(3).to_sparse())
    model(torch.tensor([1, 1])).sum().backward()
    grad, dense = model.weight.grad, model.weight.grad.to_dense()
    with no_trace(model):
        model(torch.tensor([2])).sum().backward()
        model.table.mul_(3)
    assert (
        model.weight.grad is grad
        and grad.to_dense().equal(dense)
        and model.table.to_dense().equal(torch.eye(3))
    )


def test_lazy_layers_are_refused_before_anything_changes():
    with pytest.raises(ValueError, match="lazy"), no_trace(nn.LazyLinear(3)):
        raise AssertionError("not reached")


WHERE = ["loss", "forward", "backward", "loader", "opt"]


def raise_at(k, error):
    "A function that raises at its k-th call, counted from 0, and draws random numbers at every one."
    count = iter(range(10**6))

    def f(*_):
        use_rng()
        if next(count) == k:
            raise error

    return f


class Tripping(list):
    "A loader that calls `trip` before each of its batches."

    def __init__(self, data, trip):
        self.data, self.trip = data, trip

    def __iter__(self):
        for batch in self.data:
            self.trip()
            yield batch


def set_traps(where, trip, model, opt, data):
    "What is to be swept over, and by which loss, so that `trip` is called there; and the hooks to remove."
    loader, loss_fn, handles = data, F.cross_entropy, []
    if where == "loader":
        loader = Tripping(data, trip)
    if where == "loss":
        loss_fn = lambda out, y: (trip(), F.cross_entropy(out, y))[1]
    if where == "forward":
        model.before_forward = trip
    if where == "backward":
        handles.append(model.b.register_full_backward_hook(trip))
    if where == "opt":
        handles.append(opt.register_step_pre_hook(trip))
    return loader, loss_fn, handles


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize(
    "error",
    [RuntimeError("out of memory"), KeyboardInterrupt(), SystemExit(1)],
    ids=lambda e: type(e).__name__,
)
@settings(deadline=None, max_examples=6)
@given(k=st.integers(0, 25), name=st.sampled_from(list(OPTS)))
def test_an_exception_anywhere_leaves_no_trace(where, error, k, name):
    seed_all(k)
    model = Net()
    opt = make_opt(model, name)
    step(model, opt, n=k % 3)
    model.cache = None
    trip, data = raise_at(k, error), make_loader(generator=torch.Generator().manual_seed(1))
    loader, loss_fn, handles = set_traps(where, trip, model, opt, data)
    before = everything(model, opt, None, data if loader is data else None)
    try:
        lr_find(model, loader, loss_fn, opt, n_steps=30, smooth=0.5)
    except type(error):
        pass
    except BaseException as e:
        raise AssertionError("another error") from e
    else:
        assert isinstance(error, KeyboardInterrupt), "it was swallowed"
    same(before, everything(model, opt, None, data if loader is data else None))
    for handle in handles:
        handle.remove()


def test_ctrl_c_while_everything_is_put_back_waits(monkeypatch):
    seed_all()
    model = Net()
    opt = make_opt(model)
    step(model, opt)
    model.cache = None
    before, real = everything(model, opt), trace._KeptTensor.restore

    def restore(kept):
        signal.raise_signal(signal.SIGINT)
        real(kept)

    monkeypatch.setattr(trace._KeptTensor, "restore", restore)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lr_find(model, make_loader(), F.cross_entropy, opt, n_steps=5)
    same(before, everything(model, opt))
    assert signal.getsignal(signal.SIGINT) is handler


def press():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def handler():
    "Python's own handler of SIGINT, which has to be there afterwards, too."
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield signal.default_int_handler
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler


def test_ctrl_c_while_everything_is_noted_comes_before_the_block(monkeypatch, handler):
    model, entered = Net(), []
    before, real = everything(model), trace._set_aside
    monkeypatch.setattr(trace, "_set_aside", lambda *args: (press(), real(*args)))
    with pytest.raises(KeyboardInterrupt), no_trace(model):
        entered.append(True)
    same(before, everything(model))
    assert not entered and signal.getsignal(signal.SIGINT) is handler


def test_a_handler_of_ones_own_is_told_and_stays(handler):
    said, model = [], nn.Linear(2, 2)
    mine = lambda number, frame: said.append(number)
    signal.signal(signal.SIGINT, mine)
    with no_trace(model):
        press()
        assert len(said) == 1
    assert signal.getsignal(signal.SIGINT) is mine
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with no_trace(model):
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        press()
    signal.signal(signal.SIGINT, handler)
    with no_trace(model):
        signal.signal(signal.SIGINT, mine)
    assert signal.getsignal(signal.SIGINT) is mine
    signal.signal(signal.SIGINT, handler)


def test_a_stop_request_within_an_experiment_asks_and_around_one_hears(handler):
    model = nn.Linear(2, 2)
    with no_trace(model), StopRequest() as stop:
        press()
        assert stop.asked
    with StopRequest() as stop, no_trace(model):
        press()
        assert stop.asked
    with pytest.raises(KeyboardInterrupt), no_trace(model), no_trace(model):
        press()


def test_experiments_that_end_in_any_order_give_sigint_back(handler):
    def experiment(model):
        with no_trace(model):
            with torch.no_grad():
                model.weight += 1
            yield

    models = [nn.Linear(2, 2) for _ in range(3)]
    before, running = [m.weight.tolist() for m in models], [experiment(m) for m in models]
    for e in running:
        next(e)
    running[0].close()
    with pytest.raises(KeyboardInterrupt):
        press()
    thread = threading.Thread(target=running[2].close)
    thread.start(), thread.join()
    with pytest.raises(KeyboardInterrupt):
        press()
    running[1].close()
    assert [m.weight.tolist() for m in models] == before
    with no_trace(models[0]):  # what another thread could not give back goes now
        pass


def test_a_real_sigint_in_the_middle():
    seed_all()
    model = Net()
    before, calls = everything(model), iter(range(1000))
    model.before_forward = lambda: next(calls) == 3 and signal.raise_signal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        lr_find(model, make_loader(), F.cross_entropy)
    same(before, everything(model))


def test_an_interrupt_returns_the_curve_once_it_says_something():
    seed_all()
    model = nn.Linear(6, 3)
    x, y = make_data(400)
    calls = []

    def loss_fn(out, target):
        calls.append(1)
        if len(calls) == 90:
            raise KeyboardInterrupt
        return F.cross_entropy(out, target)

    before = everything(model)
    found = lr_find(
        model, [(x, y)], loss_fn, torch.optim.SGD(model.parameters(), 1.0), lr_min=1e-4, lr_max=10
    )
    assert found.stopped == "interrupted" and len(found.lrs) == 89 and found.lr > 1e-3
    same(before, everything(model))


def fit(model, opt, loader, n=12):
    from lessonkit.nets.groups import train_mode

    losses = []
    train_mode(model)
    for _ in range(-(-n // len(loader))):
        for x, y in loader:
            loss = F.cross_entropy(
                model(x + 0.1 * torch.randn_like(x) + random.random() + np.random.rand()), y
            )
            opt.zero_grad()
            loss.backward()
            opt.step()
            losses.append(loss.item())
    return losses


@pytest.mark.parametrize("name", OPTS)
def test_fit_after_find_equals_fit_without(name):
    runs = []
    for with_find in (False, True):
        seed_all(7)
        model = Net()
        opt, loader = make_opt(model, name), make_loader()
        losses = fit(model, opt, loader)
        if with_find:
            lr_find(model, loader, F.cross_entropy, opt, valid_dl=make_loader())
        losses += fit(model, opt, loader)
        if with_find:
            with pytest.raises(ZeroDivisionError):
                lr_find(model, loader, lambda out, y: 1 / 0, opt)
        runs.append((losses + fit(model, opt, loader), bits(model.state_dict()), bits(opt.state_dict())))
    assert runs[0] == runs[1]


class EpochSampler(Sampler):
    "Shuffles by its own epoch counter, in place."

    def __init__(self, n):
        self.order, self.epoch, self.rng = list(range(n)), 0, np.random.default_rng(4)

    def __iter__(self):
        self.epoch += 1
        random.Random(self.epoch).shuffle(self.order)
        self.rng.random()
        return iter(list(self.order))

    def __len__(self):
        return len(self.order)


class NoisyData(torch.utils.data.Dataset):
    def __init__(self):
        self.x, self.y = make_data()
        self.rng = np.random.default_rng(1)

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i] + float(self.rng.random()) + torch.rand(1), self.y[i]


class Stateful:
    "A loader that says what its state is."

    def __init__(self):
        self.epoch, self.data = 0, list(zip(*make_data()))

    def __iter__(self):
        self.epoch += 1
        order = np.random.default_rng(self.epoch).permutation(40)
        for k in range(0, 40, 8):
            x, y = zip(*(self.data[i] for i in order[k : k + 8]))
            yield torch.stack(x), torch.stack(y)

    def __len__(self):
        return 5

    def state_dict(self):
        return {"epoch": self.epoch}

    def load_state_dict(self, state):
        self.epoch = state["epoch"]


class Counting:
    """A loader that is its own iterator, begins anew at each iter, and counts; it says nothing about its
    state."""

    def __init__(self):
        self.epoch, self.x, self.y = 0, *make_data()

    def __len__(self):
        return 5

    def __iter__(self):
        self.epoch, self.k = self.epoch + 1, 0
        self.order = torch.randperm(40, generator=torch.Generator().manual_seed(self.epoch))
        return self

    def __next__(self):
        if self.k == 5:
            raise StopIteration
        index = self.order[8 * self.k : 8 * self.k + 8]
        self.k += 1
        return self.x[index], self.y[index]


LOADERS = {
    "generator": lambda: make_loader(generator=torch.Generator().manual_seed(2)),
    "sampler": lambda: DataLoader(TensorDataset(*make_data()), 8, sampler=EpochSampler(40)),
    "sampler's generator": lambda: DataLoader(
        TensorDataset(*make_data()),
        8,
        sampler=RandomSampler(range(40), generator=torch.Generator().manual_seed(5)),
    ),
    "batch sampler": lambda: DataLoader(
        TensorDataset(*make_data()), batch_sampler=BatchSampler(EpochSampler(40), 8, False)
    ),
    "list of batches": lambda: [(x, y) for x, y in make_loader()],
    "data set's generator": lambda: DataLoader(NoisyData(), 8),
    "subset": lambda: DataLoader(torch.utils.data.Subset(NoisyData(), range(32)), 8),
    "stateful": Stateful,
    "counting": Counting,
    "workers": lambda: DataLoader(NoisyData(), 8, shuffle=True, num_workers=1),
    "persistent workers": lambda: DataLoader(
        NoisyData(), 8, shuffle=True, num_workers=1, persistent_workers=True
    ),
}


@pytest.mark.parametrize("used", [False, True], ids=["fresh", "used"])
@pytest.mark.parametrize("name", LOADERS)
def test_the_loader_goes_on_as_if_nothing_had_been(name, used):
    drawn = []
    for with_find in (False, True):
        seed_all(1)
        loader, model = LOADERS[name](), nn.Linear(6, 3)
        if used:
            list(loader)
        if with_find:
            lr_find(model, loader, F.cross_entropy, n_steps=13)
            lr_find(model, [make_data()], F.cross_entropy, n_steps=3, valid_dl=loader, valid_batches=2)
        drawn.append([bits(batch) for _ in range(2) for batch in loader])
    assert drawn[0] == drawn[1]


def test_no_copy_is_made_of_the_data():
    class Seen(torch.Tensor):
        clones = 0

        def clone(self, *args, **kwargs):
            Seen.clones += 1
            return super().clone(*args, **kwargs)

    data = [(torch.randn(6).as_subclass(Seen), torch.tensor(1)) for _ in range(4)]
    with no_trace(nn.Linear(6, 3), loaders=[DataLoader(data, 2, shuffle=True)]):
        pass
    assert Seen.clones == 0


WRITES = []
WATCHING = threading.Event()


def _audit(event, args):
    if not WATCHING.is_set():
        return
    if event == "open" and isinstance(args[0], str | bytes):
        writes = isinstance(args[1], str) and set(args[1]) & set("wax+")
        if writes or (args[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            WRITES.append((event, args))
    elif event in ("os.mkdir", "os.rename", "os.remove", "tempfile.mkstemp", "tempfile.mkdtemp"):
        WRITES.append((event, args))


sys.addaudithook(_audit)


def test_no_file_is_written_also_in_a_read_only_folder(tmp_path, monkeypatch):
    WATCHING.set()
    (tmp_path / "x").write_text("the watch itself works")
    WATCHING.clear()
    assert WRITES
    WRITES.clear()
    folder = tmp_path / "read-only"
    folder.mkdir()
    model, loader = Net(), make_loader()
    opt = make_opt(model)
    step(model, opt)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "there is none"))
    folder.chmod(0o555)
    WATCHING.set()
    try:
        lr_find(model, loader, F.cross_entropy, opt, valid_dl=loader)
        with pytest.raises(ZeroDivisionError):
            lr_find(model, loader, lambda out, y: 1 / 0, opt)
    finally:
        WATCHING.clear()
        folder.chmod(0o755)
    assert [w for w in WRITES if "/dev/" not in str(w)] == [] and not list(folder.iterdir())


def test_it_works_in_another_thread_and_under_no_grad():
    seed_all()
    model, got = Net(), []
    before = everything(model)
    thread = threading.Thread(
        target=lambda: got.append(lr_find(model, make_loader(), F.cross_entropy, n_steps=10))
    )
    thread.start(), thread.join()
    for outside in (torch.no_grad, torch.inference_mode):
        with outside():
            got.append(lr_find(model, make_loader(), F.cross_entropy, n_steps=10))
            assert not torch.is_grad_enabled()
    assert [len(found.lrs) for found in got] == [10, 10, 10]
    same(before, everything(model))


def test_a_loss_with_weights_of_its_own_is_put_back_too():
    class Loss(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale, self.seen = nn.Parameter(torch.ones(())), 0

        def forward(self, out, y):
            self.seen += 1
            return F.cross_entropy(out * self.scale, y)

    model, loss_fn = nn.Linear(6, 3), Loss()
    opt = torch.optim.SGD([*model.parameters(), *loss_fn.parameters()], lr=1.0)
    lr_find(model, make_loader(), loss_fn, opt)
    assert loss_fn.scale.item() == 1 and loss_fn.seen == 0 and loss_fn.scale.grad is None


def test_schedulers_and_the_optimizer_s_methods_are_untouched():
    runs = []
    for with_find in (False, True):
        model = nn.Linear(6, 3)
        groups = [{"params": [model.weight], "lr": 0.1}, {"params": [model.bias], "lr": 0.2}]
        opt = torch.optim.SGD(groups, momentum=0.9)
        scheduler = sgdr(2, cycle_len=2).scheduler(opt, steps_per_epoch=5)
        other = torch.optim.lr_scheduler.ExponentialLR(opt, 0.9)
        for _ in range(3):
            opt.step(), scheduler.step(), other.step()
        state, method, attributes = scheduler.state_dict(), opt.step, {k: id(v) for k, v in vars(opt).items()}
        if with_find:
            lr_find(model, make_loader(), F.cross_entropy, opt)
            assert opt.step is method and {k: id(v) for k, v in vars(opt).items()} == attributes
            assert bits(scheduler.state_dict()) == bits(state)
        lrs = []
        for _ in range(8):
            opt.step(), scheduler.step(), other.step()
            lrs.append([g["lr"] for g in opt.param_groups])
        runs.append(lrs)
    assert runs[0] == runs[1]


# ----------------------------------------------------------------------------------------- what it measures


class Spy:
    "The lrs of every update, as the optimizer sees them, and the objects that hold them."

    def __init__(self, opt):
        self.lrs, self.objects, self.handle = [], [], opt.register_step_pre_hook(self.note)

    def note(self, opt, *_):
        self.lrs.append([float(g["lr"]) for g in opt.param_groups])
        self.objects.append([g["lr"] for g in opt.param_groups])


@pytest.mark.parametrize("mode", ["exponential", "linear"])
@pytest.mark.parametrize("tensor", [False, True])
def test_each_update_has_its_lr_and_groups_keep_their_ratios(mode, tensor):
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 4), nn.Linear(4, 3))
    lrs = [1e-5, 1e-3, 1e-4]
    opt = torch.optim.AdamW(
        [
            {"params": m.parameters(), "lr": torch.tensor(lr, dtype=torch.float64) if tensor else lr}
            for m, lr in zip(model, lrs)
        ],
        foreach=False,
    )
    spy = Spy(opt)
    objects = [g["lr"] for g in opt.param_groups]
    found = lr_find(
        model, make_loader(), F.cross_entropy, opt, lr_min=1e-6, lr_max=1e-2, n_steps=20, mode=mode
    )
    space = np.geomspace if mode == "exponential" else np.linspace
    np.testing.assert_allclose(found.lrs, space(1e-6, 1e-2, 20), rtol=1e-9)
    np.testing.assert_allclose(spy.lrs, np.outer(found.lrs, [0.01, 1, 0.1]), rtol=1e-9)
    assert all(g["lr"] is o for g, o in zip(opt.param_groups, objects)) and [float(o) for o in objects] == lrs
    if tensor:
        assert all(a is b for row in spy.objects for a, b in zip(row, objects))


def test_a_frozen_group_stays_at_zero_and_a_warm_up_at_zero_does_not_matter():
    model = nn.Sequential(nn.Linear(6, 4), nn.Linear(4, 3))
    opt = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.0}, {"params": model[1].parameters(), "lr": 0.1}]
    )
    spy = Spy(opt)
    lr_find(model, make_loader(), F.cross_entropy, opt, n_steps=3)
    assert [a for a, _ in spy.lrs] == [0, 0, 0] and spy.lrs[-1][1] == 10
    opt = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.01}, {"params": model[1].parameters(), "lr": 0.1}]
    )
    torch.optim.lr_scheduler.LambdaLR(opt, lambda epoch: epoch / 10)
    assert [g["lr"] for g in opt.param_groups] == [0, 0]
    spy = Spy(opt)
    lr_find(model, make_loader(), F.cross_entropy, opt, n_steps=3)
    np.testing.assert_allclose(spy.lrs[-1], [1, 10])


def test_the_losses_are_those_of_a_plain_loop():
    "A second implementation, in a few lines, gives the same numbers."
    seed_all()
    x, y = make_data()
    batches = [(x[k : k + 8], y[k : k + 8]) for k in range(0, 40, 8)]
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
    opt, twin = torch.optim.SGD(model.parameters(), 1.0, momentum=0.9), copy.deepcopy(model)
    found = lr_find(model, batches, F.cross_entropy, opt, n_steps=40, lr_max=0.1)
    opt, expected = torch.optim.SGD(twin.parameters(), 1.0, momentum=0.9), []
    for i, lr in enumerate(np.geomspace(1e-7, 0.1, 40)):
        opt.param_groups[0]["lr"] = float(lr)
        loss = F.cross_entropy(twin(batches[i % 5][0]), batches[i % 5][1])
        opt.zero_grad()
        loss.backward()
        opt.step()
        expected.append(loss.item())
    np.testing.assert_allclose(found.losses, expected, rtol=1e-6)
    assert found.stopped == "done" and found.n_steps == 40


def test_accumulation_equals_a_large_batch():
    seed_all()
    x, y = make_data(96)
    model = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    opt = torch.optim.SGD(model.parameters(), 1.0, momentum=0.9)
    chunks = lambda bs: [(x[k : k + bs].double(), y[k : k + bs]) for k in range(0, 96, bs)]
    spy = Spy(opt)
    many = lr_find(model, chunks(8), F.cross_entropy, opt, n_steps=30, accumulate=4)
    assert len(spy.lrs) == len(many.lrs) == 30
    one = lr_find(model, chunks(32), F.cross_entropy, opt, n_steps=30)
    np.testing.assert_allclose(many.losses, one.losses, rtol=1e-5)
    assert many.lrs == one.lrs


def test_a_short_loader_is_begun_again():
    begun = []

    class Short(list):
        def __iter__(self):
            begun.append(1)
            return super().__iter__()

    x, y = make_data()
    found = lr_find(
        nn.Linear(6, 3), Short([(x[:8], y[:8]), (x[8:], y[8:])]), F.cross_entropy, n_steps=25, lr_max=1e-3
    )
    assert len(found.lrs) == 25 and len(begun) == 13
    assert len(lr_find(nn.Linear(6, 3), [(x, y)], F.cross_entropy, n_steps=60, lr_max=1.0).lrs) == 60


def test_frozen_parts_stay_in_eval_mode_and_the_rest_trains():
    model, modes = Net(), []
    model.before_forward = lambda: modes.append(
        (model.training, model.norm.training, model.frozen[1].training)
    )
    lr_find(model, make_loader(), F.cross_entropy, n_steps=4)
    assert modes == [(True, True, False)] * 4


def test_sgd_on_a_quadratic_diverges_at_two_over_the_curvature():
    "loss = L w^2 / 2: an update with lr multiplies w by 1 - lr L, so the loss grows from lr = 2 / L on."
    for curvature in (0.7, 5.0, 40.0):
        model = nn.Linear(1, 1, bias=False).double()
        opt = torch.optim.SGD(model.parameters(), 1.0)
        loss = lambda model, batch, curvature=curvature: curvature * model.weight.square().sum() / 2
        found = lr_find(model, [0], opt=opt, batch_loss=loss, lr_min=1e-4, lr_max=100, n_steps=400)
        first = found.lrs[int(np.argmin(found.losses))]
        step = found.lrs[1] / found.lrs[0]
        assert 2 / curvature / step < first < 2 / curvature * step
        assert found.stopped == "diverged"
        assert 0.01 / curvature < found.lr < 1 / curvature


# -------------------------------------------------------------------------------------------------- batches


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.f = nn.Linear(6, 3)

    def forward(self, a, b):
        return self.f(a + b)


class HF(nn.Module):
    "The manner of Hugging Face: keyword arguments, an object with a loss and logits."

    def __init__(self, output=SimpleNamespace):
        super().__init__()
        self.f, self.output = nn.Linear(6, 3), output

    def forward(self, pixels, labels=None):
        logits = self.f(pixels)
        return self.output(loss=None if labels is None else F.cross_entropy(logits, labels), logits=logits)


def test_every_common_shape_of_batch_gives_the_same_curve():
    x, y = make_data()
    pair = __import__("collections").namedtuple("Pair", "x y")
    weights = nn.Linear(6, 3).state_dict()

    def curve(model, batch, loss_fn=F.cross_entropy, **kwargs):
        getattr(model, "f", model).load_state_dict(weights)
        return lr_find(
            model, [batch], loss_fn, torch.optim.SGD(model.parameters(), 1.0), n_steps=8, **kwargs
        ).losses

    plain = curve(nn.Linear(6, 3), (x, y))
    first = F.cross_entropy(F.linear(x, weights["weight"], weights["bias"]), y).item()
    assert plain[0] == pytest.approx(first, rel=1e-6)
    assert plain == curve(nn.Linear(6, 3), [x, y])
    assert plain == curve(nn.Linear(6, 3), pair(x, y))
    assert plain == pytest.approx(curve(TwoInputs(), (x / 2, x / 2, y)), rel=1e-6)
    assert plain == pytest.approx(curve(TwoInputs(), ({"b": x / 2, "a": x / 2}, y)), rel=1e-6)
    for name in ("labels", "label", "targets", "target", "y"):
        assert plain == curve(HF(), {"pixels": x, name: y})
    assert plain == curve(HF(), {"pixels": x, "labels": y}, None)
    assert plain == curve(HF(dict), {"pixels": x, "labels": y}, None)
    assert plain == curve(HF(lambda loss, logits: loss), (x, y), None)
    odd = SimpleNamespace(picture=x, truth=y)
    own = lambda model, batch: F.cross_entropy(model(batch.picture), batch.truth)
    assert plain == curve(nn.Linear(6, 3), odd, None, batch_loss=own)


def test_nested_batches_reach_the_device():
    moved = update.to_device({"a": [torch.ones(2), (torch.ones(1), "text")], "b": 3}, torch.device("meta"))
    assert (
        moved["a"][0].is_meta and moved["a"][1][0].is_meta and moved["a"][1][1] == "text" and moved["b"] == 3
    )
    x = torch.ones(2)
    kept = update.to_device((x,), torch.device("cpu"), copy=True)[0]
    x.zero_()
    assert kept.tolist() == [1, 1]


def good(**changes):
    model = nn.Linear(6, 3)
    return {"model": model, "train_dl": make_loader(), "loss_fn": F.cross_entropy, "n_steps": 5} | changes


def with_opt(model, make):
    return {"model": model, "opt": make(model.parameters())}


BAD = [
    (lambda: {"train_dl": iter(make_loader())}, "iterator"),
    (lambda: {"train_dl": (b for b in make_loader())}, "iterator"),
    (lambda: {"valid_dl": iter(make_loader())}, "iterator"),
    (lambda: {"train_dl": []}, "no batch"),
    (lambda: {"train_dl": DataLoader(TensorDataset(*make_data(4)), 8, drop_last=True)}, "drop_last"),
    (lambda: {"valid_dl": []}, "valid_dl"),
    (lambda: {"n_steps": 1}, "n_steps"),
    (lambda: {"n_steps": 2.5}, "n_steps"),
    (lambda: {"lr_min": 0}, "lr_min"),
    (lambda: {"lr_min": 1, "lr_max": 0.1}, "lr_max"),
    (lambda: {"lr_max": math.nan}, "lr_max"),
    (lambda: {"mode": "cosine"}, "mode"),
    (lambda: {"smooth": 1.0}, "smooth"),
    (lambda: {"diverge": 1}, "diverge"),
    (lambda: {"accumulate": 0}, "accumulate"),
    (lambda: {"valid_batches": 0}, "valid_batches"),
    (lambda: {"precision": "int8"}, "precision"),
    (lambda: {"opt": F.cross_entropy, "loss_fn": torch.optim.SGD(nn.Linear(6, 3).parameters())}, "order"),
    (lambda: {"opt": torch.optim.SGD(nn.Linear(6, 3).parameters())}, "another model"),
    (lambda: with_opt(nn.Linear(6, 3), torch.optim.LBFGS), "closure"),
    (lambda: with_opt(nn.Linear(6, 3).requires_grad_(False), torch.optim.SGD), "frozen"),
    (lambda: {"model": nn.Linear(6, 3).requires_grad_(False)}, "unfreeze"),
    (lambda: {"model": nn.LazyLinear(3)}, "lazy"),
    (lambda: {"loss_fn": nn.CrossEntropyLoss(reduction="none")}, "one number"),
    (lambda: {"loss_fn": lambda out, y: F.cross_entropy(out, y).item()}, "one number"),
    (lambda: {"loss_fn": lambda out, y: F.cross_entropy(out.detach(), y)}, "gradient"),
    (lambda: {"loss_fn": lambda out, y: out.sum() * math.nan}, "not finite"),
    (lambda: {"loss_fn": None}, "loss_fn"),
    (lambda: {"loss_fn": None, "train_dl": [torch.ones(2, 6)]}, "loss_fn"),
    (lambda: {"train_dl": [torch.ones(2, 6)]}, "batch_loss"),
    (lambda: {"train_dl": [(torch.ones(2, 6),)]}, "batch_loss"),
    (lambda: {"train_dl": [{"pixels": torch.ones(2, 6)}]}, "batch_loss"),
]


@pytest.mark.parametrize("case", range(len(BAD)), ids=lambda k: BAD[k][1])
def test_what_makes_no_sweep_is_refused_with_a_clear_word(case):
    make, word = BAD[case]
    arguments = good(**make())
    lazy = word == "lazy"
    before = None if lazy else everything(arguments["model"])
    with pytest.raises((ValueError, TypeError), match=word):
        lr_find(**arguments)
    if not lazy:
        same(before, everything(arguments["model"]))


# -------------------------------------------------------------------------------------------- when it stops


def scripted(values):
    "A model and a batch_loss whose losses are these, whatever the weights."
    model, values = nn.Linear(1, 1), iter(values)
    return model, lambda model, batch: model.weight.sum() * 0 + next(values)


@settings(deadline=None, max_examples=25)
@given(k=st.integers(1, 20), bad=st.sampled_from([math.nan, math.inf, -math.inf]))
def test_a_loss_that_is_not_finite_ends_the_curve_and_is_not_in_it(k, bad):
    values = iter([2 - i / 50 for i in range(k)] + [bad] + [0.1] * 99)
    model, loss = scripted(values)
    found = lr_find(model, [0], batch_loss=loss, n_steps=25)
    assert len(list(values)) == 99  # and nothing comes after it
    assert found.stopped == "not finite" and len(found.losses) == k == len(found.smoothed)
    assert all(math.isfinite(lr) for lr in found.suggestions.values())


@pytest.mark.parametrize("shift", [0, -2.0, -50.0, 1000.0])
def test_divergence_is_seen_at_any_sign(shift):
    "A fall by 2, then an explosion: it goes on through the fall and stops in the explosion."
    losses = [2.0] * 20 + [2 - i / 10 for i in range(21)] + [2.0**i for i in range(40)]
    model, loss = scripted([v + shift for v in losses])
    found = lr_find(model, [0], batch_loss=loss, n_steps=81)
    assert found.stopped == "diverged" and 42 < len(found.lrs) < 60
    assert min(found.losses) == pytest.approx(shift, abs=1e-4) and found.lr < found.lrs[41]


@settings(deadline=None, max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=6, max_size=60), st.floats(-1, 2), st.sampled_from([0.0, 0.8]))
def test_what_stays_below_its_start_never_diverges(falls, start, smooth):
    curve = find._Curve(smooth, 4.0)
    for i, fall in enumerate([0] * 5 + falls):
        curve.add(i + 1.0, start - fall)
    assert curve.stopped is None


def test_the_familiar_rule_for_positive_losses():
    for top, stopped in ((3.9, None), (4.1, "diverged")):
        curve = find._Curve(0.0, 4.0)
        for i, loss in enumerate([1.0] * 10 + [top]):
            curve.add(i + 1.0, loss)
        assert curve.stopped == stopped
    curve = find._Curve(0.0, 4.0)
    for i, loss in enumerate([0.1, 5, 5, 5, 5, 5]):  # a lucky first batch is no best loss
        curve.add(i + 1.0, loss)
    assert curve.stopped is None


@pytest.mark.parametrize("n_steps", [2, 3, 4, 5, 8])
@pytest.mark.parametrize("losses", ["falling", "rising", "flat", "nan"])
def test_a_few_steps_give_an_answer_or_a_clear_error(n_steps, losses):
    values = {
        "falling": np.linspace(2, 1, n_steps),
        "rising": np.linspace(1, 2, n_steps),
        "flat": [1.0] * n_steps,
        "nan": [1.0] + [math.nan] * n_steps,
    }[losses]
    model, loss = scripted(values)
    found = lr_find(model, [0], batch_loss=loss, n_steps=n_steps)
    str(found), repr(found), found.plot()
    if losses == "falling" and n_steps > 2:
        assert found.lrs[0] <= found.lr <= found.lrs[-1]
    else:
        assert found.suggestions == {} and not found.disagree
        with pytest.raises(ValueError, match="few points"):
            _ = found.lr
    __import__("matplotlib.pyplot").pyplot.close("all")


def test_many_looks_on_a_device_that_works_ahead_change_nothing(monkeypatch):
    "As on a GPU: the losses are looked at every few steps only."
    seed_all()
    model, loader = Net(), make_loader(generator=torch.Generator().manual_seed(1))
    expected = lr_find(model, loader, F.cross_entropy, make_opt(model))
    real = update.Updater.__init__

    def init(self, model, opt, batches, batch_loss, device, *rest):
        real(self, model, opt, batches, batch_loss, SimpleNamespace(type="elsewhere"), *rest)

    monkeypatch.setattr(update.Updater, "__init__", init)
    monkeypatch.setattr(update.Updater, "loss", lambda self, batch: self.batch_loss(self.model, batch))
    monkeypatch.setattr(update, "to_device", lambda batch, device: batch)
    assert lr_find(model, loader, F.cross_entropy, make_opt(model)) == expected
    for n_steps in (3, 20, 24):
        model, loss = scripted(np.linspace(2, 1, n_steps))
        found = lr_find(model, [0], batch_loss=loss, n_steps=n_steps)
        assert found.stopped == "done" and found.losses == pytest.approx(np.linspace(2, 1, n_steps))
    model, loss = scripted([1.0] * 20 + [math.nan] + [1.0] * 80)
    found = lr_find(model, [0], batch_loss=loss)
    assert found.stopped == "not finite" and len(found.lrs) == 20


# --------------------------------------------------------------------------------- validation, amp, scalers


def test_the_validation_loss_is_taken_in_eval_mode_from_the_same_batches():
    seed_all()
    model, x, y = Net(), *make_data()
    opt = make_opt(model)
    valid = [(x[:8], y[:8]), (x[8:20], y[8:20]), (x[20:], y[20:])]
    twin = copy.deepcopy(model)
    model.norm.momentum = 0.0  # so that nothing moves at these lrs
    modes = []
    model.before_forward = lambda: modes.append(
        (model.training, model.frozen[1].training, torch.is_grad_enabled())
    )
    options = dict(n_steps=12, lr_min=1e-12, lr_max=1e-11, valid_dl=valid, valid_batches=2)
    found = lr_find(model, make_loader(), F.cross_entropy, opt, **options)
    assert modes == [(True, False, True), (False, False, False), (False, False, False)] * 12
    twin.eval()
    with torch.no_grad():
        expected = np.mean([F.cross_entropy(twin(xb), yb).item() for xb, yb in valid[:2]])
    np.testing.assert_allclose(found.valid_losses, [expected] * 12, rtol=1e-5)
    assert len(found.losses) == 12


def test_a_loader_that_reuses_its_memory_may_give_the_validation_batches():
    x, y = make_data()
    kept = torch.empty(8, 6)

    class Reusing(list):
        def __iter__(self):
            for k in range(0, 40, 8):
                yield kept.copy_(x[k : k + 8]), y[k : k + 8]

    model = nn.Linear(6, 3)
    with torch.no_grad():
        expected = np.mean([F.cross_entropy(model(x[k : k + 8]), y[k : k + 8]).item() for k in (0, 8, 16)])
    found = lr_find(
        model,
        Reusing(),
        F.cross_entropy,
        lr_min=1e-12,
        lr_max=1e-11,
        n_steps=4,
        valid_dl=Reusing(),
        valid_batches=3,
    )
    np.testing.assert_allclose(found.valid_losses, expected, rtol=1e-5)


def test_a_validation_loss_that_is_not_finite_stops_it():
    model, calls = nn.Linear(6, 3), []

    def loss_fn(out, y):
        calls.append(out.requires_grad)
        return F.cross_entropy(out, y) * (
            math.nan if calls.count(False) == 4 and not out.requires_grad else 1
        )

    found = lr_find(model, make_loader(), loss_fn, n_steps=20, valid_dl=make_loader())
    assert found.stopped == "not finite" and len(found.lrs) == len(found.valid_losses) == 3


@pytest.mark.parametrize(
    "precision, dtype", [("bf16", torch.bfloat16), ("fp16", torch.float16), ("fp32", torch.float32)]
)
def test_amp_computes_in_the_reduced_type_and_keeps_losses_whole(precision, dtype):
    seed_all()
    model, seen, types = nn.Linear(6, 3), [], []
    model.register_forward_hook(lambda m, args, out: seen.append(out.dtype))
    x, y = make_data()
    loss_fn = lambda out, y: (types.append(out.dtype), F.cross_entropy(out, y))[1]
    found = lr_find(model, [(x, y)], loss_fn, n_steps=20, precision=precision)
    assert set(seen) == {dtype} and set(types) == {torch.float32} and len(found.lrs) == 20
    plain = lr_find(model, [(x, y)], F.cross_entropy, n_steps=20)
    np.testing.assert_allclose(found.losses, plain.losses, rtol=0.02)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_an_update_that_the_scaler_skips_is_made_at_the_same_lr_later(accumulate):
    """The scale is far too large at first: gradients overflow, the scaler halves it, no lr of the sweep is
    lost."""
    seed_all()
    model = nn.Linear(6, 3)
    opt = torch.optim.SGD(model.parameters(), 1.0)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**127, growth_interval=5)
    spy, tries, before = Spy(opt), [], everything(model, opt, scaler)

    def loss_fn(out, y):
        tries.append(1)
        return 40 * F.cross_entropy(out, y)

    found = lr_find(
        model, make_loader(), loss_fn, opt, n_steps=20, lr_max=1e-3, scaler=scaler, accumulate=accumulate
    )
    assert [lr for (lr,) in spy.lrs] == pytest.approx(list(found.lrs)) and len(found.lrs) == 20
    per_pass = len(make_loader())
    assert len(tries) > 20 * per_pass / math.ceil(per_pass / accumulate), "more tries than updates"
    same(before, everything(model, opt, scaler))


def test_gradients_that_never_fit_end_the_sweep():
    class Overflow(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return g * math.inf if calls[0] > 5 else g

    calls = [0]

    def loss_fn(out, y):
        calls[0] += 1
        return Overflow.apply(F.cross_entropy(out, y))

    model = nn.Linear(6, 3)
    scaler = torch.amp.GradScaler("cpu")
    found = lr_find(model, make_loader(), loss_fn, torch.optim.SGD(model.parameters(), 1.0), scaler=scaler)
    assert found.stopped == "not finite" and len(found.lrs) == 5 and scaler._scale is None


# -------------------------------------------------------------------------------------- smoothing and rules


def slow_ema(losses, smooth):
    weights = lambda i: np.array([smooth ** (i - j) for j in range(i + 1)])
    return [float(np.sum(weights(i) * losses[: i + 1]) / weights(i).sum()) for i in range(len(losses))]


def slow_smooth(losses, smooth):
    late = slow_ema(losses, smooth)
    start = min(5, len(losses)) - 1
    cut = late[start] + (late[start] - min(late[start:]))
    result = []
    for i in range(len(losses)):
        values = [loss if j <= i else min(loss, cut) for j, loss in enumerate(losses)]
        weights = [smooth ** abs(i - j) if i != j else 1.0 for j in range(len(losses))]
        result.append(np.average(values, weights=weights))
    return result


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.floats(-100, 1000), min_size=1, max_size=40), st.one_of(st.just(0.0), st.floats(0.01, 0.99))
)
def test_smoothing_against_a_second_implementation(losses, smooth):
    losses = np.array(losses)
    np.testing.assert_allclose(ema(losses, smooth), slow_ema(losses, smooth), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        smooth_losses(losses, smooth), slow_smooth(losses, smooth), rtol=1e-9, atol=1e-9
    )


def test_smoothing_has_no_lag_and_an_explosion_does_not_reach_back():
    x = np.arange(101)
    line = 5 - 0.02 * x
    np.testing.assert_allclose(smooth_losses(line, 0.8)[25:-25], line[25:-25], atol=2e-3)
    assert ema(line, 0.8)[60] > line[60] + 0.07
    exploding = np.concatenate([line, [1e3, 1e6, 1e9]])
    calm = np.concatenate([line, [7, 7, 7]])
    np.testing.assert_allclose(smooth_losses(exploding, 0.8)[:101], smooth_losses(calm, 0.8)[:101], atol=1e-6)
    assert smooth_losses(exploding, 0.8)[-1] > 1e8
    assert smooth_losses([3.0] * 30, 0.9) == pytest.approx(3.0)
    assert smooth_losses([1, 5, 2], 0.0).tolist() == [1, 5, 2]


def test_the_same_part_of_the_sweep_is_averaged_for_any_number_of_steps():
    assert default_smooth(100) == pytest.approx(0.8)
    for n in (2, 10, 50, 1000):
        assert default_smooth(n) ** (n / 100) == pytest.approx(0.8)
    assert (
        lr_find(**good(n_steps=50)).smooth == pytest.approx(0.64)
        and lr_find(**good(smooth=0.3)).smooth == 0.3
    )


def made_curve(steepest_lr, width=0.25, fall=2.0, noise=0.0, n=100, seed=0, lr_min=1e-7, lr_max=10.0):
    "A logistic fall that is steepest, in log lr, at a known place, and an explosion 1.6 decades later."
    lrs = np.geomspace(lr_min, lr_max, n)
    at = np.log10(lrs / steepest_lr)
    losses = 2.3 - fall / (1 + np.exp(-at / width)) + 3 * (lrs / (40 * steepest_lr)) ** 2
    return lrs, losses + noise * np.random.default_rng(seed).standard_normal(n)


@settings(deadline=None, max_examples=80)
@given(
    st.floats(-4.5, -1.5),
    st.floats(0.1, 0.25),
    st.floats(0, 0.15),
    st.integers(0, 10**6),
    st.sampled_from([60, 100, 200, 400]),
)
def test_the_steepest_point_is_found_also_in_noise(place, width, noise, seed, n):
    lrs, losses = made_curve(10**place, width, noise=noise, n=n, seed=seed)
    found = LRFind(lrs, losses, n_steps=n, smooth=default_smooth(n))
    assert found.falls and abs(math.log10(found.lr) - place) < 0.5
    assert found.lrs[int(np.argmin(found.smoothed))] / found.lr >= 3.16


def test_the_rules_on_a_curve_without_noise():
    "A logistic fall, whose slopes are known, in log lr; then with an explosion soon after it."
    lrs = np.geomspace(1e-7, 10, 401)
    at = np.log10(lrs) + 3
    losses = 2.3 - 2 / (1 + np.exp(-at / 0.25))
    # half as steep as at its best 1.763 widths after it, two thirds as steep 1.317 widths after it
    assert math.log10(slide(lrs, losses) / 1e-3) == pytest.approx(0.25 * 1.763, abs=0.12)
    assert math.log10(steepest(lrs, losses) / 1e-3) == pytest.approx(0.25 * 1.317, abs=0.12)
    # from 5% (-2.944 widths) to 95% (+2.944) of the fall, two thirds of the way: +0.98 widths
    assert math.log10(valley(lrs, losses) / 1e-3) == pytest.approx(0.25 * 0.98, abs=0.05)
    assert minimum(lrs, losses) == pytest.approx(1.0)  # it falls to the end
    losses = losses + np.where(at > 0.6, (at - 0.6) * 9, 0)
    lowest = lrs[int(np.argmin(losses))]
    assert lowest == pytest.approx(10**-2.4, rel=0.03)
    assert steepest(lrs, losses) == pytest.approx(lowest / 10**0.5) and minimum(lrs, losses) == pytest.approx(
        lowest / 10
    )


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_rules_scale_with_the_lrs(rule):
    lrs = np.geomspace(1e-6, 1, 90)
    losses = 2 - 1.5 / (1 + (3e-3 / lrs) ** 2) + (lrs / 0.3) ** 2
    assert rule(100 * lrs, losses) == pytest.approx(100 * rule(lrs, losses))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50),
    st.sampled_from(["exponential", "linear"]),
    st.floats(0, 0.95),
)
def test_suggestions_are_always_within_the_sweep(losses, mode, smooth):
    n = len(losses)
    lrs = np.geomspace(1e-6, 1, n) if mode == "exponential" else np.linspace(1e-3, 0.1, n)
    for rule in RULES.values():
        lr = rule(lrs, losses)
        assert lr is None or (isinstance(lr, float) and lrs[0] <= lr <= lrs[-1])
    found = LRFind(lrs, losses, mode=mode, smooth=smooth)
    assert all(lrs[0] <= lr <= lrs[-1] for lr in found.suggestions.values())
    if found.suggestions:
        assert found.disagree == (max(found.suggestions.values()) > 10 * min(found.suggestions.values()))
    str(found)


@pytest.mark.parametrize("rule", RULES)
def test_rules_have_no_answer_where_nothing_falls(rule):
    lrs = np.geomspace(1e-6, 1, 30)
    assert RULES[rule](lrs, np.linspace(1, 2, 30)) is None and RULES[rule](lrs, np.ones(30)) is None
    assert RULES[rule](lrs[:2], [2, 1]) is None and RULES[rule](lrs[:1], [2]) is None


@settings(deadline=None, max_examples=60)
@given(st.floats(-100, 100), st.floats(0.01, 100), st.integers(0, 1000))
def test_rules_do_not_care_for_the_scale_of_the_loss(shift, scale, seed):
    lrs, losses = made_curve(3e-3, noise=0.1, seed=seed)
    a, b = LRFind(lrs, losses), LRFind(lrs, losses * scale + shift)
    assert a.falls and b.falls
    for rule in RULES:
        assert b.suggest(rule) == pytest.approx(a.suggest(rule), rel=1e-6)


def test_pure_noise_has_no_suggestion():
    none = 0
    for seed in range(200):
        noise = 2.3 + 0.2 * np.random.default_rng(seed).standard_normal(100)
        none += LRFind(np.geomspace(1e-7, 10, 100), noise).suggestions == {}
    assert none >= 180


@settings(deadline=None, max_examples=40)
@given(st.floats(0.6, 1.2), st.integers(0, 1000), st.sampled_from([1.0, 0.01, 50.0]))
def test_single_losses_that_leap_bound_every_suggestion(decades, seed, scale):
    "Every other loss explodes from some lr on; the smoothed curve goes on falling for a while."
    lrs, losses = made_curve(1e-2, width=0.3, noise=0.02, seed=seed)
    calm = LRFind(lrs, losses * scale)
    first = int(np.flatnonzero(lrs >= 10 ** (decades - 2))[0])
    losses[first::2] += 3
    found = LRFind(lrs, losses * scale)
    assert found.falls and found.n_steady == first < calm.n_steady
    assert found.lr <= lrs[first] / 3.16 and max(found.suggestions.values()) < lrs[first]


def test_one_bad_batch_early_in_the_sweep_is_chance():
    lrs, losses = made_curve(1e-2, noise=0.02)
    calm = LRFind(lrs, losses)
    losses[20] += 3
    found = LRFind(lrs, losses)
    assert found.n_steady == calm.n_steady and abs(math.log10(found.lr / calm.lr)) < 0.3


def test_a_flat_curve_says_what_to_do():
    found = lr_find(**good(lr_min=1e-9, lr_max=1e-8, n_steps=40))
    assert found.suggestions == {} and "no suggestion" in str(found)
    with pytest.raises(ValueError, match="lr_max"):
        _ = found.lr
    with pytest.raises(ValueError, match="known are steepest"):
        found.suggest("best")
    rising = LRFind(np.geomspace(1e-3, 10, 40), np.geomspace(1, 4.5, 40), stopped="diverged")
    with pytest.raises(ValueError, match="lr_min"):
        _ = rising.lr


# ----------------------------------------------------------------------------------------------- the result


def a_found(**changes):
    lrs, losses = made_curve(1e-3, noise=0.1)
    good = {"lrs": lrs[:90], "losses": losses[:90], "valid_losses": losses[:90] + 0.1, "stopped": "diverged"}
    return LRFind(**good | changes)


def test_a_result_is_a_plain_value():
    found = a_found()
    assert isinstance(found.lrs, tuple) and all(
        type(v) is float for v in found.lrs + found.losses + found.smoothed
    )
    assert found == a_found() and hash(found) == hash(a_found()) and found != a_found(smooth=0.5)
    with pytest.raises(AttributeError):
        found.smooth = 0.5
    assert set(found.suggestions) == set(RULES) and found.lr == found.suggest("steepest")
    assert found.smoothed == tuple(smooth_losses(found.losses, 0.8))
    for text in (str(found), repr(found)):
        assert "90 of 100 steps" in text and "diverged" in text and all(name in text for name in RULES)
    ax = found.plot()
    assert len(ax.get_legend_handles_labels()[0]) == 3 + len(RULES)
    __import__("matplotlib.pyplot").pyplot.close("all")


def test_rules_that_disagree_are_said_to():
    """A fall over four decades, slow and then fast: the fast part is where it is steepest, but not where it
    happens."""
    lrs = np.geomspace(1e-7, 10, 100)
    at = np.log10(lrs)
    wide = LRFind(
        lrs, 5 - 3 * np.clip((at + 6) / 3, 0, 1) - 1.2 * np.clip((at + 0.5) / 0.5, 0, 1) + np.maximum(at, 0)
    )
    assert max(wide.suggestions.values()) / min(wide.suggestions.values()) > 20
    assert wide.disagree and "disagree" in str(wide)
    assert not a_found().disagree and "disagree" not in str(a_found())


def test_json_round_trip(tmp_path):
    short = LRFind([1e-3], [2.0], stopped="not finite", mode="linear", n_steps=7, smooth=0)
    for found in (a_found(), a_found(valid_losses=()), short):
        path = found.save(tmp_path / "found.json")
        assert LRFind.load(path) == found
        assert LRFind.load(str(path)).suggestions == found.suggestions
        assert json.loads(path.read_text())["format"] == "lessonkit.lr_find"
    assert [p.name for p in tmp_path.iterdir()] == ["found.json"]


def test_a_save_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "found.json"
    a_found().save(path)
    old = path.read_bytes()

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError):
        a_found(smooth=0.1).save(path)
    assert path.read_bytes() == old and len(list(tmp_path.iterdir())) == 1


def _changed(**changes):
    good = {"format": "lessonkit.lr_find", "version": 1, "lrs": [1e-3, 1e-2, 1e-1], "losses": [3, 2, 1]}
    return json.dumps({k: v for k, v in (good | changes).items() if v != "gone"})


def test_the_smallest_good_file(tmp_path):
    (tmp_path / "f.json").write_text(_changed())
    assert LRFind.load(tmp_path / "f.json").losses == (3.0, 2.0, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "null",
        '"text"',
        _changed(format="other"),
        _changed(version=2),
        _changed(format="gone"),
        _changed(losses="gone"),
        _changed(losses=[1, 2]),
        _changed(losses=[3, math.nan, 1]),
        _changed(losses=[3, math.inf, 1]),
        _changed(lrs=[1, 1, 2]),
        _changed(lrs=[0, 1, 2]),
        _changed(lrs=[3, 2, 1]),
        _changed(lrs=[], losses=[]),
        _changed(lrs="123", losses="321"),
        _changed(lrs=None),
        _changed(losses=[3, None, 1]),
        _changed(losses=[3, "2", 1]),
        _changed(valid_losses=[1]),
        _changed(stopped="why"),
        _changed(mode="cosine"),
        _changed(n_steps=2),
        _changed(n_steps="many"),
        _changed(smooth=1),
        _changed(smooth=None),
        _changed(unknown=1),
    ],
    ids=range(29),
)
def test_another_file_is_refused_by_name(tmp_path, text):
    path = tmp_path / "wrong.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="wrong.json is not a saved lr_find"):
        LRFind.load(path)


def test_bytes_are_refused_and_a_missing_file_is_missing(tmp_path):
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="not a saved lr_find"):
        LRFind.load(tmp_path / "x")
    with pytest.raises(FileNotFoundError):
        LRFind.load(tmp_path / "none")


# ----------------------------------------------------------------------------------------- is it a good lr?


def teacher_data(n=1600):
    g = torch.Generator().manual_seed(0)
    x = torch.randn(n, 20, generator=g)
    teacher = nn.Sequential(nn.Linear(20, 30), nn.Tanh(), nn.Linear(30, 4))
    with torch.no_grad():
        for p in teacher.parameters():
            p.copy_(torch.randn(p.shape, generator=g))
        return x, (teacher(x) + 0.5 * torch.randn(n, 4, generator=g)).argmax(1)


@pytest.mark.parametrize(
    "name, make",
    [
        ("sgd", lambda p, lr: torch.optim.SGD(p, lr, momentum=0.9)),
        ("adamw", lambda p, lr: torch.optim.AdamW(p, lr, fused=True)),
    ],
)
def test_the_suggestion_trains_nearly_as_well_as_the_best_of_a_grid(name, make):
    """Three epochs with cosine annealing at each half decade from 1e-4 to 3, against three epochs at the
    suggestion."""
    x, y = teacher_data()
    loader = DataLoader(TensorDataset(x[:1000], y[:1000]), 40, shuffle=True)

    def new():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(20, 48), nn.ReLU(), nn.Linear(48, 4))

    def score(lr):
        model = new()
        opt = make(model.parameters(), lr)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(opt, 75)
        for _ in range(3):
            for xb, yb in loader:
                opt.zero_grad()
                F.cross_entropy(model(xb), yb).backward()
                opt.step()
                scheduler.step()
        return (model(x[1000:]).argmax(1) == y[1000:]).float().mean().item()

    model = new()
    found = lr_find(model, loader, F.cross_entropy, make(model.parameters(), 1.0))
    grid = {lr: score(lr) for lr in np.geomspace(1e-4, 10**0.5, 10)}
    assert max(grid.values()) - min(grid.values()) > 0.2  # the choice matters here
    assert score(found.lr) > max(grid.values()) - 0.04


# ------------------------------------------------------------------------------------------------------ gpu


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_on_a_gpu(precision):
    seed_all()
    model = nn.Sequential(
        nn.Linear(6, 32), nn.BatchNorm1d(32), nn.Dropout(0.2), nn.ReLU(), nn.Linear(32, 3)
    ).cuda()
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    cuda, before = torch.cuda.get_rng_state_all(), copy.deepcopy(model.state_dict())
    found = lr_find(
        model, make_loader(400, 40), F.cross_entropy, opt, precision=precision, valid_dl=make_loader()
    )
    assert (
        found.suggestions
        and not opt.state
        and all(a.equal(b) for a, b in zip(cuda, torch.cuda.get_rng_state_all()))
    )
    assert all(v.equal(before[k]) for k, v in model.state_dict().items())
