"""Labelled images: the same pixels from every kind of source, parts and ids that stay, and one line for whatever is wrong."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from pliant.data.decoded_image import as_channels, decoded_image, resized
from pliant.data.images import Images
from pliant.errors import PliantError

RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (40, 6, 5, 3), np.uint8)
LABELS = np.arange(40) % 3
NAMES = ("cat", "dog", "owl")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def png(pixels: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def folder(root: Path, count: int = 40) -> Path:
    for number in range(count):
        place = root / NAMES[LABELS[number]]
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number:03}.png").write_bytes(png(PIXELS[number]))
    return root


def by_id(images: Images, part: str = "all") -> dict[str, tuple[bytes, str]]:
    found = images.pictures(part)
    pixels = found.pixels(np.arange(len(found)))
    return {name: (pixels[i].tobytes(), found.classes[found.labels[i]]) for i, name in enumerate(found.ids)}


def sources(tmp_path: Path) -> dict[str, Path]:
    files = [png(pixels) for pixels in PIXELS]
    np.savez(tmp_path / "a.npz", png=np.frombuffer(b"".join(files), np.uint8), sizes=[len(f) for f in files], labels=LABELS, classes=NAMES)
    names = {"info": {"features": {"label": {"names": NAMES, "_type": "ClassLabel"}}}}
    table = pa.table({"img": [{"bytes": content, "path": None} for content in files], "label": LABELS})
    table = table.replace_schema_metadata({b"huggingface": json.dumps(names).encode()})
    pq.write_table(table, tmp_path / "b.parquet")
    with pa.OSFile(str(tmp_path / "c.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return {
        "archive": tmp_path / "a.npz",
        "parquet": tmp_path / "b.parquet",
        "arrow": tmp_path / "c.arrow",
        "folder": folder(tmp_path / "d"),
    }


def test_every_kind_of_source_of_the_same_files_gives_the_same_examples(tmp_path: Path) -> None:
    found = {kind: by_id(Images(source=str(path))) for kind, path in sources(tmp_path).items()}
    for kind, examples in found.items():
        assert examples == found["archive"], kind
    assert sorted(found["folder"].values()) == sorted((PIXELS[i].tobytes(), NAMES[LABELS[i]]) for i in range(40))
    assert all(Images.recognised(str(path)) for path in sources(tmp_path).values())


def test_texts_with_a_picture_beside_them_are_no_source_of_images(tmp_path: Path) -> None:
    place = tmp_path / "texts"
    place.mkdir()
    (place / "logo.png").write_bytes(png(PIXELS[0]))
    for number in range(3):
        (place / f"{number}.txt").write_text("some text")
    assert not Images.recognised(str(place))
    assert not Images.recognised("builtin:prose")
    assert not Images.recognised(__file__)
    records = folder(tmp_path / "records", 6)
    (records / "captions.jsonl").write_text('{"text": "a cat"}')
    assert not Images.recognised(str(records))


@pytest.mark.parametrize("layout", ["last", "first", "fractions", "grey", "flat"])
def test_arrays_of_pixels_in_every_layout(tmp_path: Path, layout: str) -> None:
    pixels = {
        "last": PIXELS,
        "first": PIXELS.transpose(0, 3, 1, 2),
        "fractions": (PIXELS / 255).astype(np.float32),
        "grey": PIXELS[..., 0],
        "flat": PIXELS[:, :5, :, 0].reshape(40, 25),
    }[layout]
    expected = {"grey": PIXELS[..., :1], "flat": PIXELS[:, :5, :, :1]}.get(layout, PIXELS)
    np.savez(tmp_path / "a.npz", x=pixels, y=LABELS.astype(float))
    found = Images(source=str(tmp_path / "a.npz")).pictures("all")
    assert np.array_equal(found.pixels(np.arange(40)), expected)
    assert np.array_equal(found.labels, LABELS)
    assert found.classes == ("0", "1", "2")


def test_parts_share_nothing_and_do_not_depend_on_order_or_company(tmp_path: Path) -> None:
    order = RNG.permutation(40)
    np.savez(tmp_path / "a.npz", x=PIXELS, y=LABELS)
    np.savez(tmp_path / "b.npz", x=PIXELS[order], y=LABELS[order])
    one, other = (Images(source=str(tmp_path / name)) for name in ("a.npz", "b.npz"))
    assert set(by_id(one, "train")) | set(by_id(one, "heldout")) == set(by_id(one))
    assert not set(by_id(one, "train")) & set(by_id(one, "heldout"))
    assert by_id(one, "heldout") == by_id(other, "heldout") != {}
    whole = one.pictures("train")
    copy = pickle.loads(pickle.dumps(whole))
    assert (copy.ids, copy.fingerprint) == (whole.ids, whole.fingerprint)
    assert one.fingerprint() != other.fingerprint()  # training sees another order


def test_the_digits_are_scikit_learns() -> None:
    from sklearn.datasets import load_digits

    found, truth = Images(source="builtin:digits").pictures("all"), load_digits()
    assert found.shape == (8, 8, 1)
    assert np.array_equal(np.rint(found.pixels(np.arange(1797))[..., 0] / 255 * 16), truth.images)
    assert np.array_equal(found.labels, truth.target)
    assert 0.08 < len(Images(source="builtin:digits").pictures("heldout")) / 1797 < 0.12


def test_sizes_are_brought_together_once_told(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 6)
    (place / "owl" / "big.png").write_bytes(png(np.full((12, 10, 3), 77, np.uint8)))
    with pytest.raises(PliantError, match=r"big\.png: is 12 x 10, and .* is 6 x 5; give the `size`"):
        Images(source=str(place)).pictures()
    found = Images(source=str(place), size=(6, 5)).pictures("all")
    assert (found.shape, len(found)) == ((6, 5, 3), 7)
    assert (found.pixels(np.arange(7)) == 77).all((1, 2, 3)).sum() == 1
    doubled = np.repeat(np.repeat(PIXELS[0, :4, :4], 8, 0), 8, 1)  # each pixel is one block, whose mean it is
    box = resized(doubled, 4, 4).astype(int)[1:-1, 1:-1]
    assert abs(box - PIXELS[0, 1:3, 1:3]).max() <= 64  # bilinear looks half a pixel into its neighbours


def test_grey_and_colour_become_what_is_asked_for() -> None:
    assert np.array_equal(as_channels(PIXELS[..., :1], 3), PIXELS[..., [0, 0, 0]])
    grey = np.stack([np.asarray(Image.fromarray(pixels).convert("L")) for pixels in PIXELS])
    assert np.array_equal(as_channels(PIXELS, 1)[..., 0], grey)


def broken(tmp_path: Path, name: str) -> Path:
    """A folder of good images with a bad one."""
    place = folder(tmp_path / "d", 30)
    bad = place / "cat" / "zz.png"
    whole = png(PIXELS[0])
    if name in ("huge", "bomb"):
        side = {"huge": 9000, "bomb": 60000}[name]
        head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
        chunk = b"IHDR" + head
        whole = whole[:8] + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk)) + whole[33:]
    content = {
        "empty": b"",
        "text": b"no image",
        "cut": whole[: len(whole) // 2],
        "bomb": whole,
        "huge": whole,
        "postscript": b"%!PS-Adobe-3.0 EPSF-3.0\n",
    }
    if name == "deep":
        Image.fromarray(np.full((6, 5), 40000, np.uint16)).save(bad)
    elif name == "twice":
        bad.write_bytes(png(PIXELS[1]))  # which is a dog's
    else:
        bad.write_bytes(content[name])
    return place


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("empty", "is no image that can be read"),
        ("text", "is no image that can be read"),
        ("postscript", "is no image that can be read"),
        ("cut", "is damaged"),
        ("huge", "9000 x 9000 pixels"),
        ("bomb", "claims more than twice"),
        ("deep", "more than eight bits"),
        ("twice", "is labelled .*, and .* where it was before"),
    ],
)
def test_an_image_that_cannot_be_used_is_named_or_counted(tmp_path: Path, name: str, said: str) -> None:
    place = broken(tmp_path, name)
    with pytest.raises(PliantError, match=said) as caught:
        Images(source=str(place)).pictures()
    assert "zz.png" in str(caught.value) or name == "twice"
    assert len(str(caught.value).splitlines()) == 1
    found = Images(source=str(place), skip_bad=True).pictures("all")
    assert found.counts == {"images": 30, "skipped": 1, "repeated": 0}


def test_a_repeated_image_is_counted(tmp_path: Path) -> None:
    place = folder(tmp_path / "d", 30)
    (place / "cat" / "again.png").write_bytes(png(PIXELS[0]))
    assert Images(source=str(place)).pictures("all").counts == {"images": 30, "skipped": 0, "repeated": 1}


def test_folders_that_are_none_of_classes_are_one_line(tmp_path: Path) -> None:
    for name, prepare, said in (
        ("empty", lambda p: p.mkdir(), "holds no images"),
        ("flat", lambda p: (p.mkdir(), (p / "a.png").write_bytes(png(PIXELS[0]))), "lies in no class"),
        (
            "one",
            lambda p: ((p / "cat").mkdir(parents=True), [(p / "cat" / f"{i}.png").write_bytes(png(PIXELS[i])) for i in range(3)]),
            "all 3 .*'cat'",
        ),
        ("splits", lambda p: (folder(p / "train"), folder(p / "test")), "are parts, not classes"),
        ("out", lambda p: (folder(p), (p / "cat" / "link.png").symlink_to(__file__)), "link out of the folder"),
        ("out_folder", lambda p: (folder(p), (p / "dog2").symlink_to(tmp_path)), "link out of the folder"),
    ):
        prepare(tmp_path / name)
        with pytest.raises(PliantError, match=said) as caught:
            Images(source=str(tmp_path / name)).pictures()
        assert len(str(caught.value).splitlines()) == 1


def test_archives_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    whole = {"x": PIXELS, "y": LABELS}
    for arrays, said in (
        ({"x": PIXELS}, "has no labels"),
        ({"y": LABELS}, "has no images"),
        (whole | {"y": LABELS[:9]}, "40 images and 9 labels"),
        (whole | {"y": np.where(LABELS == 1, np.nan, 0.0)}, "image 1: has the label 'nan'"),
        (whole | {"y": LABELS + 0.5}, "neither a whole number nor a name"),
        (whole | {"y": np.zeros(40, int)}, "all 40 images are of the class 0"),
        (whole | {"y": LABELS, "classes": np.array(["a", "b"])}, "labels from 0 to 2, and names for 2 classes"),
        (whole | {"x": PIXELS.astype(object)}, "never unpickled"),
        (whole | {"x": PIXELS.astype(int) - 1}, "runs from -1 to"),
        (whole | {"x": np.full((40, 4, 4), np.nan)}, "runs from nan"),
        (whole | {"x": PIXELS.reshape(40, -1)}, r"has the shape \(40, 90\)"),
        ({"jpeg": np.zeros(9, np.uint8), "sizes": np.full(40, 1), "labels": LABELS}, "9 bytes"),
    ):
        np.savez(path, **arrays)
        with pytest.raises(PliantError, match=said) as caught:
            Images(source=str(path)).pictures()
        assert len(str(caught.value).splitlines()) == 1
    np.savez(path, **whole)
    content = path.read_bytes()
    for cut in (b"", b"text", content[: len(content) // 2], content[:600] + b"\xff" * 64 + content[664:]):
        path.write_bytes(cut)
        with pytest.raises(PliantError, match=r"a\.npz") as caught:
            Images(source=str(path)).pictures()
    np.savez(path, **whole | {"y": np.where(LABELS == 1, np.nan, LABELS)})
    assert Images(source=str(path), skip_bad=True).pictures("all").counts["skipped"] == (LABELS == 1).sum()


def test_tables_that_cannot_be_used_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    files = [png(pixels) for pixels in PIXELS]
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "x.png").write_bytes(files[0])
    for columns, said in (
        ({"img": files}, "has no column 'label'"),
        ({"photo": files, "label": LABELS}, "has no column 'image'"),
        ({"image": [*files[:-1], None], "label": LABELS}, "row 40: holds no image"),
        ({"image": ["../../etc/passwd"] * 40, "label": LABELS}, "lies outside"),
        ({"image": ["missing.png"] * 40, "label": LABELS}, "cannot be read"),
        ({"image": files, "label": [None, *LABELS[1:].tolist()]}, "row 1: has no label"),
        ({"image": files, "label": [*LABELS[:-1].tolist(), 7]}, None),
    ):
        pq.write_table(pa.table(columns), path)
        if said is None:
            assert Images(source=str(path)).pictures("all").classes == ("0", "1", "2", "7")
            continue
        with pytest.raises(PliantError, match=said) as caught:
            Images(source=str(path)).pictures()
        assert len(str(caught.value).splitlines()) == 1
    pq.write_table(pa.table({"photo": files, "kind": [NAMES[label] for label in LABELS]}), path)
    assert Images(source=str(path), image_column="photo", label_column="kind").pictures("all").classes == NAMES
    with pytest.raises(PliantError, match="unknown images builtin:digit"):
        Images(source="builtin:digit").pictures()
    with pytest.raises(PliantError, match="no such file or folder"):
        Images(source=str(tmp_path / "nothing")).pictures()
    with pytest.raises(PliantError, match="no source of images"):
        Images(source=__file__).pictures()


def test_photographs_are_turned_the_way_the_camera_was_held() -> None:
    stream = io.BytesIO()
    tags = Image.Exif()
    tags[0x0112] = 6  # the top is at the right
    Image.fromarray(PIXELS[0]).save(stream, "PNG", exif=tags)
    assert np.array_equal(decoded_image(stream.getvalue()), np.rot90(PIXELS[0], -1))


def test_cifar_is_read_from_its_jpegs(shared_data: Path, tmp_path: Path) -> None:
    with np.load(shared_data / "vision" / "cifar10_jpeg" / "test.npz") as arrays:
        sizes, labels, classes = arrays["sizes"][:1000], arrays["labels"][:1000], arrays["classes"]
        content = arrays["jpeg"][: sizes.sum()]
    np.savez(tmp_path / "part.npz", jpeg=content, sizes=sizes, labels=labels, classes=classes)
    found = Images(source=str(tmp_path / "part.npz")).pictures("all")
    assert (len(found), found.shape, found.classes[0]) == (1000, (32, 32, 3), "airplane")
    assert np.array_equal(found.labels, labels)
    last = content[-int(sizes[-1]) :].tobytes()
    assert np.array_equal(found.pixels(np.array([999]))[0], np.asarray(Image.open(io.BytesIO(last)).convert("RGB")))
