"""What networks see is what a picture shows, whatever its profile, and what comes out is in the picture's own space."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from lightendiff import LightenPipeline
from lightendiff.batch.run import restored
from lightendiff.images import Picture, read_picture, write_picture
from lightendiff.images.icc import (
    ADOBE_GAMMA,
    ADOBE_PRIMARIES,
    D65,
    SRGB_PRIMARIES,
    colour_profile,
    described,
    grey_profile,
    light_to_xyz,
    model_of,
)
from lightendiff.images.working import filled, space_of, working

P3 = ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060))
PROPHOTO = ((0.7347, 0.2653), (0.1596, 0.8404), (0.0366, 0.0001))
D50 = (0.3457, 0.3585)
SPACES = {
    "Adobe RGB": (ADOBE_PRIMARIES, D65, ADOBE_GAMMA),
    "ProPhoto": (PROPHOTO, D50, 1.8),
    "linear": (SRGB_PRIMARIES, D65, 1.0),
    "Display P3": (P3, D65, None),
}


def to_light(code: np.ndarray, gamma: float | None) -> np.ndarray:
    if gamma is not None:
        return code**gamma
    return np.where(code <= 0.04045, code / 12.92, ((code + 0.055) / 1.055) ** 2.4)


def to_code(light: np.ndarray, gamma: float | None) -> np.ndarray:
    light = light.clip(0, 1)
    if gamma is not None:
        return light ** (1 / gamma)
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)


def in_space(light: np.ndarray, name: str) -> Picture:
    """A picture of 16 bit, in that space, of light in the primaries of sRGB."""
    primaries, white, gamma = SPACES[name]
    own = light @ (np.linalg.inv(light_to_xyz(primaries, white)) @ light_to_xyz()).T
    codes = np.rint(65535 * to_code(own, gamma)).astype(np.uint16)
    return Picture(codes, icc_profile=colour_profile(name, primaries, white, gamma))


def light_of(pixels: np.ndarray, name: str) -> np.ndarray:
    primaries, white, gamma = SPACES[name]
    light = to_light(pixels / np.iinfo(pixels.dtype).max, gamma)
    return light @ (np.linalg.inv(light_to_xyz()) @ light_to_xyz(primaries, white)).T


@pytest.fixture(scope="module")
def scene() -> np.ndarray:
    y, x = np.mgrid[:48, :64]
    light = np.stack([0.05 + 0.1 * x / 64, 0.06 + 0.05 * y / 48, 0.1 - 0.08 * x / 64], axis=2)
    light[10:20, 10:30] = (0.2, 0.01, 0.02)
    return light / 4


@pytest.fixture(scope="module")
def pipe() -> LightenPipeline:
    return LightenPipeline.from_pretrained(device="cpu")


# --------------------------------------------------------------------------------------------------------- both ways


@pytest.mark.parametrize("name", SPACES)
def test_given_are_srgb_code_values_and_the_way_back_is_exact(name: str, scene: np.ndarray) -> None:
    picture = in_space(scene, name)
    work = working(picture.pixels, None, picture.icc_profile)
    expected = 65535 * to_code(scene, None)
    # a step of the picture's own code values, in sRGB's where both are darkest, is what rounding can't keep
    assert np.abs(work.given - expected).max() < 12
    assert work.back(work.given.copy()) is picture.pixels
    brighter = np.rint(65535 * to_code(4 * scene, None)).astype(np.uint16)
    np.testing.assert_allclose(light_of(work.back(brighter), name), 4 * scene, atol=3e-4)


@pytest.mark.parametrize("name", SPACES)
def test_a_picture_and_its_srgb_twin_are_restored_alike(name: str, scene: np.ndarray, pipe: LightenPipeline) -> None:
    color = pytest.importorskip("skimage.color")
    twin = Picture(np.rint(65535 * to_code(scene, None)).astype(np.uint16))
    one = to_code(light_of(restored(in_space(scene, name), pipe).pixels, name), None)
    other = restored(twin, pipe).pixels / 65535
    assert color.deltaE_ciede2000(color.rgb2lab(one), color.rgb2lab(other)).mean() < 1.5


def test_colours_outside_of_srgb_stay_outside(pipe: LightenPipeline) -> None:
    """A green of ProPhoto that sRGB can't show, on grey."""
    own = np.full((48, 64, 3), 0.02)
    own[12:36, 16:48] = (0.002, 0.03, 0.003)
    profile = colour_profile("ProPhoto", PROPHOTO, D50, 1.8)
    picture = Picture(np.rint(65535 * own ** (1 / 1.8)).astype(np.uint16), icc_profile=profile)
    before, after = (light_of(p.pixels, "ProPhoto")[16:32, 24:40] for p in (picture, restored(picture, pipe)))
    assert before[..., 0].max() < 0
    assert after[..., 0].mean() < 0
    assert after[..., 1].mean() > 2 * before[..., 1].mean()


