"""What a call ends in, as a text: what it returns, or the error."""

from mnist_tune import UserError


def outcome(function, *arguments, **options):
    """Call a function. Return what it returned as a text, or `no` and the reason, or
    the kind and text of an error."""
    try:
        return str(function(*arguments, **options))
    except UserError as error:
        return f"no: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def said_once(text, *sentences):
    """Return a text in which each of these sentences is there once, and then as
    dots."""
    for sentence in sentences:
        assert sentence in text, sentence
        before, _, after = text.partition(sentence)
        text = before + sentence + after.replace(sentence, "..")
    return text
