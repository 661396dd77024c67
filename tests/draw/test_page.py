"""The page: what the browser draws is what `render` gives; nothing else is needed."""

import base64
import dataclasses
import io
import json
import os
import re
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import draw
from PIL import Image

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError, OutputError
from jax_inr.field import ImageField
from jax_inr.io.images import to_uint8
from jax_inr.model import make_model

SMALL = Config(num_frequencies=6, sigma=2.0, hidden_features=(12, 9))
WAVES = SMALL.replace(encoding="none", omega_0=8.0, scale_0=2.0)
GRID = SMALL.replace(num_levels=3, level_features=2, coarsest=3, finest=9)
# Sizes that are no multiples of four, so that padding would show.
CONFIGS = {
    "relu": SMALL,
    "gelu": SMALL.replace(activation="gelu"),
    "basic": SMALL.replace(encoding="basic"),
    "positional": SMALL.replace(encoding="positional", octaves=3.0),
    "periodic": SMALL.replace(encoding="periodic"),
    "trainable": SMALL.replace(encoding="trainable"),
    "plain": SMALL.replace(encoding="none"),
    "siren": WAVES.replace(network="siren"),
    "finer": WAVES.replace(network="finer"),
    "gauss": WAVES.replace(network="gauss"),
    "wire": WAVES.replace(network="wire"),
    "fourier siren": WAVES.replace(network="siren", encoding="gaussian"),
    "dense grid": GRID.replace(encoding="dense_grid"),
    "hash grid": GRID.replace(encoding="hash_grid", log2_table_size=5),
    "pyramid grid": GRID.replace(encoding="pyramid", level_features=3, finest=24),
}
HEIGHT, WIDTH = 36, 45


# The others take the same ways through the page, and are left to `-m slow`.
QUICK = ("siren",)
TITLE = "</title></script><b>&__META__ cat"
GAINS = {
    "plain": 20.0,
    "wire": 0.5,
    "dense grid": 12.0,
    "hash grid": 12.0,
    "pyramid grid": 12.0,
}


def field_of(config, channels=3, gain=6.0):
    """A field with contrast: an untrained network is nearly grey, or wild."""
    model = make_model(config, HEIGHT, WIDTH, channels)
    variables = draw(model)
    variables = jax.tree.map(jnp.asarray, variables)
    params = {**variables["params"]}
    params.update({k: 1e4 * v for k, v in params.items() if k.startswith("grid")})
    last = f"dense_{len(config.hidden_features)}"
    params[last] = {k: gain * (v - v.mean(0)) for k, v in params[last].items()}
    variables = {**variables, "params": params}
    return ImageField.make(model, variables, (HEIGHT, WIDTH, channels), config)


@pytest.fixture
def open_page(browser):
    """Open a file at a canvas size; whatever it throws or logs as an error fails."""
    pages = []

    def call(path, height=HEIGHT, width=WIDTH, script=None, **how):
        page = browser.new_page(viewport={"height": height, "width": width}, **how)
        pages.append(page)
        page.set_default_timeout(120_000)
        page.asked, page.failures = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        # Chromium itself warns of slow reads of a canvas drawn in software.
        page.on(
            "console",
            lambda said: said.type == "error" and page.failures.append(said.text),
        )
        if script is not None:
            page.add_init_script(script)
        page.goto(path.as_uri())
        page.wait_for_function("window.inr", polling=50)
        return page

    yield call
    for page in pages:
        failures = page.failures
        page.close()
        assert not failures


def pixels(page) -> np.ndarray:
    read = page.evaluate("inr.pixels()")
    flat = np.array(read["flat"], np.uint8)
    return flat.reshape(read["height"], read["width"], 4)[..., :3].astype(int)