def test_srgb_by_any_name_is_not_converted() -> None:
    for profile in (
        ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
        colour_profile("sRGB"),
        grey_profile("grey"),
        b"",
        b"broken",
    ):
        pixels = np.zeros((4, 4, 1 if model_of(profile) == "GRAY" else 3), np.uint8)
        assert working(pixels, None, profile).given is pixels


def test_written_profiles_mean_to_littlecms_what_they_mean_here() -> None:
    for name in SPACES:
        primaries, white, gamma = SPACES[name]
        profile = ImageCms.ImageCmsProfile(io.BytesIO(colour_profile(name, primaries, white, gamma)))
        assert name in ImageCms.getProfileDescription(profile)
        codes = np.array([[[120, 90, 60], [200, 200, 200], [100, 110, 120]]], np.uint8)
        image = ImageCms.profileToProfile(Image.fromarray(codes), profile, ImageCms.createProfile("sRGB"))
        assert image is not None
        ours = working(codes, None, profile.tobytes()).given / 257
        np.testing.assert_allclose(np.asarray(image), ours, atol=1.01)


def test_a_curve_of_points_and_the_gamma_of_grey(scene: np.ndarray) -> None:
    grey = np.rint(65535 * scene[..., :1] ** (1 / 2.2)).astype(np.uint16)
    work = working(grey, None, grey_profile("gamma 2.2", 2.2))
    assert np.abs(work.given - 65535 * to_code(scene[..., :1], None)).max() < 12
    table = np.rint(65535 * np.linspace(0, 1, 1024) ** 1.8).astype(">u2").tobytes()
    curve = b"curv" + struct.pack(">4xI", 1024) + table
    found = described(colour_profile("points", curve=curve))
    assert found is not None
    np.testing.assert_allclose(found.curves[0][::257], np.linspace(0, 1, 256) ** 1.8, atol=1e-4)


