"""io.bmff: brands and colour signals of boxes that are put together here."""

import contextlib

import pytest

from jax_inr.io import bmff


def box(name: bytes, body: bytes, large: bool = False) -> bytes:
    """A box; `large` has its size in 64 bits."""
    if large:
        return (1).to_bytes(4) + name + (16 + len(body)).to_bytes(8) + body
    return (8 + len(body)).to_bytes(4) + name + body


def nclx(primaries: int, transfer: int) -> bytes:
    numbers = (primaries, transfer, 6)
    return box(b"colr", b"nclx" + b"".join(n.to_bytes(2) for n in numbers) + b"\x80")


def file_of(properties, items, *, version=0, wide=0, large=False) -> bytes:
    """Properties in ipco; `items` says which, from 1, each has; item 2 is primary."""
    listed = bytes([version, 0, 0, wide]) + len(items).to_bytes(4)
    for item, indices in items.items():
        listed += item.to_bytes(4 if version else 2) + bytes([len(indices)])
        for index in indices:
            # The highest bit says that a reader must know the property.
            essential = 0x8000 if wide else 0x80
            listed += (index | essential).to_bytes(2 if wide else 1)
    pitm = bytes([version, 0, 0, 0]) + (2).to_bytes(4 if version else 2)
    parts = box(b"ipco", b"".join(properties), large) + box(b"ipma", listed)
    meta = box(b"hdlr", bytes(20)) + box(b"pitm", pitm) + box(b"iprp", parts)
    ftyp = box(b"ftyp", b"avif\0\0\0\0mif1avif")
    return ftyp + box(b"free", b"") + box(b"meta", bytes(4) + meta, large)


SIZE = box(b"ispe", bytes(12))


@pytest.mark.parametrize("large", [False, True])
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("wide", [0, 1])
def test_the_colours_are_those_of_the_primary_image(large, version, wide):
    how = {"version": version, "wide": wide, "large": large}
    properties = [SIZE, nclx(1, 13), nclx(12, 8), box(b"colr", b"prof1234")]
    both = {1: [1, 2], 2: [1, 4, 3]}
    assert bmff.nclx(file_of(properties, both, **how)) == (12, 8)
    assert bmff.nclx(file_of(properties, {1: [1, 2], 2: [1]}, **how)) is None
    assert bmff.nclx(file_of(properties, {1: [2]}, **how)) is None
    # An index beyond the properties stands for nothing.
    assert bmff.nclx(file_of(properties, {2: [9]}, **how)) is None


def test_what_is_cut_declares_nothing_or_the_same():
    data = file_of([SIZE, nclx(12, 8)], {2: [1, 2]})
    found = set()
    for end in range(len(data) + 1):
        with contextlib.suppress(IndexError):  # then the file is called damaged
            found.add(bmff.nclx(data[:end]))
    assert found == {None, (12, 8)}


@pytest.mark.parametrize(
    ("brands", "kind"),
    [
        (b"avif\0\0\0\0mif1", "AVIF"),
        (b"mif1\0\0\0\0avif", "AVIF"),
        (b"mif1\0\0\0\0heic", "HEIC"),
        (b"msf1\0\0\0\0", "HEIC"),
        (b"heix\0\0\0\0mif1", "HEIC"),
        # The minor version is no brand.
        (b"isomavifmp41", ""),
        (b"isom\0\0\0\0mif1", ""),
        (b"isom\0\0\0\0mp41avis", "AVIF"),
    ],
)
def test_brands_tell_the_kind(brands, kind):
    assert bmff.kind(box(b"ftyp", brands)) == kind
    # What follows the box is none of its brands.
    assert bmff.kind(box(b"ftyp", brands) + b"avif") == kind
    assert bmff.kind(box(b"ftyx", brands)) == ""
