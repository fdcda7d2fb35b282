"""Images as token ids: grey levels, readers, rows and their manifest."""

import json
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from digit_images import digits, write_idx
from lazarus_core.errors import LazarusError, OutputTaken
from lazarus_tokenkit import Encoder, build_lengths, compute_fingerprint, encode_rows, load_tokenizer
from lazarus_tokenkit.cli.app import app
from lazarus_tokenkit.errors import SampleError, TokenizerError
from lazarus_tokenkit.images import (
    ImageSettings,
    decode_image,
    dequantise,
    encode_image,
    image_grid,
    loss_mask,
    manifest_path,
    open_images,
    png_bytes,
    prepare_images,
    prompt_ids,
    quantise,
    write_grid,
)
from lazarus_tokenkit.images.preparation import check_origin
from lazarus_tokenkit.tokenizers import PixelFormat, pixel_format, pixel_tokenizer
from suite import examples

GREY = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("levels", range(2, 257))
def test_a_level_survives_and_a_grey_value_is_nearly_kept(levels: int):
    every = np.arange(levels)
    assert (quantise(dequantise(every, levels), levels) == every).all()
    restored = dequantise(quantise(GREY, levels), levels).astype(np.int64)
    assert np.abs(restored - GREY).max() <= 255 / (2 * (levels - 1)) + 0.5
    assert (restored[0], restored[-1]) == (0, 255)
    assert (np.diff(restored) >= 0).all()
    # The nearest level by exact fractions, independent of the integer arithmetic.
    assert quantise(GREY, levels).tolist() == [int(grey * (levels - 1) / 255 + 0.5) for grey in range(256)]


formats = st.builds(
    PixelFormat, st.integers(1, 6), st.integers(1, 6), levels=st.integers(2, 256), labels=st.integers(0, 12)
)


@settings(deadline=None, max_examples=examples(60))
@given(pixels=formats, seed=st.integers(0, 2**32 - 1))
def test_an_image_of_levels_survives_the_tokens(pixels: PixelFormat, seed: int):
    generator = np.random.default_rng(seed)
    levels = generator.integers(0, pixels.levels, (pixels.height, pixels.width))
    label = None if generator.random() < 0.3 or not pixels.labels else int(generator.integers(pixels.labels))
    grey = dequantise(levels, pixels.levels)
    ids = encode_image(pixels, grey, label)
    assert len(ids) == len(loss_mask(pixels)) == pixels.length
    assert ids[2:] == levels.ravel().tolist()
    assert pixels.mask_id not in ids
    image, found = decode_image(pixels, ids)
    assert (image == grey).all() and found == label


@settings(deadline=None, max_examples=examples(20))
@given(pixels=formats)
def test_the_tokenizers_files_hold_the_format(pixels: PixelFormat):
    tokenizer = load_tokenizer(pixels.name)
    assert pixel_format(tokenizer) == pixels
    assert tokenizer.vocab_size == pixels.bos_id + 3
    assert (tokenizer.bos_id, tokenizer.eos_id) == (pixels.bos_id, pixels.bos_id + 1)
    ids = list(range(pixels.levels))
    assert tokenizer.encode(tokenizer.decode(ids)) == ids


def test_a_saved_tokenizer_is_the_same_and_another_shape_has_another_fingerprint(tmp_path: Path):
    tokenizer = load_tokenizer("pixels:9x7:4:10")
    tokenizer.save(tmp_path / "saved")
    again = load_tokenizer(tmp_path / "saved")
    assert pixel_format(again) == PixelFormat(9, 7, levels=4, labels=10)
    prints = {compute_fingerprint(each).fingerprint for each in (tokenizer, again)}
    assert len(prints) == 1
    others = ("pixels:7x9:4:10", "pixels:9x7:5:10", "pixels:9x7:4:9")
    assert len(prints | {compute_fingerprint(name).fingerprint for name in others}) == 4


