"""The page that shows a share, in the language of whoever opens it."""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from atriz_realtime.api import PluginConfig, decode_json, encode_json
from atriz_realtime.defaults.shared.pages import (
    DIST,
    MAP_FILES,
    MEDIA_TYPES,
    accepts_gzip,
    file_routes,
)
from atriz_realtime.defaults.sharing import colour
from atriz_realtime.defaults.sharing.settings import LANGUAGES, LOGO_TYPES, SharingSettings

PAGE_PATH = "/track"

END_PATH = f"{PAGE_PATH}/end"

FILES = (
    "share.js",
    "share-connection.js",
    "share-place.js",
    "share-map.css",
    "LICENSES.txt",
    *MAP_FILES,
)
"""The page's files; its style is in the page, so that it is drawn when that has arrived."""

LOGO = "files/logo"
"""The address of a logo that this server serves, as the page links to it."""

MAX_ACCEPTED = 20
"""Languages that are read of a request's header `Accept-Language`."""

_PLACEHOLDER = re.compile(r"\{([a-zA-Z-]+)\}")


class SharePage:
    """The page.  It is the same for every link, and for what is none."""

    def __init__(self, settings: SharingSettings, config: PluginConfig) -> None:
        self._settings = settings
        self._style = (DIST / "share.css").read_text("utf-8").strip()
        if settings.brand_colour:
            self._style += colour.style(settings.brand_colour)
        template = (DIST / "share.html").read_text("utf-8")
        for name, value in settings.for_page(config, root="../").items():
            attribute = re.sub("[A-Z]", lambda found: f"-{found[0].lower()}", name)
            template = template.replace(f"{{{attribute}}}", html.escape(value))
        pages = {each: self._rendered(template, each).encode() for each in LANGUAGES}
        self._pages = {
            each: (page, gzip.compress(page, 9, mtime=0)) for each, page in pages.items()
        }

    def headers(self) -> dict[str, str]:
        """The headers of the page and its files."""
        headers = self._settings.headers()
        policy = headers["content-security-policy"]
        digest = base64.b64encode(hashlib.sha256(self._style.encode()).digest()).decode()
        policy = policy.replace("style-src 'self'", f"style-src 'self' 'sha256-{digest}'")
        logo = urlsplit(self._settings.brand_logo)
        if logo.scheme:
            policy = policy.replace("img-src 'self'", f"img-src 'self' https://{logo.netloc}")
        return headers | {
            "content-security-policy": policy,
            "x-robots-tag": "noindex, nofollow",
        }

    def answer(self, request: Request) -> Response:
        """The page for a request."""
        page, packed = self._pages[self._language(request)]
        headers = {
            **self.headers(),
            "cache-control": "no-store",
            "vary": "Accept-Encoding, Accept-Language",
        }
        if accepts_gzip(request):
            page, headers["content-encoding"] = packed, "gzip"
        return Response(page, media_type=MEDIA_TYPES["html"], headers=headers)

    def logo_routes(self) -> list[Route]:
        """The route of the logo, if it is a file."""
        logo = self._settings.brand_logo
        if not logo or urlsplit(logo).scheme:
            return []
        path = Path(logo)
        content, media_type = path.read_bytes(), LOGO_TYPES[path.suffix[1:].lower()]
        headers = {**self.headers(), "cache-control": "no-cache"}

        async def show(_: Request) -> Response:
            return Response(content, media_type=media_type, headers=headers)

        return [Route(f"{PAGE_PATH}/{LOGO}", show, methods=["GET"])]

    def _language(self, request: Request) -> str:
        settings = self._settings
        wanted = settings.language or request.query_params.get("lang")
        if wanted in LANGUAGES:
            return wanted
        return preferred(request.headers.get("accept-language", ""))

    def _rendered(self, template: str, language: str) -> str:
        settings = self._settings
        words: dict[str, Any] = decode_json((DIST / f"share-{language}.json").read_bytes())
        script = {
            "language": language,
            "words": words,
            "brand": settings.brand_name,
            "steps": settings.steps,
            "stepNames": settings.step_names.get(language, {}),
            "staleAfter": settings.stale_after,
            "offlineAfter": settings.offline_after,
        }
        texts = {name: html.escape(word) for name, word in words.items() if isinstance(word, str)}
        texts |= {
            "language": language,
            "style": self._style,
            "settings": html.escape(encode_json(script).decode()),
            "head": self._head(words),
            "brand": self._brand(),
            "links": self._links(words),
        }
        return _PLACEHOLDER.sub(lambda found: texts.get(found[1], found[0]), template)

    def _head(self, words: dict[str, Any]) -> str:
        """The title, and what browsers and messengers show beside it."""
        settings = self._settings
        parts = (words["title"], settings.brand_name)
        title = html.escape(" – ".join(filter(None, parts)))  # noqa: RUF001  # a dash
        head = f'<title>{title}</title><meta property="og:title" content="{title}">'
        head += f'<link rel="icon" href="{self._logo() or "data:,"}">'
        if settings.brand_colour:
            head += f'<meta name="theme-color" content="{settings.brand_colour}">'
        return head

    def _brand(self) -> str:
        name = html.escape(self._settings.brand_name)
        if logo := self._logo():
            return f'<img id="logo" src="{logo}" alt="{name}">'
        return f"<span>{name}</span>" if name else ""

    def _logo(self) -> str:
        logo = self._settings.brand_logo
        return html.escape(logo if urlsplit(logo).scheme else LOGO) if logo else ""

    def _links(self, words: dict[str, Any]) -> str:
        settings = self._settings
        return "".join(
            f'<a href="{html.escape(address)}" rel="noreferrer">{html.escape(words[name])}</a>'
            for name, address in (
                ("contact", settings.contact_url),
                ("privacy", settings.privacy_url),
            )
            if address
        )


def preferred(accepted: str) -> str:
    """The language of the page for a header ``Accept-Language``."""
    found: list[tuple[float, str]] = []
    for each in accepted.split(",")[:MAX_ACCEPTED]:
        tag, _, quality = each.partition(";")
        language = tag.strip().partition("-")[0].lower()
        try:
            weight = float(quality.partition("=")[2] or 1)
        except ValueError:
            continue
        if language in LANGUAGES and weight > 0:
            found.append((weight, language))
    return max(found, key=lambda each: each[0], default=(1.0, LANGUAGES[0]))[1]


def page_routes(settings: SharingSettings, config: PluginConfig) -> list[Route]:
    """The page and its files."""
    page = SharePage(settings, config)
    headers = page.headers()

    async def show(request: Request) -> Response:
        """Answer with the page, whatever the path; its socket shows whether the token is good."""
        return page.answer(request)

    async def redirect(request: Request) -> Response:
        """Add the slash that the page's relative addresses need, under any prefix of a proxy."""
        query = f"?{request.url.query}" if request.url.query else ""
        return RedirectResponse(f"{PAGE_PATH.rpartition('/')[2]}/{query}", 308, headers)

    async def page_settings(_: Request) -> Response:
        """Answer with what the live map must know to offer links."""
        return JSONResponse({"maxLife": settings.max_life}, headers=headers)

    return [
        Route(PAGE_PATH, redirect, methods=["GET"]),
        Route(f"{PAGE_PATH}/settings.json", page_settings, methods=["GET"]),
        Route(f"{PAGE_PATH}/", show, methods=["GET"]),
        *page.logo_routes(),
        *file_routes(f"{PAGE_PATH}/files", FILES, headers),
        Route(f"{PAGE_PATH}/{{token}}", show, methods=["GET"]),
    ]