def levels(picture) -> np.ndarray:
    return np.broadcast_to(to_uint8(picture), (*picture.shape[:2], 3)).astype(int)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name in QUICK else pytest.mark.slow)
        for name in CONFIGS
    ],
)
def test_the_canvas_shows_what_render_gives(open_page, tmp_path, name):
    field = field_of(CONFIGS[name], gain=GAINS.get(name, 6.0))
    field.to_html(tmp_path / "field.html")
    page = open_page(tmp_path / "field.html")
    assert page.evaluate("inr.failed") is None and not page.failures
    page.evaluate("inr.setMix(1)")
    native = field.render()
    assert np.ptp(np.clip(native, 0, 1), (0, 1)).max() > 0.2
    assert np.abs(pixels(page) - levels(native)).max() <= 2
    # A window of the canvas' shape, finer than the picture, and partly beyond it.
    window = (-0.1, 0.35, 0.15, 0.6)
    page.evaluate("window => inr.look(window)", list(window))
    expected, shown = levels(field.render(HEIGHT, WIDTH, window)), pixels(page)
    if "grid" in name:
        # Outside the image a grid has nothing to say: two dark greys, as beside pixels.
        rows = -0.1 + np.arange(HEIGHT) * 0.25 / HEIGHT
        outside = np.floor(rows * HEIGHT + 0.5) < 0
        assert 10 < outside.sum() < HEIGHT - 10
        assert set(np.unique(shown[outside])) <= {22, 27}
        expected, shown = expected[~outside], shown[~outside]
    assert np.abs(shown - expected).max() <= 2
    if name in ("siren", "wire"):  # colours that have to be clipped
        assert native.min() < 0 or native.max() > 1


def test_grey_fields_and_targets_over_256(open_page, tmp_path):
    field = field_of(SMALL.replace(rgb_max=256), channels=1)
    field.to_html(tmp_path / "field.html")
    page = open_page(tmp_path / "field.html")
    page.evaluate("inr.setMix(1)")
    assert np.abs(pixels(page) - levels(field.render())).max() <= 2


@pytest.mark.slow
def test_the_slider_goes_from_pixels_to_field(open_page, tmp_path):
    field = field_of(SMALL)
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, 3), np.float32)
    field.to_html(tmp_path / "field.html", image)
    page = open_page(tmp_path / "field.html")
    drawn, given = levels(field.render()), to_uint8(image).astype(int)
    page.locator("#mix").fill("0")
    np.testing.assert_array_equal(pixels(page), given)
    page.locator("#mix").fill("0.4")
    half = pixels(page)
    assert np.abs(half[:, :18] - drawn[:, :18]).max() <= 2
    np.testing.assert_array_equal(half[:, 18:], given[:, 18:])
    # Nearest neighbour of where a pixel's colour lies: its block has it in the middle.
    page.evaluate("inr.setMix(0); inr.look([0, 0, 1 / 3, 1 / 3])")
    blocks = (np.arange(HEIGHT) + 1) // 3, (np.arange(WIDTH) + 1) // 3
    np.testing.assert_array_equal(pixels(page), given[np.ix_(*blocks)])


def test_hands_pan_and_zoom(open_page, tmp_path):
    field = field_of(SMALL)
    field.to_html(tmp_path / "field.html")
    page = open_page(tmp_path / "field.html", 3 * HEIGHT, 3 * WIDTH)
    page.evaluate("inr.setMix(1)")
    page.keyboard.press("h")  # what covers the canvas would take the pointer

    def shows(height, width, *window) -> bool:
        picture = field.render(height, width, window)
        return np.abs(pixels(page) - levels(picture)).max() <= 2

    size = 3 * HEIGHT, 3 * WIDTH
    assert shows(*size, 0, 0, 1, 1)
    page.mouse.move(60, 50)
    page.mouse.down()
    page.mouse.move(60 - 27, 50 - 54)
    page.mouse.up()
    assert shows(*size, 0.5, 0.2, 1.5, 1.2)
    page.keyboard.press("0")
    page.keyboard.press("ArrowRight")  # 60 pixels of 135
    assert shows(*size, 0, 60 / 135, 1, 1 + 60 / 135)
    page.keyboard.press("0")
    page.keyboard.press("+")
    assert shows(*size, 0.1, 0.1, 0.9, 0.9)
    page.keyboard.press("0")
    page.locator("canvas").dblclick(position={"x": 0, "y": 0})
    assert shows(*size, 0, 0, 0.5, 0.5)
    page.keyboard.press("0")
    page.mouse.move(0, 54)
    page.mouse.wheel(0, 1 / 0.0018 * -np.log(2))
    # The wheel keeps what is under the pointer, and comes as a whole number.
    assert (
        np.abs(pixels(page) - levels(field.render(*size, (0.25, 0.0, 0.75, 0.5)))).max()
        < 9
    )