def test_transformers_reads_the_same_ids(tmp_path: Path):
    import tokenizers

    load_tokenizer("pixels:1x3:4:2").save(tmp_path / "saved")
    found = tokenizers.Tokenizer.from_file(str(tmp_path / "saved" / "tokenizer.json"))
    assert found.encode("<|label_1|>3 0 2").ids == [8, 5, 3, 0, 2]


@pytest.mark.parametrize(
    "name",
    ["pixels:", "pixels:28x28", "pixels:0x4:4:2", "pixels:300x300:4:2", "pixels:4x4:1:2", "pixels:4x4:257:2",
     "pixels:4x4:4:99999", "pixels:4x4:-4:2", "pixels:٤x4:4:2"],
)  # fmt: skip
def test_a_wrong_name_is_refused(name: str):
    with pytest.raises(TokenizerError, match=r"give|is not of the form") as error:
        load_tokenizer(name)
    assert error.value.code == "LT-E480"


def test_a_tokenizer_of_texts_is_refused():
    with pytest.raises(TokenizerError, match="`byte` is not a tokenizer of images") as error:
        pixel_format(load_tokenizer("byte"))
    assert error.value.code == "LT-E481"


def test_a_label_that_does_not_exist_is_refused():
    pixels = PixelFormat(1, 1, levels=2, labels=3)
    assert prompt_ids(pixels, 2) == [7, 4] and prompt_ids(pixels, None) == [7, 5]
    for label in (3, -1):
        with pytest.raises(SampleError, match=rf"the label {label} is not one of the 3 labels \(0 to 2\)") as error:
            prompt_ids(pixels, label)
        assert error.value.code == "LT-E482"


@pytest.mark.parametrize(
    ("ids", "words"),
    [([7, 3], "2 tokens are not an image"), ([0, 3, 1], "begins with id 7"), ([7, 1, 1], "not a label"),
     ([7, 3, 2], "not 1 levels from 0 to 1")],
)  # fmt: skip
def test_tokens_that_are_no_image_are_refused(ids: list[int], words: str):
    with pytest.raises(SampleError, match=words) as error:
        decode_image(PixelFormat(1, 1, levels=2, labels=3), ids)
    assert error.value.code == "LT-E483"


