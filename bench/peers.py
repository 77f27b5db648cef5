"""The peers set up for folders of photos, as their own documentation does it."""

import torch

from lessonkit.nets.weights import load_body

from .common import peer

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def torchvision_dl(folder, size: int, bs: int, workers: int, train: bool = True):
    """torchvision's ImageFolder and v2 transforms: about lessonkit's side_on without its perspective, or
    centre crops."""
    peer("torchvision")
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import InterpolationMode, v2

    augment = [
        v2.RandomResizedCrop(size, scale=(0.64, 1.0), ratio=(1.0, 1.0)),
        v2.RandomHorizontalFlip(),
        v2.RandomRotation(10, InterpolationMode.BILINEAR),
        v2.ColorJitter(0.2, 0.2),
    ]
    crop = augment if train else [v2.Resize(size), v2.CenterCrop(size)]
    transform = v2.Compose(
        [*crop, v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    )
    return torch.utils.data.DataLoader(
        ImageFolder(folder, transform), bs, shuffle=train, num_workers=workers, persistent_workers=workers > 0
    )


def fastai_dls(folder, size: int, bs: int, workers: int, stats=(MEAN, STD)):
    "fastai's ImageDataLoaders of train and valid: Resize, aug_transforms and normalisation, on the CPU."
    peer("fastai.vision.all")
    from fastai.vision.all import ImageDataLoaders, Normalize, Resize, aug_transforms

    return ImageDataLoaders.from_folder(
        folder,
        train="train",
        valid="valid",
        item_tfms=Resize(size),
        bs=bs,
        seed=0,
        batch_tfms=[*aug_transforms(), Normalize.from_stats(*map(list, stats))],
        num_workers=workers,
        device=torch.device("cpu"),
    )


def fastai_learner(dls, arch: str, weights, **options):
    """fastai's vision_learner on `weights`, a .pth file, or DEFAULT for efficientnet_lite0's own; its body is
    frozen but for batch norm (see its train_bn)."""
    peer("fastai.vision.all")
    import fastai.callback.progress
    import fastai.callback.schedule  # noqa: F401
    from fastai.vision.all import accuracy, default_split, model_meta, vision_learner
    from torchvision import models

    def pretrained(**_):
        if weights == "DEFAULT":
            parts = load_body(arch).net.named_children()  # fastai wants a chain of modules
            return torch.nn.Sequential(*(m for _, m in parts if any(True for _ in m.parameters())))
        net = models.get_model(arch)
        net.load_state_dict(torch.load(weights, weights_only=True))
        return net.features

    model_meta[pretrained] = {"cut": lambda net: net, "split": default_split}
    return vision_learner(dls, pretrained, normalize=False, metrics=accuracy, **options)