def test_two_fingers_zoom(open_page, tmp_path):
    field = field_of(SMALL)
    field.to_html(tmp_path / "field.html")
    page = open_page(tmp_path / "field.html", 3 * HEIGHT, 3 * WIDTH, has_touch=True)
    page.evaluate("inr.setMix(1)")
    page.keyboard.press("h")
    session = page.context.new_cdp_session(page)

    def touch(kind, *points):
        points = [{"x": x, "y": y, "id": i} for i, (x, y) in enumerate(points)]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (40, 54))
    touch("touchStart", (40, 54), (80, 54))
    touch("touchMove", (20, 54), (100, 54))
    touch("touchEnd")
    assert page.locator("#zoom").text_content() == "6.0×"
    assert np.ptp(pixels(page), (0, 1)).max() > 20


def test_the_page_asks_nobody(open_page, tmp_path):
    path = tmp_path / "field.html"
    field_of(SMALL).to_html(path)
    page = open_page(path)
    pixels(page)
    asked = [url for url in page.asked if not url.startswith("data:")]
    assert asked == [path.as_uri()] and not page.failures
    # The one address in it is the name of SVG's language, or none.
    assert set(re.findall(r"https?://\S+", path.read_text("utf-8"))) <= set()


def test_the_address_names_a_window(open_page, tmp_path):
    path = tmp_path / "field.html"
    field_of(SMALL).to_html(path)
    page = open_page(path)
    page.goto(path.as_uri() + "#0,0,0.25,0.25")
    page.wait_for_function("document.querySelector('#zoom').textContent === '4.0×'")


def test_without_webgl_the_page_says_so_and_shows_the_pixels(browser, tmp_path):
    path = tmp_path / "field.html"
    field_of(SMALL).to_html(path)
    page = browser.new_page()
    page.add_init_script("HTMLCanvasElement.prototype.getContext = () => null")
    page.goto(path.as_uri())
    assert "no WebGL 2" in page.locator("#why").text_content()
    assert page.locator("#original").is_visible()
    assert not page.locator("canvas").is_visible()
    page.close()


def test_a_title_is_text(open_page, tmp_path):
    field_of(SMALL).to_html(tmp_path / "a.html", title=TITLE)
    page, title = open_page(tmp_path / "a.html"), TITLE
    assert page.title() == title
    assert page.locator("#about b").text_content() == title


@pytest.fixture(scope="module")
def portrait(tmp_path_factory):
    """A page whose image is higher than wide, of a grid."""
    config = CONFIGS["dense grid"]
    model = make_model(config, 64, 48, 3)
    variables = jax.tree.map(jnp.asarray, draw(model))
    field = ImageField.make(model, variables, (64, 48, 3), config)
    path = tmp_path_factory.mktemp("page") / "field.html"
    field.to_html(path)
    return path


PHONE = {"is_mobile": True, "has_touch": True}
WINDOWS = {"desktop": (800, 1280), "portrait": (640, 360), "landscape": (360, 640)}
# A phone's window changes while the image is decoded.
RESIZED = """
const decode = HTMLImageElement.prototype.decode;
HTMLImageElement.prototype.decode = async function () {
  dispatchEvent(new Event("resize"));
  for (let i = 0; i < 3; i++) await new Promise(requestAnimationFrame);
  return decode.call(this);
};
"""