def read_png(content: bytes) -> np.ndarray:
    """A small independent reader: chunks with their checksums, then rows of filter 0."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, chunks = 8, {}
    while at < len(content):
        (size,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + size]
        assert struct.unpack(">I", content[at + 8 + size : at + 12 + size])[0] == zlib.crc32(kind + body)
        chunks[kind] = body
        at += 12 + size
    width, height = struct.unpack(">II", chunks[b"IHDR"][:8])
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(height, width + 1)
    assert not rows[:, 0].any()
    return rows[:, 1:]


@settings(deadline=None, max_examples=examples(30))
@given(height=st.integers(1, 9), width=st.integers(1, 9), seed=st.integers(0, 99))
def test_a_png_file_has_the_pixels(height: int, width: int, seed: int):
    grey = np.random.default_rng(seed).integers(0, 256, (height, width)).astype(np.uint8)
    assert (read_png(png_bytes(grey)) == grey).all()


def test_pillow_reads_the_png_file(tmp_path: Path):
    pillow = pytest.importorskip("PIL.Image")
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    (tmp_path / "a.png").write_bytes(png_bytes(grey))
    with pillow.open(tmp_path / "a.png") as image:
        assert image.mode == "L" and (np.asarray(image) == grey).all()


@settings(deadline=None, max_examples=examples(30))
@given(count=st.integers(1, 7), columns=st.integers(1, 4), zoom=st.integers(1, 3))
def test_a_grid_has_every_image_at_its_place(count: int, columns: int, zoom: int):
    images = [np.full((2, 3), number, np.uint8) for number in range(count)]
    grid = image_grid(images, columns, zoom)
    small = grid[::zoom, ::zoom]
    assert (small.repeat(zoom, 0).repeat(zoom, 1) == grid).all()
    for number in range(count):
        row, column = divmod(number, columns)
        assert (small[1 + row * 3 : 3 + row * 3, 1 + column * 4 : 4 + column * 4] == number).all()
    assert (small == 128).sum() == small.size - 6 * count


# Readers


def grey_of(path: Path, **names: str) -> tuple[np.ndarray, list[int | None]]:
    found = list(open_images(path, ImageSettings(**names)).images())
    return np.stack([each.grey for each in found]), [each.label for each in found]


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_give_their_images(tmp_path: Path, compressed: bool):
    images, labels = digits(7)
    grey, found = grey_of(write_idx(tmp_path, images, labels, compressed=compressed))
    assert (grey == images).all() and found == labels.tolist()


def test_idx_files_without_labels_give_none(tmp_path: Path):
    images, _ = digits(3)
    source = open_images(write_idx(tmp_path, images, None))
    assert source.labels == 0 and [each.label for each in source.images()] == [None] * 3


def test_an_npz_file_gives_its_arrays(tmp_path: Path):
    images, labels = digits(6)
    np.savez_compressed(tmp_path / "a.npz", x=images, y=labels.astype(np.int64))
    np.savez(tmp_path / "b.npz", x_train=images, y_train=labels, x_test=images[::-1], y_test=labels[::-1])
    grey, found = grey_of(tmp_path / "a.npz")
    assert (grey == images).all() and found == labels.tolist()
    with pytest.raises(SampleError, match=r"2 arrays of bytes .* name one by `array`"):
        grey_of(tmp_path / "b.npz")
    grey, found = grey_of(tmp_path / "b.npz", array="x_test", label_array="y_test")
    assert (grey == images[::-1]).all() and found == labels[::-1].tolist()


def test_a_folder_gives_its_images_with_the_subfolders_as_labels(tmp_path: Path):
    pytest.importorskip("PIL.Image")
    images, labels = digits(12)
    for number, (image, label) in enumerate(zip(images, labels, strict=True)):
        for folder in (tmp_path / "numbers" / str(label), tmp_path / "names" / f"digit{label}", tmp_path / "bare"):
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{number:02}.png").write_bytes(png_bytes(image))
            (folder / f"._{number:02}.png").write_bytes(b"attributes")  # of a file that macOS copied
    order = sorted(range(12), key=lambda number: (str(labels[number]), number))
    grey, found = grey_of(tmp_path / "numbers")
    assert (grey == images[order]).all() and found == labels[order].tolist()
    names = sorted(set(labels.tolist()))
    assert grey_of(tmp_path / "names")[1] == [names.index(label) for label in labels[order]]
    assert open_images(tmp_path / "names").label_names == tuple(f"digit{name}" for name in names)
    grey, found = grey_of(tmp_path / "bare")
    assert (grey == images).all() and found == [None] * 12


def test_a_parquet_file_gives_its_images(tmp_path: Path):
    pytest.importorskip("PIL.Image")
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    images, labels = digits(5)
    column = [{"bytes": png_bytes(image), "path": None} for image in images]
    parquet.write_table(arrow.table({"image": column, "label": labels.astype(np.int64)}), tmp_path / "a.parquet")
    grey, found = grey_of(tmp_path / "a.parquet")
    assert (grey == images).all() and found == labels.tolist()


def test_pixels_of_other_modes_are_read_or_refused(tmp_path: Path):
    pillow = pytest.importorskip("PIL.Image")
    grey = np.arange(0, 240, 20, dtype=np.uint8).reshape(3, 4)
    for mode in ("RGB", "LA", "P", "RGBA"):
        (tmp_path / mode).mkdir()
        pillow.fromarray(grey).convert(mode).save(tmp_path / mode / "a.png")
        assert (grey_of(tmp_path / mode)[0][0] == grey).all()
    (tmp_path / "deep").mkdir()
    pillow.fromarray(grey.astype(np.uint16) * 256).save(tmp_path / "deep" / "a.png")
    with pytest.raises(SampleError, match="save it with 8 bits a channel"):
        open_images(tmp_path / "deep")


def damaged_sources(folder: Path) -> dict[str, tuple[Path, str]]:
    """Damaged sources by name, with words of the message."""
    images, labels = digits(4)
    made: dict[str, tuple[Path, str]] = {}

    def idx(name: str, words: str, change, *, compressed: bool = False) -> None:
        (folder / name).mkdir()
        path = write_idx(folder / name, images, labels, compressed=compressed)
        path.write_bytes(change(path.read_bytes()))
        made[name] = path, words

    idx("cut", "ends within image 3", lambda content: content[:-1])
    idx("long", "has bytes after its last image", lambda content: content + b"a")
    idx("magic", "begins with 0x00000801, not 0x00000803", lambda content: b"\0\0\x08\1" + content[4:])
    idx("header", "ends within the header", lambda content: content[:6])
    idx("huge", "a side must be from 1 to 4,096", lambda content: content[:8] + b"\xff" * 8 + content[16:])
    idx("count", "has 4 labels for the 5 images", lambda content: content[:7] + b"\5" + content[8:])
    idx("gzip", "is damaged", lambda content: content[:-12], compressed=True)
    for name, content, words in (
        ("a.npz", b"no archive", "is not a file of arrays"),
        ("a.txt", b"text", "has no images of a known form"),
    ):
        (folder / name).write_bytes(content)
        made[name] = folder / name, words
    np.savez(folder / "float.npz", x=images / 255)
    made["float"] = folder / "float.npz", r"has no array of bytes \(N, H, W\); arrays: x float64\(4, 9, 7\)"
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    made["objects"] = folder / "objects.npz", "is not a file of arrays"
    for name, head in (("brackets", "(4,"), ("allocation", "(1000000000000, 9, 7)"), ("bool", "(True, 9, 7)")):
        array = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {head}, }}".ljust(117).encode()
        with zipfile.ZipFile(folder / f"{name}.npz", "w") as archive:
            archive.writestr("x.npy", b"\x93NUMPY\x01\x00v\x00" + array + b"\nabc")
        made[name] = folder / f"{name}.npz", "is not a file of arrays"
    np.savez(folder / "locked.npz", x=images)
    content = bytearray((folder / "locked.npz").read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1  # the flag of an encrypted member
    (folder / "locked.npz").write_bytes(content)
    made["locked"] = folder / "locked.npz", "is not a file of arrays"
    (folder / "empty").mkdir()
    made["empty"] = folder / "empty", r"has no \.png files"
    made["absent"] = folder / "absent", "does not exist"
    return made


def test_damaged_sources_are_refused_with_their_place(tmp_path: Path):
    for name, (path, words) in damaged_sources(tmp_path).items():
        with pytest.raises(SampleError, match=words) as error:
            list(open_images(path).images())
        assert error.value.code in ("LT-E484", "LT-E485"), name
        assert str(path) in error.value.message or str(path.parent) in error.value.message


def resized(png: bytes, side: int) -> bytes:
    """A PNG file whose header states another size."""
    head = b"IHDR" + struct.pack(">II", side, side) + png[24:29]
    return png[:12] + head + struct.pack(">I", zlib.crc32(head)) + png[33:]


def test_damaged_image_files_are_refused(tmp_path: Path):
    pytest.importorskip("PIL.Image")
    good = png_bytes(digits(1)[0][0])
    for name, content, words in (
        ("cut", good[:40], "is not an image"),
        ("text", b"text", "is not an image"),
        ("shape", png_bytes(np.zeros((2, 2), np.uint8)), "give images of one shape"),
        ("large", resized(good, 10_000), "too many pixels: a side must be from 1 to 4,096"),  # Pillow warns
        ("huge", resized(good, 20_000), "too many pixels: a side must be from 1 to 4,096"),  # Pillow refuses
    ):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "a.png").write_bytes(good)
        (folder / "b.png").write_bytes(content)
        with pytest.raises(SampleError, match=words) as error:
            list(open_images(folder).images())
        assert "b.png" in error.value.message
    mixed = tmp_path / "mixed"
    (mixed / "0").mkdir(parents=True)
    for path in (mixed / "0" / "a.png", mixed / "b.png"):
        path.write_bytes(good)
    with pytest.raises(SampleError, match="is in no subfolder, and other files are"):
        open_images(mixed)


# Rows


@pytest.fixture
def source(tmp_path: Path) -> Path:
    images, labels = digits(20)
    return write_idx(tmp_path, images, labels)


def test_rows_are_what_the_encoder_reads(source: Path, tmp_path: Path):
    found = prepare_images(source, tmp_path / "rows.jsonl", ImageSettings(levels=4))
    images, labels = digits(20)
    assert found.pixels == PixelFormat(9, 7, levels=4, labels=10) and found.count == 20
    assert found.by_label == tuple((labels == label).sum() for label in range(10))
    tokenizer = pixel_tokenizer(found.pixels)
    rows = list(encode_rows(tmp_path / "rows.jsonl", Encoder(tokenizer)))
    for row, grey, label in zip(rows, images, labels, strict=True):
        assert list(row.ids) == encode_image(found.pixels, grey, int(label))
        assert list(row.loss_mask) == loss_mask(found.pixels)
        assert row.is_text


def test_equal_images_give_equal_bytes(source: Path, tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        prepare_images(source, tmp_path / name / "rows.jsonl")
    for name in ("rows.jsonl", "rows.jsonl.images.json"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_blocks_are_averaged(tmp_path: Path):
    grey = np.arange(24, dtype=np.uint8).reshape(1, 4, 6) * 10
    np.savez(tmp_path / "a.npz", x=grey)
    prepare_images(tmp_path / "a.npz", tmp_path / "rows.jsonl", ImageSettings(levels=256, shrink=2))
    row = json.loads((tmp_path / "rows.jsonl").read_text())
    assert row["input_ids"][2:] == [35, 55, 75, 155, 175, 195] and "label" not in row
    with pytest.raises(SampleError, match="`shrink` 3 does not divide the images of 4 x 6"):
        prepare_images(tmp_path / "a.npz", tmp_path / "rows.jsonl", ImageSettings(shrink=3))


def test_a_name_that_no_manifest_can_hold_is_refused_before_anything_is_written(source: Path, tmp_path: Path):
    with pytest.raises(UnicodeEncodeError):
        prepare_images(source, tmp_path / "bad\udcff")
    assert sorted(each.name for each in tmp_path.iterdir()) == [
        source.name,
        source.name.replace("images-idx3", "labels-idx1"),
    ]


def test_labels_and_limit(source: Path, tmp_path: Path):
    with pytest.raises(SampleError, match="give at least 10"):
        prepare_images(source, tmp_path / "rows.jsonl", ImageSettings(labels=9))
    found = prepare_images(source, tmp_path / "rows.jsonl", ImageSettings(labels=12, limit=3))
    assert (found.pixels.labels, found.count) == (12, 3)
    assert not (tmp_path / "rows.jsonl.tmp").exists()


def test_a_file_of_others_is_kept_and_own_rows_are_replaced(source: Path, tmp_path: Path):
    other = tmp_path / "other.jsonl"
    other.write_text("mine\n")
    with pytest.raises(OutputTaken):
        prepare_images(source, other)
    assert other.read_text() == "mine\n"
    prepare_images(source, other, force=True)
    prepare_images(source, other, ImageSettings(levels=3))
    other.write_text("edited\n")
    with pytest.raises(OutputTaken):
        prepare_images(source, other)


# Chain


def origin(rows: Path, *sources: Path) -> list[tuple[str, bool | None]]:
    return [(name, is_valid) for name, is_valid, _ in check_origin([rows], sources)]


def test_rows_are_walked_back_to_their_images(source: Path, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    prepare_images(source, rows, ImageSettings(levels=4, limit=15))
    assert origin(rows) == [("images", True), ("image files", None)]
    assert origin(rows, source) == [("images", True), ("image files", True)]
    content = bytearray(source.read_bytes())
    content[16 + 3 * 63] ^= 255
    source.write_bytes(content)
    *_, (name, is_valid, words) = check_origin([rows], [source])
    assert (name, is_valid) == ("image files", False) and "image 4 of" in words
    assert list(check_origin([tmp_path / "plain.jsonl"], [source])) == []


def test_an_edited_row_is_found(source: Path, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    prepare_images(source, rows)
    header = build_lengths(rows, Encoder(load_tokenizer("pixels:9x7:8:10")), tmp_path / "lengths.jsonl")
    assert header.parts["data"]["files"][1]["role"] == "manifest"
    rows.write_text(rows.read_text().replace("[0,0,1", "[0,1,1", 1))
    assert origin(rows) == [("images", False)]
    with pytest.raises(SampleError, match="prepare the images again") as error:
        build_lengths(rows, Encoder(load_tokenizer("pixels:9x7:8:10")), tmp_path / "lengths2.jsonl")
    assert error.value.code == "LT-E488"


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"lazarus_images":99}', '{"lazarus_images":1,"rows":{}}'])
def test_a_damaged_manifest_is_refused(source: Path, tmp_path: Path, content: str):
    rows = tmp_path / "rows.jsonl"
    prepare_images(source, rows)
    manifest_path(rows).write_text(content)
    with pytest.raises(LazarusError, match="not a manifest of images"):
        origin(rows)


# Commands


def command(*words: object, code: int = 0) -> str:
    done = CliRunner().invoke(app, [str(word) for word in words])
    assert done.exit_code == code, done.output
    return done.stdout


def test_the_commands_make_rows_and_a_grid(source: Path, tmp_path: Path):
    rows, grid = tmp_path / "rows.jsonl", tmp_path / "grid.png"
    found = json.loads(command("images", "prepare", source, "--levels", 2, "-o", rows, "--json"))
    assert (found["images"], found["tokenizer"], found["mask_id"], found["tokens_per_image"]) == (
        20,
        "pixels:9x7:2:10",
        13,
        65,
    )
    shown = json.loads(
        command("images", "grid", rows, "-o", grid, "--first", 2, "--count", 6, "--columns", 3, "--zoom", 1, "--json")
    )
    images, labels = digits(20)
    assert shown["labels"] == labels[2:8].tolist()
    expected = [dequantise(quantise(image, 2), 2) for image in images[2:8]]
    assert (read_png(grid.read_bytes()) == image_grid(expected, 3)).all()
    manifest_path(rows).unlink()
    command("images", "grid", rows, "-t", "pixels:9x7:2:10", "-o", grid)


def test_a_grid_of_other_rows_is_refused(source: Path, tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    prepare_images(source, rows)
    for arguments, words in (
        ({"first": 20}, "has no row 20"),
        ({"tokenizer": load_tokenizer("pixels:9x7:2:10")}, "rows.jsonl:1: 65 tokens are not an image"),
        ({"zoom": 10_000}, "the grid has"),
    ):
        with pytest.raises(SampleError, match=words):
            write_grid(rows, tmp_path / "grid.png", **arguments)
    (tmp_path / "text.jsonl").write_text('{"text":"a"}\n')
    with pytest.raises(SampleError, match="has no manifest"):
        write_grid(tmp_path / "text.jsonl", tmp_path / "grid.png")
    with pytest.raises(SampleError, match=r"text\.jsonl:1: the row has no `input_ids`"):
        write_grid(tmp_path / "text.jsonl", tmp_path / "grid.png", load_tokenizer("pixels:9x7:2:10"))
    assert not (tmp_path / "grid.png").exists()
