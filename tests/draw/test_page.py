"""The page: what the browser draws is what `render` gives; nothing else is needed."""

import dataclasses
import os
import re
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import draw

from jax_inr.config import Config
from jax_inr.errors import ConfigError, ImageError, OutputError
from jax_inr.field import ImageField
from jax_inr.io.images import to_uint8
from jax_inr.networks import make_model

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
}
HEIGHT, WIDTH = 36, 45
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
SOFTWARE = ("--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


# The others take the same ways through the page, and are left to `-m slow`.
QUICK = ("relu", "gelu", "siren", "wire", "hash grid")
GAINS = {"plain": 20.0, "wire": 0.5, "dense grid": 12.0, "hash grid": 12.0}


def field_of(config, channels=3, gain=6.0):
    """A field with contrast: an untrained network is nearly grey, or wild."""
    variables = draw(make_model(config, HEIGHT, WIDTH, channels))
    variables = jax.tree.map(jnp.asarray, variables)
    params = {**variables["params"]}
    params.update({k: 1e4 * v for k, v in params.items() if k.startswith("grid")})
    last = f"dense_{len(config.hidden_features)}"
    params[last] = {k: gain * (v - v.mean(0)) for k, v in params[last].items()}
    variables = {**variables, "params": params}
    return ImageField(config, HEIGHT, WIDTH, channels, variables, 1)


@pytest.fixture(scope="module")
def browser():
    playwright = pytest.importorskip("playwright.sync_api", reason="no Playwright")
    found = next(filter(None, map(shutil.which, BROWSERS)), None)
    if found is None:
        pytest.skip("no Chromium; apt-get install chromium")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=[*SOFTWARE])
        yield browser
        browser.close()


@pytest.fixture
def open_page(browser):
    """Open a file at a canvas size; whatever it asks of a network is an error."""
    pages = []

    def call(path, height=HEIGHT, width=WIDTH, **how):
        page = browser.new_page(viewport={"height": height, "width": width}, **how)
        pages.append(page)
        page.set_default_timeout(120_000)
        page.asked, page.failures = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("pageerror", lambda error: page.failures.append(str(error)))
        page.goto(path.as_uri())
        page.wait_for_function("window.inr", polling=50)
        return page

    yield call
    for page in pages:
        page.close()


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
    expected = levels(field.render(HEIGHT, WIDTH, window))
    assert np.abs(pixels(page) - expected).max() <= 2


def test_grey_fields_and_targets_over_256(open_page, tmp_path):
    field = field_of(SMALL.replace(rgb_max=256), channels=1)
    field.to_html(tmp_path / "field.html")
    page = open_page(tmp_path / "field.html")
    page.evaluate("inr.setMix(1)")
    assert np.abs(pixels(page) - levels(field.render())).max() <= 2


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
    title = "</script><b>&__META__ cat"
    field_of(SMALL).to_html(tmp_path / "a.html", title=title)
    page = open_page(tmp_path / "a.html")
    assert page.title() == title
    assert page.locator("#about b").text_content() == title


# What needs no browser


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
    field = ImageField(cnn, 8, 8, 3, draw(make_model(cnn, 8, 8, 3)))
    with pytest.raises(ConfigError, match="one pixel at a time"):
        field.to_html(tmp_path / "a.html")
    wide = SMALL.replace(hidden_features=(4001,))
    field = ImageField(wide, 8, 8, 3, draw(make_model(wide, 8, 8, 3)))
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