def test_a_window_that_changes_while_the_page_loads_is_no_error(open_page, portrait):
    page = open_page(portrait, 96, 72, script=RESIZED)
    assert pixels(page).shape == (96, 72, 3) and not page.failures


@pytest.mark.parametrize("window", WINDOWS)
def test_the_controls_cover_nothing_of_the_image(open_page, portrait, window):
    height, width = WINDOWS[window]
    how = {} if window == "desktop" else PHONE
    page = open_page(portrait, height, width, **how)

    def box(what):
        return page.locator(what).bounding_box()

    frame, bar = box("#frame"), box("#bar")
    # Coordinates 0 to 1 are in view, and a pixel reaches half of itself before 0.
    assert frame["y"] >= -0.5 * frame["height"] / 64 - 1
    assert frame["y"] + frame["height"] < bar["y"]
    # As large as may be, in the middle, and no control beyond the bar's edge.
    assert min(frame["width"] / width, frame["height"] / (bar["y"] - 8)) > 0.2
    free = max(frame["width"] / width, frame["height"] / (bar["y"] - 8))
    assert free == pytest.approx(1, abs=0.02)
    assert frame["x"] + frame["width"] / 2 == pytest.approx(
        width / 2, abs=0.5 * frame["width"] / 48 + 1
    )
    for button in ("#out", "#in", "#fit", "#hide"):
        assert box(button)["x"] + box(button)["width"] < bar["x"] + bar["width"]
        inside = page.locator(button).evaluate("b => b.scrollWidth <= b.clientWidth")
        assert inside, button
    for text in ("#about", "#zoom"):
        assert box(text)["y"] + box(text)["height"] < height
    # What was said of the field is not cut off.
    assert page.locator("#about").evaluate("a => a.scrollWidth <= a.clientWidth")


def test_a_finger_hides_the_controls_and_brings_them_back(open_page, portrait):
    page = open_page(portrait, 360, 640, **PHONE)
    bar, before = page.locator("#bar"), page.locator("#frame").bounding_box()
    page.locator("#hide").tap()
    assert not bar.is_visible()
    # The image takes the room that the controls had.
    after = page.evaluate("document.querySelector('#frame').style.height")
    assert float(after[:-2]) == pytest.approx(360, abs=2) and before["height"] < 300
    page.touchscreen.tap(100, 100)
    assert bar.is_visible()
    assert page.locator("#frame").bounding_box() == before
    # With the controls there, a tap hides nothing.
    page.touchscreen.tap(100, 100)
    assert bar.is_visible()


def test_a_drag_with_the_controls_hidden_is_no_tap(open_page, portrait):
    page = open_page(portrait, 640, 360)
    page.keyboard.press("h")
    page.mouse.move(60, 50)
    page.mouse.down()
    page.mouse.move(90, 80)
    page.mouse.up()
    assert not page.locator("#bar").is_visible()
    page.mouse.click(60, 50)
    assert page.locator("#bar").is_visible()


def test_the_slider_reads_as_the_screen_does(open_page, portrait):
    page = open_page(portrait, 800, 1280)
    left, right = page.locator("#row label span").all()
    assert (left.text_content(), right.text_content()) == ("field", "pixels")
    x = [
        page.locator(what).bounding_box()["x"]
        for what in ("#field", "#split", "#pixels")
    ]
    assert x == sorted(x)
    page.locator("#mix").fill("0.9")
    moved = page.locator("#split").bounding_box()
    assert moved["x"] + moved["width"] / 2 == pytest.approx(0.9 * 1280, abs=1)


