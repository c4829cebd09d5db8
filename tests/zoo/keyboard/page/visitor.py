"""What a visitor of the page sees and does."""

BAR = "[...document.querySelectorAll('#bar button')].map((button) => button.textContent)"
TEXT = "document.querySelector('#text').value"
STATUS = "(document.querySelector('#status')?.textContent ?? '')"


def typed(page, text):
    """Types with the machine's keyboard; the bar once it is that of the text."""
    for letter in text:
        page.press(letter)
    return bar(page)


def bar(page):
    """The texts of the three slots, when they are of what stands in the field."""
    page.evaluate("new Promise(requestAnimationFrame)")
    page.wait("seen.painted === document.querySelector('#text').value")
    return page.evaluate(BAR)


def show(page, keys):
    """Types on the keys of the page."""
    for key in keys:
        page.touch(f'#keys [data-key="{"space" if key == " " else key}"]')
