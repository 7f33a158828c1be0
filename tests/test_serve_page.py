"""The search page in a real browser: Chromium, without a window. With ITMA_SCREENSHOTS=FOLDER it leaves images."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra is not installed: pip install 'itma[serve]'")
pytest.importorskip("playwright", reason="not installed: pip install playwright")

from playwright.sync_api import Browser, Page, Route, expect, sync_playwright

from itma.retrieval.catalogue import Catalogue
from itma.retrieval.ingest.rows import Item
from itma.server.about import page_files
from itma.server.app import make_app
from itma.server.config import Keys, ServeConfig
from tests import made_up, served

# the shell without windows takes a third of the time of the whole browser, which draws windows that nobody sees
NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
CHROMIUM = next(filter(None, map(shutil.which, NAMES)), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine: apt-get install chromium")

EVIL = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("serve")
    catalogue = served.build(folder, 60)
    served.painted(1).save(folder / "evil.png")
    Catalogue.open(catalogue, made_up.model()).add([Item(EVIL, folder / "evil.png", fields={"colour": EVIL})])
    with served.running(served.app(catalogue)) as url:
        yield url


@pytest.fixture
def opened(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Callable[..., Page]]:
    """Opens pages; whatever a page complains of, or asks of another host, fails the test.

    Nothing moves, as a person may wish it, for each frame of it takes time; with --slow it moves.
    """
    complaints: list[str] = []
    contexts = []
    motion = "no-preference" if request.config.getoption("--slow") else "reduce"

    def opened(url: str, **settings: Any) -> Page:
        context = browser.new_context(
            **{"viewport": {"width": 1280, "height": 900}, "reduced_motion": motion, **settings}
        )
        contexts.append(context)
        context.set_default_timeout(20_000)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda message: complaints.append(message.text) if "Content Security" in message.text else None
        )
        host = url.split("/")[2]
        page.on("request", lambda request: complaints.append(request.url) if _elsewhere(request.url, host) else None)
        page.goto(url)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert complaints == []


def _elsewhere(url: str, host: str) -> bool:
    return url.startswith("http") and url.split("/")[2] != host


def shot(page: Page, name: str) -> None:
    if folder := os.environ.get("ITMA_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.wait_for_timeout(400)  # images fade in
        page.screenshot(path=Path(folder) / f"{name}.png")


def cards(page: Page) -> Any:
    return page.locator(".card:not(.blank)")


def settled(page: Page) -> None:
    """Return once nothing is being looked for; the page itself is asked every 20 ms, `expect` would wait longer."""
    page.wait_for_function(
        """() => document.getElementById("results")
            && !document.querySelector("#results[aria-busy=true], .card.blank")""",
        polling=20,
    )


def ids(page: Page) -> list[str]:
    settled(page)
    return [str(name) for name in page.locator(".card .name").all_text_contents()]


def pick(page: Page, number: int) -> None:
    settled(page)
    before = page.url
    cards(page).nth(number).locator(".use").click()
    page.wait_for_function("before => location.href !== before", arg=before, polling=20)
    settled(page)


def say(page: Page, text: str) -> None:
    before = page.url
    page.get_by_role("searchbox").fill(text)
    page.keyboard.press("Enter")
    page.wait_for_function("before => location.href !== before", arg=before, polling=20)
    settled(page)


def steps(page: Page) -> list[str]:
    return [str(text) for text in page.locator("#steps .say").all_text_contents()]


# -- the story --------------------------------------------------------------------------------------------------------


def test_it_opens_with_the_catalogue(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    expect(page.locator("#summary")).to_have_text("61 images")
    expect(page.locator(".card .use img.there").first).to_be_visible()
    expect(cards(page).first).to_contain_text("item-00")
    expect(cards(page).first).to_contain_text("red")
    shot(page, "1-catalogue")


def test_three_steps_of_feedback_stand_as_a_trail_that_leads_back(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 4)
    say(page, "make red cube")
    first = ids(page)
    pick(page, 0)
    say(page, "make blue cube")
    second = ids(page)
    pick(page, 2)
    say(page, "make red cube")
    assert steps(page) == ["make red cube", "make blue cube", "make red cube"]
    assert "item-04" not in first
    shot(page, "2-three-steps")
    page.get_by_role("button", name="Step 1: make red cube").click()
    expect(page.get_by_role("button", name="Step 1: make red cube")).to_have_attribute("aria-current", "step")
    expect(cards(page).first).to_contain_text(first[0])
    assert ids(page) == first
    page.go_back()
    page.go_back()
    page.go_back()
    expect(page.get_by_role("searchbox")).to_have_value("make blue cube")
    expect(page.locator("#steps li")).to_have_count(2)
    assert ids(page) == second


def test_what_was_said_still_counts_until_it_is_taken_back(opened: Callable[..., Page], tmp_path: Path) -> None:
    folder = served.build(tmp_path, 30)
    catalogue = Catalogue.open(folder, made_up.model())
    with served.running(served.app(folder, earlier=True)) as url:
        page = opened(url)
        pick(page, 4)
        say(page, "make red cube")
        reference = ids(page)[0]
        pick(page, 0)
        assert ids(page) == [hit.id for hit in catalogue.search(id=reference, k=24)]  # nothing new was said
        say(page, "make blue cube")
        hits = catalogue.search(id=reference, text="make blue cube", earlier=["make red cube"], k=24)
        assert ids(page) == [hit.id for hit in hits]
        shot(page, "said-earlier")
        other = opened(page.url)
        assert ids(other) == ids(page)
        page.get_by_role("button", name="Forget what was said: make red cube").click()
        settled(page)
        assert ids(page) == [hit.id for hit in catalogue.search(id=reference, text="make blue cube", k=24)]


@pytest.mark.slow
def test_a_model_that_knows_no_conversations_is_told_the_last_sentence_alone(
    opened: Callable[..., Page], url: str
) -> None:
    page = opened(url)
    pick(page, 4)
    say(page, "make red cube")
    pick(page, 0)
    say(page, "make blue cube")
    expect(page.locator("#chips .said")).to_have_count(0)
    assert "earlier" not in page.url


@pytest.mark.slow
def test_going_on_from_an_earlier_step_begins_a_new_way(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 4)
    say(page, "make red cube")
    pick(page, 0)
    page.get_by_role("button", name="Step 1").click()
    expect(page.get_by_role("searchbox")).to_have_value("make red cube")
    pick(page, 3)
    assert steps(page) == ["make red cube", "like this"]


def test_an_address_can_be_shared(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 7)
    say(page, "make blue cube")
    other = opened(page.url)
    assert ids(other) == ids(page)
    assert steps(other) == steps(page)


@pytest.mark.parametrize(
    "hash",
    [
        "#%7B%22steps%22%3A%5B3%5D%2C%22at%22%3A9%7D",
        "#%E0%A4%A",
        *(pytest.param(hash, marks=pytest.mark.slow) for hash in ("#", "#%7B", "#null", "#%5B1%5D")),
    ],
)
def test_an_address_that_makes_no_sense_opens_the_catalogue(opened: Callable[..., Page], url: str, hash: str) -> None:
    page = opened(f"{url}/{hash}")
    settled(page)
    expect(page.locator("#summary")).to_have_text("61 images")


def test_a_sentence_alone_is_searched_by(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    say(page, "make red cube")
    expect(page.locator("#summary")).to_have_text("the 24 nearest")
    expect(cards(page).first.locator(".score")).to_be_visible()
    page.get_by_role("button", name="Show more").click()
    expect(cards(page)).to_have_count(61)


def test_suggested_sentences_can_be_chosen(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    page.get_by_role("button", name="make blue cube").click()
    expect(page.locator("#heading")).to_have_text("“make blue cube”")


def test_an_image_is_given_said_something_to_and_still_there_after_reloading(
    opened: Callable[..., Page], url: str, tmp_path: Path
) -> None:
    served.painted(20).save(tmp_path / "mine.png")
    page = opened(url)
    settled(page)
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    expect(page.locator("#note")).to_have_text(re.compile("^Left out, .*'item-20'"))
    say(page, "make blue cube")
    expect(page.locator("#reference-image")).to_be_visible()
    before = ids(page)
    shot(page, "3-upload")
    page.reload()
    assert ids(page) == before
    expect(page.locator("#reference-image")).to_be_visible()


def test_an_image_is_dropped_and_another_one_pasted(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    for kind, number in (("drop", 20), ("paste", 31)):
        data = list(served.as_bytes(served.painted(number)))
        page.evaluate(
            """([kind, data]) => {
                const carried = new DataTransfer();
                carried.items.add(new File([new Uint8Array(data)], "a.png", { type: "image/png" }));
                const how = { bubbles: true, cancelable: true };
                document.body.dispatchEvent(kind === "drop"
                  ? new DragEvent("drop", { ...how, dataTransfer: carried })
                  : new ClipboardEvent("paste", { ...how, clipboardData: carried }));
            }""",
            [kind, data],
        )
        expect(page.locator("#note")).to_have_text(re.compile(f"^Left out, .*'item-{number}'"))


def test_an_image_of_another_browser_is_asked_for(opened: Callable[..., Page], url: str) -> None:
    page = opened(f"{url}/#%7B%22steps%22%3A%5B%7B%22upload%22%3A%220123456789abcdef%22%7D%5D%7D")
    expect(page.get_by_role("alert")).to_contain_text("is not here")


def test_a_shared_link_goes_on_with_the_image_that_its_receiver_chooses(
    opened: Callable[..., Page], url: str, tmp_path: Path
) -> None:
    served.painted(4).save(tmp_path / "mine.png")
    shared = {"steps": [{"upload": "0123456789abcdef", "text": "make red cube"}]}
    page = opened(f"{url}/#{quote(json.dumps(shared))}")
    expect(page.get_by_role("alert")).to_contain_text("is not here")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    shot(page, "11-shared")
    with page.expect_file_chooser() as choosing:
        page.get_by_role("button", name="Choose the image").click()
    choosing.value.set_files(tmp_path / "mine.png")
    expect(page.locator("#summary")).to_have_text("the 24 nearest")
    assert steps(page) == ["make red cube"]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A shop with long titles, seventeen categories, prices and addresses."""
    folder = tmp_path_factory.mktemp("shop")
    items = []
    for number in range(34):
        served.painted(number).save(folder / f"{number}.png")
        fields = {
            "label": f"Organic cotton shirt, sleeves {number}",
            "cost": 1299.5 + number,
            "category": f"category {number % 17}" if number % 17 else "category0" + "longer" * 6,
            "page": f"https://shop.example/{number}",
        }
        items.append(Item(f"sku-{number}", folder / f"{number}.png", fields=fields))
    path = served.build(folder, 2)
    catalogue = Catalogue.open(path, made_up.model())
    catalogue.delete(catalogue.ids)
    catalogue.add(items)
    with served.running(served.app(path, title="label", price="cost", link="page", currency="€")) as url:
        yield url


