"""Transforms against numpy and PIL, their bounds, and what must never happen to a label."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from lessonkit.images.augment import PRESETS, Augment, draw_transforms, get_preset
from lessonkit.images.render import Buffers, centre, pack_pixels, render, sample, sample_values


def picture(h, w, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (h, w, 3), dtype=np.uint8)


def smooth(h, w):
    "A picture without detail, so that ways of resampling agree."
    y, x = np.mgrid[:h, :w]
    return np.uint8(
        np.stack([255 * x / w, 255 * y / h, 127 + 100 * np.sin(x / w * 3) * np.cos(y / h * 2)], -1)
    )


def test_nothing_drawn_is_the_centre_crop():
    for h, w in ((40, 40), (40, 70), (90, 40)):
        p = picture(h, w)
        assert torch.allclose(
            render([p], draw_transforms(1, "none", np.random.default_rng(0)), 40), centre([p], 40), atol=1e-5
        )


def test_normalisation_is_numpys():
    p, mean, std = picture(16, 16), (0.4, 0.5, 0.6), (0.2, 0.3, 0.4)
    want = ((p / 255 - mean) / std).transpose(2, 0, 1)
    assert np.allclose(centre([p], 16, mean, std)[0], want, atol=1e-5)
    assert np.allclose(
        render([p], draw_transforms(1, "none", np.random.default_rng(0)), 16, mean, std)[0], want, atol=1e-4
    )


@pytest.mark.parametrize("angle", [7, 25, -40])
def test_rotation_is_pils(angle):
    p = smooth(64, 64)
    drawn = draw_transforms(1, "none", np.random.default_rng(0))
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    drawn.matrix[0, :2, :2] = [[c, -s], [s, c]]
    ours = render([p], drawn, 64)[0].permute(1, 2, 0).numpy() * 255
    pils = np.asarray(Image.fromarray(p).rotate(angle, Image.Resampling.BILINEAR), dtype=float)
    inside = np.s_[20:44, 20:44]
    assert np.abs(ours[inside] - pils[inside]).max() < 2.5


def test_zoom_and_shift_are_a_crop():
    p = smooth(60, 90)
    drawn = draw_transforms(1, Augment(zoom=1.0001), np.random.default_rng(0))
    drawn.matrix[0] = np.diag([1 / 1.5, 1 / 1.5, 1])
    for sx, sy, left, top in ((-1, -1, 0, 0), (1, 1, 50, 20), (0, 0, 25, 10)):
        drawn.shift[0] = sx, sy
        ours = render([p], drawn, 40)[0].permute(1, 2, 0).numpy() * 255
        crop = p[top : top + 40, left : left + 40]
        assert np.abs(ours - crop).max() < 1.5, (sx, sy)


def test_side_on_never_turns_a_picture_over():
    p = np.zeros((32, 32, 3), np.uint8)
    p[:16] = 255  # sky above, ground below
    batch = render([p] * 300, draw_transforms(300, "side_on", np.random.default_rng(0)), 32)
    assert (batch[:, :, :4].mean((1, 2, 3)) > batch[:, :, -4:].mean((1, 2, 3))).all()
    left = np.ascontiguousarray(p.transpose(1, 0, 2))
    batch = render([left] * 300, draw_transforms(300, "side_on", np.random.default_rng(0)), 32)
    mirrored = (batch[..., :4].mean((1, 2, 3)) < batch[..., -4:].mean((1, 2, 3))).float().mean()
    assert 0.4 < mirrored < 0.6


def test_top_down_uses_all_eight_and_none_uses_one():
    p = picture(24, 24)
    exact = Augment(flip="dihedral")
    batch = render([p] * 200, draw_transforms(200, exact, np.random.default_rng(3)), 24)
    plain = centre([p], 24)[0].numpy()
    eight = [np.rot90(f, k, (1, 2)) for f in (plain, plain[:, :, ::-1]) for k in range(4)]
    hits = [sum(np.allclose(b, e, atol=1e-4) for b in batch.numpy()) for e in eight]
    assert sum(hits) == 200 and min(hits) >= 10
    still = render([p] * 5, draw_transforms(5, "none", np.random.default_rng(3)), 24)
    assert np.allclose(still.numpy(), plain, atol=1e-5)


@given(
    st.integers(0, 2**32),
    st.sampled_from(["side_on", "top_down", "none"]),
    st.integers(8, 90),
    st.integers(8, 90),
    st.integers(8, 64),
)
@settings(deadline=None, max_examples=60)
def test_any_picture_any_size_stays_within_the_bounds(seed, preset, h, w, size):
    drawn = draw_transforms(3, preset, np.random.default_rng(seed))
    batch = render([picture(h, w, s) for s in range(3)], drawn, size)
    a = PRESETS[preset]
    assert batch.shape == (3, 3, size, size) and batch.dtype == torch.float32 and batch.isfinite().all()
    bound = np.exp(2 * a.lighting + a.lighting / 4)
    assert (drawn.gain <= bound + 1e-9).all() and (drawn.gain >= 1 / bound - 1e-9).all()
    zooms = 1 / np.sqrt(np.abs(np.linalg.det(drawn.matrix[:, :2, :2])))
    assert (zooms >= 1 - 1e-9).all() and (zooms <= a.zoom + 1e-9).all()
    assert (np.abs(drawn.matrix[:, 2, :2]) <= a.warp / 2 + 1e-9).all()


def test_the_seed_decides_and_pictures_do_not_share_their_luck():
    p = picture(40, 50)
    a, b, c = (
        render([p] * 6, draw_transforms(6, "side_on", np.random.default_rng(s)), 32) for s in (1, 1, 2)
    )
    assert torch.equal(a, b) and not torch.equal(a, c)
    assert all(not torch.equal(a[0], a[k]) for k in range(1, 6))


def test_a_part_of_the_transforms_is_those_of_a_part():
    pictures = [picture(30, 40, s) for s in range(6)]
    drawn = draw_transforms(6, "top_down", np.random.default_rng(0))
    index = np.array([4, 1])
    assert torch.allclose(
        render([pictures[i] for i in index], drawn[index], 20), render(pictures, drawn, 20)[index], atol=1e-5
    )


def test_strength_scales_within_the_bounds():
    strong, off = PRESETS["side_on"].scaled(10), PRESETS["side_on"].scaled(0)
    assert (strong.rotate, strong.lighting, strong.warp) == (100, 0.9, 0.5) and strong.zoom == pytest.approx(
        3.5
    )
    assert (off.rotate, off.zoom, off.lighting, off.warp, off.flip) == (0, 1, 0, 0, "horizontal")


@pytest.mark.parametrize(
    "make, word",
    [
        (lambda: Augment(flip="vertical"), "flip='vertical'"),
        (lambda: Augment(rotate=181), "rotate=181"),
        (lambda: Augment(zoom=0.5), "zoom=0.5"),
        (lambda: Augment(lighting=1), "lighting=1"),
        (lambda: Augment(warp=1), "warp=1"),
        (lambda: get_preset("sideways"), "augment='sideways'"),
        (lambda: PRESETS["none"].scaled(-1), "strength=-1"),
        (lambda: centre([picture(20, 40)], 32), "40x20 px"),
    ],
)
def test_bad_input_is_named(make, word):
    with pytest.raises(ValueError) as e:
        make()
    assert word in str(e.value)


def both_ways(pictures, drawn, size, mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.4)):
    "The batch as the CPU makes it and as a GPU would."
    values = sample_values(drawn, np.array([p.shape[:2] for p in pictures]), size, mean, std)
    return render(pictures, drawn, size, mean, std), sample(*pack_pixels(pictures), *values, size)


@given(st.integers(0, 2**32), st.sampled_from(["side_on", "top_down", "none"]), st.integers(8, 64))
@settings(deadline=None, max_examples=60)
def test_cpu_and_gpu_agree_on_pictures_of_any_shape(seed, preset, size):
    rng = np.random.default_rng(seed)
    shapes = rng.integers(size, 3 * size, (4, 2))
    drawn = draw_transforms(4, PRESETS[preset].scaled(rng.uniform(0, 2)), rng)
    quick, slow = both_ways([smooth(*s) for s in shapes], drawn, size)
    levels = (
        (quick - slow).abs()
        * torch.tensor([0.2, 0.3, 0.4]).view(1, 3, 1, 1)
        * 255
        / torch.from_numpy(drawn.gain).view(4, 3, 1, 1)
    )
    assert levels.mean() < 1 and levels.max() < 40  # rounding to whole levels; at mirrored edges 1/32 px


def test_cpu_and_gpu_agree_with_grid_sample_on_noise():
    "torch's own sampling, mirrored as ours, of a square picture."
    p = picture(40, 40)
    drawn = draw_transforms(1, PRESETS["side_on"], np.random.default_rng(5))
    quick, slow = both_ways([p], drawn, 32, (0, 0, 0), (1, 1, 1))
    line = (np.arange(32) * 2 + 1) / 32 - 1
    x, y = np.meshgrid(line, line)
    points = np.stack([x, y, np.ones_like(x)], -1) @ drawn.matrix[0].T
    crop = 1 - np.sqrt(abs(np.linalg.det(drawn.matrix[0, :2, :2])))
    grid = points[..., :2] / points[..., 2:] + crop * drawn.shift[0]
    want = torch.nn.functional.grid_sample(
        torch.from_numpy(p).permute(2, 0, 1)[None].double(),
        torch.from_numpy(grid)[None],
        padding_mode="reflection",
        align_corners=False,
    )[0]
    gain, offset = (torch.from_numpy(np.array(v[0])).view(3, 1, 1) for v in (drawn.gain, drawn.offset))
    want = want / 255 * gain + offset
    assert (slow[0] - want).abs().max() < 1e-3 and (quick[0] - want).abs().mean() * 255 < 4


def test_without_opencv_the_slow_way_stands_in(monkeypatch):
    p, drawn = smooth(40, 60), draw_transforms(3, "top_down", np.random.default_rng(0))
    quick = render([p] * 3, drawn, 32)
    monkeypatch.setattr("lessonkit.images.render.optional", lambda name: None)
    slow = render([p] * 3, drawn, 32)
    assert slow.shape == quick.shape and slow.is_contiguous(memory_format=torch.channels_last)
    assert (quick - slow).abs().mean() < 1 / 255
    assert torch.equal(render([p], None, 40), centre([p], 40))


def test_a_batch_that_is_held_is_never_written_to_again():
    buffers, p = Buffers(), smooth(20, 20)
    held = [
        render([p] * 4, draw_transforms(4, "top_down", np.random.default_rng(k)), 16, buffers=buffers)
        for k in range(12)
    ]
    again = [render([p] * 4, draw_transforms(4, "top_down", np.random.default_rng(k)), 16) for k in range(12)]
    assert all(torch.equal(a, b) for a, b in zip(held, again))
    part = held[5][1:, :, 2:4]
    was, held = part.clone(), None
    for k in range(12):
        render([p] * 4, draw_transforms(4, "top_down", np.random.default_rng(90 + k)), 16, buffers=buffers)
    assert torch.equal(part, was)


def test_memory_that_nobody_holds_is_used_again():
    buffers = Buffers()
    seen = {render([smooth(20, 20)] * 4, None, 16, buffers=buffers).data_ptr() for _ in range(20)}
    assert len(seen) == 1
    x = torch.ones(1, requires_grad=True)
    kept = render([smooth(20, 20)] * 4, None, 16, buffers=buffers) * x  # autograd holds the batch
    was = kept.detach().clone()
    [render([picture(20, 20, k)] * 4, None, 16, buffers=buffers) for k in range(9)]
    kept.sum().backward()
    assert x.grad.item() == pytest.approx(was.sum().item(), rel=1e-5)
