"""Draw sentences at random from docstrings, messages and report pages, to be read with fresh eyes."""

import argparse
import ast
import random
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("indexes", "auditor", "loops", "service")
_FEWEST_WORDS = 5
# SQL (which may begin with a placeholder) and markup
_CODE = re.compile(r"[\s…]*(SELECT|INSERT|UPDATE|DELETE|CREATE|ALTER|WITH|COPY|FROM|WHERE|ORDER BY)\b|\s*<")


def sentences() -> list[str]:
    """Every sentence of five words or more, each once, in order."""
    found: set[str] = set()
    for package in PACKAGES:
        for module in (ROOT / package).rglob("*.py"):
            found.update(part for text in texts(module) for part in split(text))
        for page in (ROOT / package).rglob("*.html"):
            found.update(split(plain(page.read_text(encoding="utf-8"))))
    return sorted(found)


def plain(page: str) -> str:
    """The text of a page without scripts, styles and tags, with … for each value; a block begins a new sentence."""
    text = re.sub(r"<(style|script)\b.*?</\1>|\{%.*?%\}", " ", page, flags=re.S)
    text = re.sub(r"\{\{.*?\}\}", "…", text, flags=re.S)
    text = re.sub(
        r"</?(p|div|t[hdr]|table|li|ul|h\d|section|summary|details|label|option|figure)\b[^>]*>", "\n\n", text
    )
    return re.sub(r"<[^>]+>", " ", text)


def texts(module: Path) -> Iterator[str]:
    """The docstrings of a module, and the strings in calls: messages and help texts."""
    tree = ast.parse(module.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield ast.get_docstring(node) or ""
        elif isinstance(node, ast.Call):
            strings = (shown(part) for part in [*node.args, *(keyword.value for keyword in node.keywords)])
            yield from (text for text in strings if not _CODE.match(text))


def shown(node: ast.expr) -> str:
    """A string as written, an f-string with … for each value, and nothing for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


def split(text: str) -> list[str]:
    """The sentences of a text."""
    paragraphs = re.split(r"\n\s*\n", text)
    parts = [part for words in paragraphs for part in re.split(r"(?<=[.!?])\s+(?=[A-Z`])", " ".join(words.split()))]
    return [part for part in (" ".join(p.split()) for p in parts) if _words(part) >= _FEWEST_WORDS]


def _words(text: str) -> int:
    """Number of words with at least one letter; placeholders and numbers do not count."""
    return sum(any(letter.isalpha() for letter in word) for word in text.split())


def main() -> None:
    """Print the drawn sentences, numbered."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=40)
    parser.add_argument("--seed", type=int, default=17)
    given = parser.parse_args()
    for number, sentence in enumerate(random.Random(given.seed).sample(sentences(), given.n), start=1):
        print(f"{number:>3}. {sentence}")


if __name__ == "__main__":
    main()
