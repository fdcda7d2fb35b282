"""The layers and caches that follow mlx-lm's, compared with mlx-lm's own, to the bit."""

import pytest

from lazarus_models.adapters import DoRALinear, LoRALinear, LoRASwitchLinear
from lazarus_models.backend import mx, nn
from lazarus_models.components.batch_kv_cache import BatchRotatingKVCache
from lazarus_models.components.kv_cache import KVCache, RotatingKVCache
from lazarus_models.components.state_cache import ArraysCache
from lazarus_models.components.switch_layers import SwitchGLU
from lazarus_models.generation.cache_files import read_caches, write_caches
from lazarus_models.ops.state_space_step import state_space_step
from lazarus_models.trees import flatten


def noise(*shape, seed=0):
    return mx.random.normal(shape, key=mx.random.key(seed))


def same(one, other):
    return mx.array_equal(one, other).item()


def fed(cache, tokens, seed):
    """What a cache returns for `tokens` new tokens of two heads."""
    return cache.update_and_fetch(noise(1, 2, tokens, 4, seed=seed), noise(1, 2, tokens, 4, seed=seed + 1000))


def compared(ours, theirs):
    masks = [cache.make_mask(1, return_array=False, window_size=5) for cache in (ours, theirs)]
    assert (masks[0] is None) == (masks[1] is None)
    assert masks[0] is None or same(mx.broadcast_to(masks[0], masks[1].shape), masks[1])
    several = [cache.make_mask(3, return_array=True, window_size=5) for cache in (ours, theirs)]
    assert same(*several)


@pytest.mark.parametrize("kind", ["all", "window"])
@pytest.mark.parametrize("chunks", [(3, 1, 1), (1,) * 12, (9, 1, 1, 4, 1, 1, 1), (2, 300, 1, 1)])
def test_a_text_is_kept_as_mlx_lm_keeps_it(kind, chunks, tmp_path):
    from mlx_lm.models import cache as theirs

    pair = (KVCache(), theirs.KVCache()) if kind == "all" else (RotatingKVCache(6), theirs.RotatingKVCache(6))
    for seed, tokens in enumerate(chunks):
        compared(*pair)
        ours, expected = (fed(each, tokens, seed) for each in pair)
        assert same(ours[0], expected[0])
        assert same(ours[1], expected[1])
        assert pair[0].offset == pair[1].offset
    theirs.save_prompt_cache(str(tmp_path / "theirs.safetensors"), [pair[1]], {"ids": "[]"})
    with (tmp_path / "ours.safetensors").open("wb") as file:
        write_caches(file, [pair[0]], {"ids": "[]"})
    assert (tmp_path / "ours.safetensors").read_bytes() == (tmp_path / "theirs.safetensors").read_bytes()
    (read,), metadata = read_caches(str(tmp_path / "theirs.safetensors"))
    assert metadata == {"ids": "[]"}
    assert same(fed(read, 1, 77)[0], fed(pair[0], 1, 77)[0])


def test_a_cache_that_keeps_first_tokens_is_refused():
    with pytest.raises(ValueError, match="keeps its first 4 tokens"):
        RotatingKVCache(6).state = (None, None, 0, 4, 6, 0)


@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize("lengths", [(3, 5, 1), (9, 2), (7, 12)])
def test_texts_of_a_batch_are_kept_as_mlx_lm_keeps_them(size, lengths):
    from mlx_lm.models import cache as theirs

    def read(kind, tokens, seed):
        cache = kind() if size is None else kind(size)
        fed(cache, tokens, seed)
        return cache

    kinds = (KVCache, theirs.KVCache) if size is None else (RotatingKVCache, theirs.RotatingKVCache)
    ours, expected = (kind.merge([read(kind, length, seed) for seed, length in enumerate(lengths)]) for kind in kinds)
    rows = len(lengths)

    def step(seed):
        masks = [cache.make_mask(1, return_array=True) for cache in (ours, expected)]
        assert same(mx.broadcast_to(masks[0], masks[1].shape), masks[1])
        new = noise(rows, 2, 1, 4, seed=seed), noise(rows, 2, 1, 4, seed=seed + 1000)
        one, other = ours.update_and_fetch(*new), expected.update_and_fetch(*new)
        assert same(one[0], other[0])
        assert same(one[1], other[1])
        assert same(ours.offset, expected.offset)
        assert same(ours.left_padding, expected.left_padding)

    for seed in range(3):
        step(seed)
    more = [kind.merge([read(kind, 4, 50)]) for kind in kinds]
    ours.extend(more[0])
    expected.extend(more[1])
    rows += 1
    for seed in range(8):
        step(seed)
    kept = mx.array([0, rows - 1])
    ours.filter(kept)
    expected.filter(kept)
    rows = 2
    for seed in range(3):
        step(seed)