@pytest.mark.parametrize("width", [pytest.param(1280, marks=pytest.mark.slow), 390])
def test_names_and_prices_are_read_whole(opened: Callable[..., Page], shop: str, width: int) -> None:
    page = opened(shop, viewport={"width": width, "height": 900})
    settled(page)
    say(page, "make red cube")  # whose hits have more buttons
    shot(page, f"12-shop-{width}")
    for part in (".name", ".price"):
        texts = page.locator(f".card {part}").evaluate_all("all => all.map(e => [e.scrollHeight, e.clientHeight])")
        assert texts and all(needed <= there + 1 for needed, there in texts)
    facts = page.locator(".card .facts").evaluate_all("all => all.map(e => [e.scrollWidth, e.clientWidth])")
    assert facts and all(needed <= there for needed, there in facts)
    expect(page.locator(".card .price").first).to_contain_text("€")
    expect(page.locator(".card .price").first).to_contain_text(",")


def test_all_categories_have_a_visible_way(opened: Callable[..., Page], shop: str) -> None:
    page = opened(shop)
    settled(page)
    page.get_by_role("button", name="Filters").click()
    boxes = page.get_by_role("checkbox", name=re.compile("^category"))
    expect(boxes).to_have_count(8)
    page.get_by_role("button", name="Show all 17").first.click()
    expect(boxes).to_have_count(17)
    shot(page, "13-all-categories")


