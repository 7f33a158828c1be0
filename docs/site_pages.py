"""What `mkdocs` needs to know: README and the other pages of the root are pages of the site too."""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
PAGES = {"README.md": "index.md", **{name: name for name in ("CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")}}
"""A page of the root → its place on the site."""


def on_files(files: Files, config: Any) -> Files:
    """Add the pages of the root."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=re.sub(r"\]\(docs/", "](", text)))
    return files


def on_page_markdown(markdown: str, page: Any, config: Any, files: Files) -> str:
    """Links that leave `docs/`: to a page of the root, its place on the site; to code, plain text."""
    markdown = re.sub(r"\]\((?:\.\./)+(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md", _placed, markdown)
    return re.sub(r"\[([^\]]+)\]\((?:(?:\.\./)+\w[^)]*|itma/[^)]*|LICENSE|CITATION\.cff)\)", r"\1", markdown)


def _placed(link: re.Match[str]) -> str:
    return f"]({PAGES[link[1] + '.md']}"