def test_without_javascript_the_page_says_so_and_shows_the_pixels(browser, portrait):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(portrait.as_uri())
    assert "with JavaScript" in page.locator("#why").text_content()
    assert page.locator("#why").is_visible()
    assert page.locator("#original").is_visible()
    for what in ("canvas", "#bar", "#split"):
        assert not page.locator(what).is_visible()
    context.close()


# What needs no browser


class Read(HTMLParser):
    """The texts of a page's elements by their id or name."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.place, self.texts, self.images = "", {}, []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.place = dict(attrs).get("id") or tag
        if tag == "img":
            self.images.append(dict(attrs)["src"])

    def handle_data(self, data):
        self.texts[self.place] = self.texts.get(self.place, "") + data

    def handle_endtag(self, tag):
        self.place = ""


@pytest.mark.parametrize("channels", [1, 3])
def test_a_parser_finds_title_numbers_and_image(tmp_path, channels):
    path = tmp_path / "a.html"
    image = np.random.default_rng(0).random((HEIGHT, WIDTH, channels), np.float32)
    field = field_of(SMALL, channels)
    field.to_html(path, image, TITLE)
    page = Read(path.read_text("utf-8"))
    assert page.texts["title"] == TITLE
    meta = json.loads(page.texts["meta"])
    assert (meta["title"], meta["height"], meta["width"]) == (TITLE, HEIGHT, WIDTH)
    weights = base64.b64decode(page.texts["weights"])
    # The frequencies in 32 bits, all else in 16: 2 x 6; 12 x 12 + 12, 12 x 9 + 9, ...
    layers = 12 * 12 + 12 + 12 * 9 + 9 + 9 * channels + channels
    assert meta["halves"] and len(weights) == 4 * 12 + 2 * layers
    (address,) = page.images
    kind, data = address.removeprefix("data:image/").split(";base64,")
    assert kind in ("png", "webp")
    with Image.open(io.BytesIO(base64.b64decode(data))) as opened:
        assert opened.format == kind.upper()
        read = np.asarray(opened.convert("RGB"))
    np.testing.assert_array_equal(read, np.broadcast_to(to_uint8(image), read.shape))


def test_weights_of_16_bits_are_taken_where_they_do(tmp_path):
    field = field_of(SMALL)
    field.to_html(tmp_path / "half.html")
    assert '"halves": true' in (tmp_path / "half.html").read_text("utf-8")
    # Beyond what 16 bits can hold.
    params = {**field.params}
    params["dense_1"] = {**params["dense_1"], "bias": params["dense_1"]["bias"] + 1e6}
    large = dataclasses.replace(field, variables={**field.variables, "params": params})
    large.to_html(tmp_path / "single.html")
    assert '"halves": false' in (tmp_path / "single.html").read_text("utf-8")


def test_the_cnn_and_too_wide_networks_are_refused_with_the_reason(tmp_path):
    cnn = Config(network="cnn", encoding="none", hidden_features=(4,))
    model = make_model(cnn, 8, 8, 3)
    field = ImageField.make(model, draw(model), (8, 8, 3), cnn)
    with pytest.raises(ConfigError, match="one pixel at a time"):
        field.to_html(tmp_path / "a.html")
    wide = SMALL.replace(hidden_features=(4001,))
    model = make_model(wide, 8, 8, 3)
    field = ImageField.make(model, draw(model), (8, 8, 3), wide)
    with pytest.raises(ConfigError, match="4001"):
        field.to_html(tmp_path / "a.html")
    assert os.listdir(tmp_path) == []


def test_a_picture_of_another_size_or_an_unwritable_file_is_refused(tmp_path):
    field = field_of(SMALL)
    with pytest.raises(ImageError, match="45x36x3"):
        field.to_html(tmp_path / "a.html", np.zeros((WIDTH, HEIGHT, 3), np.float32))
    with pytest.raises(OutputError, match="nowhere"):
        field.to_html(tmp_path / "nowhere" / "a.html")
    assert os.listdir(tmp_path) == []