def test_an_item_leads_to_its_page_in_the_shop(opened: Callable[..., Page], shop: str) -> None:
    page = opened(shop)
    settled(page)
    page.get_by_role("button", name=re.compile("^Details of")).first.click()
    link = page.get_by_role("link", name="See it in the shop")
    assert re.fullmatch(r"https://shop\.example/\d+", str(link.get_attribute("href")))


def test_an_error_that_stays_offers_no_button_to_try_again(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    body = json.dumps({"error": {"code": "bad_filter", "message": "this makes no sense"}})
    page.route("**/api/v1/search", lambda route: route.fulfill(status=422, body=body, content_type="application/json"))
    say(page, "make red cube")
    expect(page.get_by_role("alert")).to_contain_text("This makes no sense")
    expect(page.get_by_role("alert").get_by_role("button")).to_have_count(0)


def test_why_tells_the_rank_within_the_filters_and_keeps_its_scale(opened: Callable[..., Page], url: str) -> None:
    state = {"where": {"colour": ["red"]}, "steps": [{"id": "item-05", "text": "make red cube"}], "at": 0}
    page = opened(f"{url}/#{quote(json.dumps(state))}")
    settled(page)
    page.get_by_role("button", name=re.compile("^Why")).first.click()
    expect(page.locator("#why-place")).to_contain_text(
        re.compile(r"Rank \d+ of \d+, 1 of the 20 that your filters leave")
    )
    expect(page.locator("#why-reference-key")).to_contain_text("0.20")
    shot(page, "14-why-filtered")


def test_filters_narrow_and_the_back_button_widens_again(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 3)
    page.get_by_role("button", name="Filters").click()
    shot(page, "4-filters")
    page.get_by_role("checkbox", name=re.compile("^blue")).check()
    page.get_by_label("at most").first.fill("50")
    page.get_by_label("at most").first.press("Tab")
    page.get_by_role("button", name="Show images").click()
    expect(page.locator("#summary")).to_contain_text("match the filters")
    settled(page)
    assert page.locator(".card .facts").count() == 7
    assert all("blue" in text for text in page.locator(".card .facts").all_text_contents())
    expect(page.get_by_role("button", name="Take away the filter colour: blue")).to_be_visible()
    expect(page.get_by_role("button", name="Take away the filter price ≤ 50")).to_be_visible()
    shot(page, "5-filtered")
    page.go_back()
    expect(page.get_by_role("button", name="Take away the filter price ≤ 50")).to_have_count(0)
    page.go_back()
    expect(page.locator("#summary")).to_have_text("the 24 nearest")


def test_filters_that_nothing_matches_say_so(opened: Callable[..., Page], url: str) -> None:
    page = opened(f"{url}/#{quote(json.dumps({'where': {'colour': ['violet']}}))}")
    expect(page.locator("#state")).to_contain_text("Nothing matches these filters")
    shot(page, "6-empty")
    page.get_by_role("button", name="Clear the filters").click()
    expect(page.locator("#summary")).to_have_text("61 images")


def test_the_slider_and_less_like_this_change_the_order(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 5)
    expect(page.get_by_role("slider")).to_have_count(0)
    say(page, "make red cube")
    even = ids(page)
    slider = page.get_by_role("slider", name="Balance between the image and the sentence")
    slider.focus()
    for _ in range(9):
        page.keyboard.press("ArrowRight")
    page.wait_for_function("() => decodeURIComponent(location.hash).includes('\"emphasis\":0.9')")
    settled(page)
    assert ids(page) != even
    worst = ids(page)[0]
    page.get_by_role("button", name=f"Less like {worst}").click()
    expect(page.get_by_role("button", name=f"No longer: less like {worst}")).to_be_visible()
    settled(page)
    assert worst not in ids(page)


def test_details_are_shown_and_searched_from(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    page.get_by_role("button", name="Details of item-02").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("green")
    shot(page, "7-details")
    dialog.get_by_role("button", name="Search from this image").click()
    expect(page.locator("#heading")).to_have_text("Images like this one")


# -- why ---------------------------------------------------------------------------------------------------------------


def fragment(**step: Any) -> str:
    """The part of an address that asks something."""
    return "/#" + quote(json.dumps({"steps": [step]}))


def why(page: Page, number: int = 2) -> Any:
    """The dialog of a result, once its maps are drawn."""
    page.locator("[data-act=why]").nth(number).click()
    dialog = page.locator("#why")
    expect(dialog.locator("#why-target-key .scale")).to_be_visible()
    return dialog


def drawn(page: Page, name: str = "reference") -> str:
    """What stands over an image."""
    return str(page.evaluate("name => document.getElementById(`why-${name}-map`).toDataURL()", name))


def test_why_shows_words_by_their_effect_and_both_images_with_maps(opened: Callable[..., Page], url: str) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    dialog = why(page)
    expect(page.get_by_role("dialog", name=re.compile("^Why item-"))).to_be_visible()
    text = re.compile(r"^Rank [23] of 61, score \d\.\d\d$")  # its score may be the second's as well
    expect(dialog.locator("#why-place")).to_have_text(text)
    words = dialog.locator("#why-words button")
    expect(words.locator("span")).to_have_text(["make", "red", "cube"])
    for row in range(3):
        expect(words.nth(row)).to_have_class(re.compile("for|against"))
        expect(words.nth(row).locator("small")).to_have_text(re.compile(r"^[+−]?\d\.\d+$"))
        expect(words.nth(row)).to_have_attribute("aria-label", re.compile("speaks (for|against) this image"))
    for name in ("reference", "target"):
        expect(dialog.locator(f"#why-{name}-image")).to_have_attribute("alt", re.compile(r"Most in favour|Nothing"))
        expect(dialog.locator(f"#why-{name}-key")).to_contain_text("against")
    blank = page.evaluate(
        "() => Object.assign(document.createElement('canvas'), {width: 640, height: 427}).toDataURL()"
    )
    assert blank not in (drawn(page), drawn(page, "target"))
    expect(dialog).to_contain_text("Attention is a hint, the effect of covering is the evidence")
    shot(page, "10-why")


@pytest.mark.slow
def test_pointing_at_a_word_shows_where_it_looks(opened: Callable[..., Page], url: str) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    dialog = why(page)
    before = drawn(page)
    dialog.locator("#why-words button").nth(1).hover()
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where “red” looks")
    expect(dialog.locator("#why-word")).to_contain_text("“red”")
    shot(page, "11-why-word")
    red = drawn(page)
    dialog.locator("#why-words button").nth(2).hover()
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where “cube” looks")
    assert len({before, red, drawn(page)}) == 3
    dialog.locator("#why-title").hover()
    expect(dialog.locator("#why-reference-tag")).to_have_text("Effect of covering")
    assert drawn(page) == before


@pytest.mark.slow
def test_a_word_that_is_chosen_stays(opened: Callable[..., Page], url: str) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    dialog = why(page)
    dialog.locator("#why-words button").nth(1).click()
    dialog.locator("#why-title").hover()
    expect(dialog.locator("#why-words button").nth(1)).to_have_attribute("aria-pressed", "true")
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where “red” looks")


@pytest.mark.slow
def test_the_map_is_switched_between_covering_gradients_and_attention(opened: Callable[..., Page], url: str) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    dialog = why(page)
    maps, numbers = [drawn(page)], [dialog.locator("#why-words small").all_text_contents()]
    for view, meaning in (("Gradients", "integrated gradients"), ("Attention", "a hint, not a cause")):
        dialog.get_by_text(view, exact=True).click()
        expect(dialog.locator("#why-reference-meaning")).to_contain_text(meaning)
        maps.append(drawn(page))
        numbers.append(dialog.locator("#why-words small").all_text_contents())
        shot(page, f"12-why-{view.lower()}")
    assert len(set(maps)) == 3
    assert numbers[1] != numbers[0] == numbers[2]
    expect(dialog.locator("#why-reference-key")).to_contain_text("of the attention")
    dialog.get_by_text("None", exact=True).click()
    expect(dialog.locator("#why-reference-key")).to_be_empty()


@pytest.mark.slow
def test_why_of_an_image_alone_has_no_words_and_of_words_alone_no_reference(
    opened: Callable[..., Page], url: str
) -> None:
    dialog = why(opened(url + fragment(id="item-04")))
    expect(dialog.locator("#why-words")).to_have_count(0)
    expect(dialog.locator("#why-reference-key .scale")).to_be_visible()
    dialog = why(opened(url + fragment(text="make red cube")))
    expect(dialog.locator("#why-words button")).to_have_count(3)
    expect(dialog.locator("#why-reference-image")).to_have_count(0)


def test_why_works_from_an_image_of_one_s_own(opened: Callable[..., Page], url: str, tmp_path: Path) -> None:
    served.painted(20).save(tmp_path / "mine.png")
    page = opened(url)
    settled(page)
    page.locator("#file").set_input_files(tmp_path / "mine.png")
    expect(page.locator("#note")).to_have_text(re.compile("^Left out, .*'item-20'"))
    expect(why(page).locator("#why-reference-key .scale")).to_be_visible()


def test_words_that_the_model_does_not_know_and_what_takes_no_part_are_said(
    opened: Callable[..., Page], url: str
) -> None:
    page = opened(url + fragment(id="item-04", text="make velvet cube", emphasis=0.5))
    dialog = why(page)
    expect(dialog.locator("#why-words button").nth(1)).to_have_class(re.compile("unread"))
    expect(dialog.locator("#why-words button").nth(1)).to_contain_text("not known")
    expect(dialog).to_contain_text("The slider and “less like this” take no part")


@pytest.mark.slow
def test_why_is_read_with_the_keyboard_alone(opened: Callable[..., Page], url: str) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    settled(page)
    page.locator("[data-act=why]").nth(1).focus()
    page.keyboard.press("Enter")
    dialog = page.locator("#why")
    expect(dialog.locator("#why-target-key .scale")).to_be_visible()
    page.keyboard.press("Tab")
    expect(dialog.locator("#why-words button").first).to_be_focused()
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where “make” looks")
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(dialog.get_by_role("radio", name="Covering")).to_be_focused()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where the words look")
    for _ in range(9):
        page.keyboard.press("Tab")
        assert page.evaluate(
            "document.activeElement === document.body || Boolean(document.activeElement.closest('#why'))"
        )
    page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    expect(page.locator("[data-act=why]").nth(1)).to_be_focused()


@pytest.mark.slow
def test_a_slow_explanation_shows_that_something_happens_and_ends_with_its_dialog(
    opened: Callable[..., Page], url: str
) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    settled(page)
    ended: list[str] = []
    page.on("requestfailed", lambda request: ended.append(request.url))
    page.route("**/api/v1/explain", lambda route: None)
    page.locator("[data-act=why]").first.click()
    expect(page.locator("#why").get_by_role("status").last).to_contain_text("are covered and words left out")
    expect(page.locator("#why").get_by_role("status").last).to_contain_text("Still at it")
    shot(page, "13-why-slow")
    page.get_by_role("button", name="Close the explanation").click()
    expect(page.locator("#why")).not_to_be_visible()
    page.wait_for_timeout(50)
    assert [one.rpartition("/")[2] for one in ended] == ["explain"]


@pytest.mark.parametrize(
    ("status", "code", "title", "again"),
    [
        (503, "timeout", "That took too long", True),
        (404, "unknown_item", "An image is not there any more", False),
        pytest.param(409, "unexplainable", "This cannot be explained", False, marks=pytest.mark.slow),
    ],
)
def test_an_explanation_that_cannot_be_had_is_told_in_words(
    opened: Callable[..., Page], url: str, status: int, code: str, title: str, again: bool
) -> None:
    page = opened(url + fragment(id="item-04", text="make red cube"))
    settled(page)
    body = json.dumps({"error": {"code": code, "message": "what happened and what to do"}})
    page.route("**/api/v1/explain", lambda route: route.fulfill(status=status, body=body))
    page.locator("[data-act=why]").first.click()
    alert = page.locator("#why").get_by_role("alert")
    expect(alert).to_contain_text(title)
    expect(alert).to_contain_text("What happened and what to do.")
    shot(page, f"14-why-{code}")
    page.unroute("**/api/v1/explain")
    expect(alert.get_by_role("button", name="Try again")).to_have_count(1 if again else 0)
    if again:
        alert.get_by_role("button", name="Try again").click()
        expect(page.locator("#why-words button")).to_have_count(3)


@pytest.mark.slow
def test_the_back_button_closes_an_explanation(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 4)
    why(page)
    page.go_back()
    expect(page.locator("#why")).not_to_be_visible()
    expect(page.locator("#summary")).to_have_text("61 images")


@pytest.mark.parametrize("scheme", ["light", pytest.param("dark", marks=pytest.mark.slow)])
def test_why_fits_a_phone(opened: Callable[..., Page], url: str, scheme: str) -> None:
    settings = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True}
    page = opened(
        url + fragment(id="item-04", text="make red velvet cube"),
        **settings,
        color_scheme=scheme,
        device_scale_factor=2,
    )
    page.locator("[data-act=why]").first.tap()
    dialog = page.locator("#why")
    expect(dialog.locator("#why-target-key .scale")).to_be_visible()
    assert dialog.evaluate("one => one.scrollWidth <= one.clientWidth && one.clientWidth <= 360")
    shot(page, f"phone-{scheme}-4-why")
    dialog.locator("#why-words button").nth(1).tap()
    expect(dialog.locator("#why-reference-tag")).to_have_text("Where “red” looks")
    dialog.locator("#why-target-meaning").scroll_into_view_if_needed()
    expect(page.get_by_role("button", name="Close the explanation")).to_be_in_viewport()
    shot(page, f"phone-{scheme}-5-why")


def test_why_is_not_offered_where_the_server_does_not_explain(opened: Callable[..., Page], tmp_path: Path) -> None:
    with served.running(served.app(served.build(tmp_path, 4), explain=False)) as url:
        page = opened(url + fragment(id="item-01"))
        settled(page)
        expect(page.locator("[data-act=less]")).to_have_count(3)
        assert page.locator("[data-act=why]").count() == 0


# -- what goes wrong --------------------------------------------------------------------------------------------------


def test_words_that_the_model_does_not_know_are_explained(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    say(page, "velvet xyzzy")
    expect(page.get_by_role("alert")).to_contain_text("does not know these words")
    expect(page.get_by_role("alert")).to_contain_text("xyzzy")
    shot(page, "8-error")
    page.get_by_role("alert").get_by_role("button", name="make red cube").click()
    expect(page.locator("#summary")).to_have_text("the 24 nearest")
    say(page, "make velvet cube")
    expect(page.locator("#note")).to_contain_text("velvet")


def test_a_server_that_is_away_is_told_and_tried_again(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    page.route("**/api/v1/search", lambda route: route.abort())
    say(page, "make red cube")
    expect(page.get_by_role("alert")).to_contain_text("No connection")
    page.unroute("**/api/v1/search")
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#summary")).to_have_text("the 24 nearest")


def test_a_file_that_is_no_image_is_told(opened: Callable[..., Page], url: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    (tmp_path / "evil.jpg").write_text("<html><script>alert(1)</script></html>", encoding="utf-8")
    page = opened(url)
    settled(page)
    page.locator("#file").set_input_files(tmp_path / "a.txt")
    expect(page.get_by_role("alert")).to_contain_text("not an image")
    page.locator("#file").set_input_files(tmp_path / "evil.jpg")
    expect(page.get_by_role("alert")).to_contain_text("Cannot read the image: it is no image")
    expect(page.locator("#reference-image")).to_be_hidden()
    expect(page.locator("#steps img")).to_have_count(0)


@pytest.mark.slow
def test_a_slow_answer_shows_that_something_happens(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    routes: list[Route] = []
    page.route("**/api/v1/search", lambda route: routes.append(route))
    page.get_by_role("searchbox").fill("make red cube")
    page.keyboard.press("Enter")
    expect(page.locator(".card.blank").first).to_be_visible()
    expect(page.locator("#summary")).to_have_text("Still looking …")
    shot(page, "9-slow")
    routes[0].continue_()
    expect(page.locator("#summary")).to_have_text("the 24 nearest")


def test_html_in_a_catalogue_stays_text(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    page.mouse.wheel(0, 50_000)  # the end of the list comes near, and more of it is shown
    expect(page.locator(".card .name", has_text="onerror")).to_have_text(EVIL)
    page.get_by_role("button", name="Filters").click()
    expect(page.locator(".choices span", has_text="onerror")).to_have_text(EVIL)
    assert page.title() == "Search with an image and a sentence"


def test_a_catalogue_that_is_locked_opens_with_a_key(opened: Callable[..., Page], tmp_path: Path) -> None:
    folder = served.build(tmp_path, 6)
    with served.running(served.app(folder, keys=Keys((served.READ,), ()))) as url:
        page = opened(url)
        dialog = page.get_by_role("dialog", name="This catalogue needs a key")
        dialog.get_by_label("Key").fill("wrong-wrong-wrong")
        dialog.get_by_role("button", name="Open").click()
        expect(dialog.get_by_role("alert")).to_be_visible()
        dialog.get_by_label("Key").fill(served.READ)
        dialog.get_by_role("button", name="Open").click()
        expect(cards(page)).to_have_count(6)
        expect(page.locator(".card .use img.there").first).to_be_visible()


# -- for everybody ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scheme", [pytest.param("light", marks=pytest.mark.slow), "dark"])
def test_a_phone_shows_everything_without_scrolling_sideways(
    opened: Callable[..., Page], url: str, scheme: str
) -> None:
    page = opened(
        url,
        viewport={"width": 360, "height": 740},
        is_mobile=True,
        has_touch=True,
        color_scheme=scheme,
        device_scale_factor=2,
    )
    pick(page, 4)
    say(page, "make red cube")
    pick(page, 1)
    say(page, "make blue cube")
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 360
    first, second = (cards(page).nth(number).bounding_box() for number in (0, 1))
    assert first is not None and second is not None
    assert first["y"] == second["y"]
    shot(page, f"phone-{scheme}-1")
    page.get_by_role("button", name="Filters").click()
    shot(page, f"phone-{scheme}-2-filters")
    page.get_by_role("button", name="Close the filters").click()
    page.locator("[data-act=info]").first.click()
    shot(page, f"phone-{scheme}-3-details")


def test_the_keyboard_alone_is_enough(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    settled(page)
    page.keyboard.press("/")
    expect(page.get_by_role("searchbox")).to_be_focused()
    page.keyboard.type("make red cube")
    page.keyboard.press("Enter")
    expect(page.locator("#summary")).to_have_text("the 24 nearest")
    cards(page).first.locator(".use").focus()
    page.keyboard.press("ArrowRight")
    expect(cards(page).nth(1).locator(".use")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#heading")).to_have_text("Images like this one")
    page.get_by_role("button", name="Filters").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog", name="Filters")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog", name="Filters")).to_have_count(0)


def test_everything_that_can_be_operated_has_a_name(opened: Callable[..., Page], url: str) -> None:
    page = opened(url)
    pick(page, 3)
    say(page, "make red cube")
    page.locator("[data-act=less]").first.click()
    settled(page)
    why(page, 0)
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, a, img, dialog")]
            .filter((one) => one.offsetParent && one.type !== "file")
            .filter((one) => !(one.getAttribute("aria-label") || one.getAttribute("aria-labelledby")
              || one.labels?.length || one.textContent.trim() || one.hasAttribute("alt")))
            .map((one) => one.outerHTML)"""
    )
    assert nameless == []


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", [0, 1])
def test_text_stands_out_from_its_ground(scheme: int) -> None:
    style = page_files()["style.css"][0].decode()
    block = re.findall(r":root \{(.*?)\}", style, flags=re.DOTALL)[scheme]
    colour = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
    grounds = ("ground", "surface", "raised", "tint")
    pairs = [(text, ground) for text in ("ink", "soft", "accent", "warm", "bad") for ground in grounds]
    for text, ground in [*pairs, ("on-accent", "accent")]:
        if text in ("warm", "bad") and ground == "tint":
            continue  # they never stand on it
        one, other = sorted((luminance(colour[text]), luminance(colour[ground])))
        assert (other + 0.05) / (one + 0.05) >= 4.5, f"{text} on {ground}"
    for tone in ("for", "against"):  # a word's ground is its tone to 60 % at most
        mixed = "#" + "".join(
            f"{round(0.6 * int(colour[tone][at : at + 2], 16) + 0.4 * int(colour['surface'][at : at + 2], 16)):02x}"
            for at in (1, 3, 5)
        )
        one, other = sorted((luminance(colour["ink"]), luminance(mixed)))
        assert (other + 0.05) / (one + 0.05) >= 4.5, f"ink on {tone}"


@pytest.mark.slow
def test_a_long_catalogue_never_fills_the_page(opened: Callable[..., Page], tmp_path: Path) -> None:
    random = np.random.Generator(np.random.PCG64(0))
    vectors = random.standard_normal((2_000, 8)).astype(np.float32)
    items = [Item(f"i{number:04d}", embedding=vector) for number, vector in enumerate(vectors)]
    Catalogue.from_embeddings(items, tmp_path / "catalogue")
    with served.running(make_app(ServeConfig(str(tmp_path / "catalogue"), hosts=("*",)), Keys())) as url:
        page = opened(url)
        settled(page)
        expect(page.locator("#summary")).to_have_text("2,000 images")
        most = 0
        all_names: set[str] = set()
        for _ in range(80):
            names = ids(page)
            most, all_names = max(most, len(names)), all_names | set(names)
            if len(all_names) == 2_000:
                break
            if len(names) >= 960:
                page.get_by_role("button", name="Show more").click()
            page.evaluate("scrollTo(0, document.body.scrollHeight)")
            page.wait_for_timeout(60)
        assert len(all_names) == 2_000
        assert most <= 1_008


def test_an_empty_catalogue_says_so(opened: Callable[..., Page], tmp_path: Path) -> None:
    catalogue = Catalogue.from_embeddings([Item("a", embedding=np.ones(4))], tmp_path / "catalogue")
    catalogue.delete(["a"])
    with served.running(make_app(ServeConfig(str(tmp_path / "catalogue"), hosts=("*",)), Keys())) as url:
        page = opened(url)
        expect(page.locator("#state")).to_contain_text("This catalogue is empty")