def test_a_profile_of_tables_goes_through_littlecms(monkeypatch: pytest.MonkeyPatch) -> None:
    """LittleCMS reads any profile, so that the way through it has to agree with our own."""
    profile = colour_profile("tables", ADOBE_PRIMARIES, D65, ADOBE_GAMMA)
    codes = np.random.default_rng(0).integers(8000, 50000, (8, 8, 3)).astype(np.uint16)
    ours = working(codes, None, profile)
    monkeypatch.setattr("lightendiff.images.working.described", lambda profile: None)
    space_of.cache_clear()
    theirs = working(codes, None, profile)
    monkeypatch.undo()
    space_of.cache_clear()
    inside = (ours.given > 2000).all(axis=2)
    assert np.abs(ours.given.astype(int) - theirs.given)[inside].mean() < 300
    brighter = (theirs.given // 2 * 2 + 1).astype(np.uint16)
    assert np.abs(theirs.back(brighter)[inside].astype(int) - codes[inside]).mean() < 400


# ----------------------------------------------------------------------------------------------------------- formats


def test_a_pngs_own_words_on_colour_are_followed_and_carried_along(tmp_path: Path) -> None:
    chunks = {
        "gamma": {b"gAMA": struct.pack(">I", 100_000)},
        "primaries": {b"cHRM": struct.pack(">8I", 31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000)},
        "code points": {b"cICP": bytes((12, 13, 0, 1))},
        "sRGB": {b"sRGB": b"\0", b"gAMA": struct.pack(">I", 45455)},
        "plain": {},
    }
    pixels = np.full((8, 8, 3), (90, 60, 30), np.uint8)
    given = {}
    for name, bodies in chunks.items():
        info = PngInfo()
        for key, body in bodies.items():
            info.add(key, body)
        Image.fromarray(pixels).save(tmp_path / "a.png", pnginfo=info)
        picture = read_picture(tmp_path / "a.png")
        given[name] = working(picture.pixels, None, picture.icc_profile).given[0, 0] / (
            1 if name in ("sRGB", "plain") else 257
        )
        write_picture(tmp_path / "b.png", picture)
        data = (tmp_path / "b.png").read_bytes()
        assert all(key in data for key in bodies)
        assert b"iCCP" not in data
        write_picture(tmp_path / "b.tif", picture)
        assert read_picture(tmp_path / "b.tif").icc_profile == picture.icc_profile
    np.testing.assert_array_equal(given["sRGB"], given["plain"])
    np.testing.assert_allclose(given["gamma"], 255 * to_code(pixels[0, 0] / 255, None), atol=0.6)
    np.testing.assert_allclose(given["primaries"], given["code points"], atol=0.2)
    assert given["primaries"][0] > given["plain"][0]


def test_a_profile_fits_the_pixels(tmp_path: Path) -> None:
    """A grey picture's becomes one of colour where the format has colour only; a profile of ink is left out."""
    grey = Picture(np.full((8, 8, 1), 99, np.uint8), icc_profile=grey_profile("gamma 1.8", 1.8))
    write_picture(tmp_path / "a.webp", grey)
    again = read_picture(tmp_path / "a.webp")
    assert model_of(again.icc_profile) == "RGB"
    ours, theirs = (working(p.pixels, None, p.icc_profile).given[0, 0, 0] for p in (grey, again))
    assert abs(int(ours) - int(theirs)) < 600
    ink = bytearray(colour_profile("ink"))
    ink[16:20] = b"CMYK"
    Image.fromarray(np.full((8, 8, 3), 99, np.uint8)).save(tmp_path / "b.png", icc_profile=bytes(ink))
    picture = read_picture(tmp_path / "b.png")
    assert (picture.icc_profile, picture.notes) == (
        b"",
        ("a profile of CMYK doesn't fit these pixels: it is left out",),
    )


def test_a_cameras_adobe_rgb_gets_a_profile(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[34665] = {40961: 65535, 40962: 999, 40963: 999, 40965: {1: "R03"}}
    Image.fromarray(np.full((8, 16, 3), 99, np.uint8)).save(tmp_path / "a.jpg", exif=exif)
    picture = read_picture(tmp_path / "a.jpg")
    assert picture.notes == ("its EXIF data says Adobe RGB: a profile says so, too",)
    assert b"Adobe RGB".decode().encode("utf-16-be") in picture.icc_profile
    write_picture(tmp_path / "b.jpg", picture)
    with Image.open(tmp_path / "b.jpg") as image:
        inner = image.getexif().get_ifd(34665)
    assert (inner[40961], inner[40962], inner[40963]) == (65535, 16, 8)  # the size is the picture's


def test_pil_images_with_a_profile(scene: np.ndarray, pipe: LightenPipeline) -> None:
    picture = in_space(4 * scene, "ProPhoto")
    image = Image.fromarray(np.rint(picture.pixels / 257).astype(np.uint8))
    image.info["icc_profile"] = picture.icc_profile
    result = pipe(image)
    assert result.info["icc_profile"] == picture.icc_profile
    twin = np.asarray(pipe(Image.fromarray(np.rint(255 * to_code(4 * scene, None)).astype(np.uint8))))
    ours = to_code(light_of(np.asarray(result), "ProPhoto"), None) * 255
    assert np.abs(ours - twin).mean() < 3


# ------------------------------------------------------------------------------------------------------ transparency


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_not_seen_decides_nothing(channels: int) -> None:
    rng = np.random.default_rng(0)
    seen = rng.integers(20, 60, (33, 47, channels), dtype=np.uint8)
    alpha = np.zeros((33, 47), np.uint8)
    alpha[10:20, 12:30] = 255
    black, white = (np.where(alpha[..., None] > 0, seen, np.uint8(value)) for value in (0, 255))
    one, other = filled(black, alpha), filled(white, alpha)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[alpha > 0], seen[alpha > 0])
    assert 20 <= one.min() <= one.max() < 60  # continued, no fringe
    assert filled(seen, np.zeros_like(alpha)) is seen
    assert filled(seen, np.full_like(alpha, 1)) is seen


def test_cut_outs_are_the_same_on_black_and_on_white(pipe: LightenPipeline) -> None:
    rng = np.random.default_rng(0)
    alpha = np.zeros((40, 56), np.uint8)
    alpha[8:30, 10:40] = 255
    seen = rng.integers(0, 40, (40, 56, 3), dtype=np.uint8)
    cuts = [Picture(np.where(alpha[..., None] > 0, seen, np.uint8(v)), alpha) for v in (0, 255)]
    one, other = (restored(cut, pipe).pixels for cut in cuts)
    np.testing.assert_array_equal(one, other)
    images = [Image.fromarray(np.dstack([cut.pixels, alpha])) for cut in cuts]
    np.testing.assert_array_equal(*(np.asarray(pipe(image)) for image in images))
