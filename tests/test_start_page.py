"""The start page: each game of the server has a card that leads to it."""

from __future__ import annotations

pytest_plugins = ["tests.browser", "tests.example_pages", "tests.pages"]


def test_each_game_has_a_card_that_leads_to_it(examples, visit):
    page = visit(examples.page)
    page.wait_for_selector("#games li")
    links = page.locator("#games a")
    found = [links.nth(at).get_attribute("href") for at in range(links.count())]
    assert found == ["/tag/", "/tictactoe/", "/board/", "/chat/", "/crazy/", "/crowd/"]
    page.click("#games a[href='/board/']")
    page.wait_for_selector("#enter")
    assert page.title() == "Whiteboard"


def test_the_scenes_are_drawn(examples, visit):
    page = visit(examples.page)
    page.wait_for_function(
        """() => {
          const canvas = document.querySelector("#games canvas");
          if (!canvas?.width) return false;
          const {data} = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
          return data.some((value) => value > 0);
        }"""
    )


def test_one_sees_how_many_play(examples, visit):
    page = visit(examples.page)
    ann = page.context.new_page()
    ann.goto(f"{examples.page}tag/")
    ann.fill("#name", "Ann")
    ann.click("#enter button[value=play]")
    ann.wait_for_selector("body.in")
    page.locator("#games a[href='/tag/'] small.on").wait_for()