def test_several_tokens_after_a_rotation_are_kept_as_mlx_lm_keeps_them():
    from mlx_lm.models.cache import BatchRotatingKVCache as Theirs

    theirs = Theirs(6, [0, 0])
    ours = BatchRotatingKVCache.of(6, [(None, None, 0), (None, None, 0)])
    for seed, tokens in enumerate((4, 1, 1, 1, 3, 1, 2)):
        new = noise(2, 2, tokens, 4, seed=seed), noise(2, 2, tokens, 4, seed=seed + 1000)
        one, other = ours.update_and_fetch(*new), theirs.update_and_fetch(*new)
        assert same(one[0], other[0])
        assert same(one[1], other[1])
        assert same(ours.left_padding, theirs.left_padding)


def test_states_join_and_leave_as_in_mlx_lm():
    from mlx_lm.models.cache import ArraysCache as Theirs

    def made(kind, seed):
        cache = kind(2)
        cache[0], cache[1] = noise(1, 3, 2, seed=seed), noise(1, 4, seed=seed)
        return cache

    ours, theirs = (kind.merge([made(kind, seed) for seed in range(3)]) for kind in (ArraysCache, Theirs))
    ours.extend(ArraysCache.merge([made(ArraysCache, 7)]))
    theirs.extend(Theirs.merge([made(Theirs, 7)]))
    for cache in (ours, theirs):
        cache.filter(mx.array([3, 1]))
    assert all(same(ours[place], theirs[place]) for place in range(2))


@pytest.mark.parametrize("clamp", [None, (1.702, 7.0)])
@pytest.mark.parametrize("bits", [None, 4])
@pytest.mark.parametrize("tokens", [3, 40])
def test_experts_equal_mlx_lms(clamp, bits, tokens):
    from mlx_lm.models.activations import SwigluOAI
    from mlx_lm.models.switch_layers import SwiGLU
    from mlx_lm.models.switch_layers import SwitchGLU as Theirs

    ours = SwitchGLU(32, 64, 5, bias=True, clamp=clamp)
    theirs = Theirs(32, 64, 5, activation=SwiGLU() if clamp is None else SwigluOAI(*clamp), bias=True)
    theirs.update(ours.parameters())
    if bits:
        for layer in (ours, theirs):
            nn.quantize(layer, group_size=32, bits=bits)
    assert flatten(ours.parameters()).keys() == flatten(theirs.parameters()).keys()
    x, chosen = noise(1, tokens, 32), mx.random.randint(0, 5, (1, tokens, 2), key=mx.random.key(1))
    assert same(ours(x, chosen), theirs(x, chosen))


@pytest.mark.parametrize("bits", [None, 3, 4])
@pytest.mark.parametrize("kind", ["lora", "dora", "experts"])
def test_adapters_equal_mlx_lms(kind, bits):
    from mlx_lm.models.switch_layers import SwitchLinear as TheirStack
    from mlx_lm.tuner import dora, lora

    if kind == "dora" and bits == 3:
        pytest.skip("mlx-lm takes the width of 3-bit weights for another one")
    adapters = {"lora": (LoRALinear, lora.LoRALinear), "dora": (DoRALinear, dora.DoRALinear)}
    Ours, Theirs = adapters.get(kind, (LoRASwitchLinear, lora.LoRASwitchLinear))
    if kind == "experts":
        stack, base = SwitchGLU(64, 32, 3, bias=True).gate_proj, TheirStack(64, 32, 3, bias=True)
        base.update(stack.parameters())
    else:
        stack = base = nn.Linear(64, 32)
    if bits:
        stack, base = (layer.to_quantized(group_size=32, bits=bits) for layer in (stack, base))
    ours = Ours(stack, rank=2, dropout=0.0, scale=1.5)
    theirs = Theirs.from_base(base, r=2, dropout=0.0, scale=1.5)
    changed = {name: noise(*ours[name].shape, seed=place) for place, name in enumerate(("lora_a", "lora_b"))}
    ours.update(changed)
    theirs.update(changed)
    x = noise(5, 1, 64)
    given = (x, mx.array([0, 2, 1, 1, 0])) if kind == "experts" else (x,)
    assert same(ours(*given), theirs(*given))
    assert same(ours.fuse().weight, theirs.fuse(dequantize=True).weight)
    assert same(ours.fuse().bias, theirs.fuse(dequantize=True).bias)


@pytest.mark.skipif(mx.default_device().type != mx.cpu, reason="a GPU runs mlx-lm's kernel")
def test_a_state_space_step_equals_mlx_lms():
    from mlx_lm.models.ssm import ssm_update

    x, steps = noise(2, 1, 8, 4), noise(2, 1, 8, seed=1)
    b, c, state = noise(2, 1, 2, 16, seed=2), noise(2, 1, 2, 16, seed=3), noise(2, 8, 4, 16, seed=4)
    log_rates, skip, bias = (noise(8, seed=seed) for seed in (5, 6, 7))
    limit = (0.01, 0.9)
    ours = state_space_step(x, steps, b, c, state, log_rates=log_rates, skip=skip, steps_bias=bias, limit=limit)
    theirs = ssm_update(x, log_rates, b, c, skip, steps, bias, state, limit)
    assert same(ours[0], theirs[0])
    assert same(ours[1], theirs[1])
