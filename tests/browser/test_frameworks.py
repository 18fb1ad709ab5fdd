"""The pages of docs/frontend.md: Vite builds them, and Chromium shows what they track."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import uvicorn
from playwright.async_api import Page, expect
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from atriz_realtime import RealtimeExtension
from atriz_realtime.testing import free_port
from atriz_realtime.testing.web import on_uvicorn, port_of
from tests.browser.chromium import Complaints, from_packages, leaving, unanswered
from tests.frontend.test_build import SOURCE
from tests.packaging.reader import named_files, steps
from tests.support.clients.frontend_project import frontend_project, run, write_client
from tests.support.clients.node import JS, with_packages
from tests.support.docs.documents import DOCUMENTED_URL, ROOT
from tests.support.servers.serving import TIMEOUT, Live, config, serving, token, until
from tests.support.servers.tcp_proxy import proxying

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.timeout(180)]

FILES = named_files(ROOT / "docs" / "frontend.md")

ENTRY = '<!doctype html><meta charset="utf-8"><title>Vehicles</title>\
<link rel="icon" href="data:,"><div id="root"></div><script type="module" src="/src/{}"></script>'

ENTRIES = {
    "index.html": "main.tsx",
    "map.html": "map.tsx",
    "react.html": "signed-in.tsx",
    "vue.html": "vue.js",
    "svelte.html": "svelte.js",
}
"""The script of each page."""

NO_SERVER = "there is no realtime server at this path"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the documented files, and what shows them."""
    folder = frontend_project(tmp_path_factory.mktemp("vite"))
    shutil.copytree(JS / "vite", folder, dirs_exist_ok=True)
    for name, text in FILES.items():
        if name.startswith(("src/", "vite.")):
            (folder / name).write_text(text)
    for page, script in ENTRIES.items():
        (folder / page).write_text(ENTRY.format(script))
    (folder / "package.json").write_text('{ "type": "module" }')
    return folder


@pytest.fixture(scope="module")
def frameworks(project: Path) -> Path:
    """The folder with the pages of Vue and Svelte as built."""
    built = project / "frameworks"
    run(project, *("vite", "build", "--config", "frameworks.config.js", "--outDir", built))
    for script in built.rglob("*.js"):
        assert "react-dom" not in script.read_text()
    return built


def service(folder: Path | None = None, **settings: Any) -> Starlette:
    """A realtime server that issues tokens, and serves the files of a folder."""

    async def realtime_token(_: Request) -> PlainTextResponse:
        if app.state.signed_in:
            return PlainTextResponse(token())
        return PlainTextResponse("nobody is signed in", 401)

    app = Starlette(routes=[Route("/api/realtime-token", realtime_token)])
    app.state.signed_in = True
    app.state.realtime = RealtimeExtension(config(**settings)).install(app)
    if folder is not None:
        app.router.routes.append(files_of(folder))
    return app


def files_of(folder: Path) -> Mount:
    return Mount("/", StaticFiles(directory=folder, html=True))


@asynccontextmanager
async def without_live_server(folder: Path) -> AsyncIterator[tuple[str, Callable[[], None]]]:
    """Serve the files of a folder; yields the URL, and what puts a realtime server there."""
    files = uvicorn.Config(Starlette(routes=[files_of(folder)]), port=0, log_config=None)
    async with (
        serving(service(folder)) as live,
        on_uvicorn(files) as other,
        proxying(port_of(other)) as proxy,
    ):

        def replace() -> None:
            proxy.target = live.port
            proxy.break_connections()

        yield f"http://127.0.0.1:{proxy.port}", replace


@asynccontextmanager
async def at_vite(
    project: Path, live: Live, configuration: str = "vite.config.ts"
) -> AsyncIterator[int]:
    """Run Vite's development server, by default as documented; yields its port."""
    documented = FILES["vite.config.ts"]
    assert documented.count(DOCUMENTED_URL) == 2
    (project / "vite.config.ts").write_text(documented.replace(DOCUMENTED_URL, live.url))
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        *(project / "node_modules" / ".bin" / "vite", "--port", str(port), "--strictPort"),
        *("--config", configuration),
        cwd=project,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "NO_COLOR": "1", "LIVE_URL": live.url},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(3 * TIMEOUT):
            async for line in process.stdout:
                if f":{port}/".encode() in line:
                    break
        yield port
    finally:
        process.terminate()
        await process.communicate()


def at(latitude: int) -> re.Pattern[str]:
    """How a position is shown, with its time."""
    return re.compile(rf"{latitude}, -8\.5\s+at [\d/]+, [\d:]+")


async def moves(page: Page, live: Live, *, first: str = "v1") -> None:
    """Check that both vehicles are shown, and one of them where it is."""
    shown = page.locator("#root p")
    await expect(shown).to_have_text(["No position yet", "No position yet"])
    rooms = live.server.socket_io.manager.rooms
    await until(lambda: {f"vehicle:{first}", "vehicle:v2"} <= rooms.get("/", {}).keys())
    for latitude in (50, 51):
        await live.publish(first, latitude=latitude, longitude=-8.5)
        await expect(shown).to_have_text([at(latitude), "No position yet"])
    assert live.server.connection_count == 1


def check_types(project: Path, *roots: str) -> None:
    """Run the compiler, which has to find nothing."""
    tsc = with_packages(SOURCE) / "node_modules" / ".bin" / "tsc"
    options = ("--strict", "--noEmit", "--skipLibCheck", "--jsx", "react-jsx", "--target", "es2022")
    modules = ("--module", "esnext", "--moduleResolution", "bundler", "--types", "vite/client")
    run(project, tsc, *options, *modules, *roots)


async def test_the_types_of_the_documented_files_agree(project: Path) -> None:
    roots = ("main.tsx", "map.tsx", "signed-in.tsx", "tracker.ts", "App.test.tsx")
    check_types(
        project, *(f"src/{name}" for name in roots), "src/fake-tracker.ts", "vite.config.ts"
    )


async def test_a_login_that_is_forgotten_does_not_compile(project: Path) -> None:
    """Where people sign in and out, `login` is required, as the page says."""
    optional, required = "login?: string", "login: string"
    page = (ROOT / "docs" / "frontend.md").read_text()
    assert f"write `{required}` for `{optional}`" in page
    src = project / "signed-in"
    shutil.copytree(project / "src", src)
    for name in ("Banner.tsx", "App.tsx", "FleetMap.tsx"):
        text = (src / name).read_text()
        assert optional in text
        (src / name).write_text(text.replace(optional, required))
    roots = [f"{src.name}/{name}.tsx" for name in ("signed-in", "map", "App.test")]
    check_types(project, *roots)
    for name in ("App.tsx", "Root.tsx"):
        text = (src / name).read_text()
        for passed in re.findall(r"<\w+ [^>\n]*login={login}", text):
            (src / name).write_text(text.replace(passed, passed.removesuffix("login={login}")))
            with pytest.raises(AssertionError, match="Property 'login' is missing"):
                check_types(project, *roots)
        (src / name).write_text(text)


async def test_the_types_of_a_socket_that_renews_its_token_agree(project: Path) -> None:
    blocks = [step.text for step in steps(ROOT / "docs" / "wire.md")]
    (block,) = [block for block in blocks if "connectLater" in block]
    (project / "socket.ts").write_text(block)
    (project / "token.ts").write_text("export declare function freshToken(): Promise<string>;\n")
    tsc = with_packages(SOURCE) / "node_modules" / ".bin" / "tsc"
    options = ("--strict", "--noEmit", "--skipLibCheck", "--target", "es2022")
    modules = ("--module", "esnext", "--moduleResolution", "bundler", "--types", "")
    run(project, tsc, *options, *modules, "socket.ts")


async def test_the_documented_component_test_passes(project: Path) -> None:
    run(project, "vitest", "run", "src/App.test.tsx")


@pytest.mark.parametrize("test", ["Vehicle.test.js", "SvelteVehicle.test.js", "live.test.js"])
async def test_components_can_be_tested(project: Path, test: str) -> None:
    """With the documented tracker in place of the real one, and with a real server."""
    async with serving() as live:
        (project / "src" / "live.json").write_text(json.dumps([live.url, token()]))
        await live.publish("v1", latitude=50)
        command = ("vitest", "run", "--config", "frameworks.config.js", f"src/{test}")
        await asyncio.to_thread(run, project, *command)


async def test_react_in_development_connects_through_the_proxy(project: Path, page: Page) -> None:
    async with serving(service()) as live, at_vite(project, live) as port, leaving(page):
        await page.goto(f"http://localhost:{port}")
        await moves(page, live)
        assert live.server.incidents.counts["origin refused"] == 0


@pytest.mark.parametrize("end", ["", "/"])
async def test_react_as_built_connects_to_the_server_that_is_named(
    project: Path, page: Page, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    async with serving(cors_origin="*") as live:
        monkeypatch.setenv("VITE_REALTIME_URL", live.url + end)
        run(project, "vite", "build", "--outDir", "named")
        async with serving(service(project / "named")) as host, leaving(page):
            await page.goto(host.url)
            await moves(page, live)
            assert host.server.connection_count == 0


@pytest.mark.parametrize("name", ["vue", "svelte"])
async def test_components_share_a_tracker(frameworks: Path, page: Page, name: str) -> None:
    async with serving(service(frameworks)) as live, leaving(page):
        await page.goto(f"{live.url}/{name}.html#v1")
        await moves(page, live)
        rooms = live.server.socket_io.manager.rooms["/"]

        await page.evaluate("location.hash = '#v3'")  # the same component shows another vehicle
        await until(lambda: "vehicle:v1" not in rooms)
        await moves(page, live, first="v3")
        await page.evaluate("location.hash = ''")
        await until(lambda: "vehicle:v3" not in rooms)
        assert "vehicle:v2" in rooms


def watching(live: Live) -> set[str]:
    """The connections that follow the first vehicle."""
    return set(live.server.socket_io.manager.rooms.get("/", {}).get("vehicle:v1", ()))


@pytest.mark.parametrize("name", ["vue", "svelte"])
async def test_a_tracker_ends_when_its_module_runs_again(
    project: Path, page: Page, name: str
) -> None:
    module = project / "src" / "tracker.ts"
    async with (
        serving(service()) as live,
        at_vite(project, live, "frameworks.config.js") as port,
        leaving(page),
    ):
        await page.goto(f"http://localhost:{port}/{name}.html#v1")
        await moves(page, live)
        first = watching(live)
        await page.evaluate("window.loaded = 1")
        module.write_text(module.read_text() + "\n")  # which Vite notices
        await until(lambda: watching(live) and first.isdisjoint(watching(live)))
        await until(lambda: live.server.connection_count == 1)
        assert await page.evaluate("window.loaded") == 1  # it is the same page


@pytest.mark.parametrize("name", ["vue", "svelte"])
async def test_who_signs_out_is_disconnected(frameworks: Path, page: Page, name: str) -> None:
    """Without an error: nobody asks for a token meanwhile, which would be answered by 401."""
    app = service(frameworks)
    async with serving(app) as live, leaving(page):
        await page.goto(f"{live.url}/{name}.html#v1")
        await signs_out_and_in(page, live, app)


async def test_who_signs_out_of_react_is_disconnected(project: Path, page: Page) -> None:
    app = service()
    async with serving(app) as live, at_vite(project, live) as port, leaving(page):
        await page.goto(f"http://localhost:{port}/react.html")
        await signs_out_and_in(page, live, app)


async def signs_out_and_in(page: Page, live: Live, app: Starlette) -> None:
    """Check that nobody is connected in between."""
    shown = page.locator("#root p")
    await expect(shown).to_have_text(["No position yet"] * 2)
    app.state.signed_in = False
    await page.evaluate("signOut()")
    await until(lambda: live.server.connection_count == 0)
    await expect(shown).to_have_count(0)
    app.state.signed_in = True
    await page.evaluate("signIn()")
    await moves(page, live)


@pytest.mark.parametrize("name", ["vue", "svelte"])
async def test_who_signs_in_again_is_connected(
    frameworks: Path, page: Page, complaints: Complaints, name: str
) -> None:
    complaints.expect("401")
    app = service(frameworks)
    async with serving(app) as live, leaving(page):
        await page.goto(f"{live.url}/{name}.html#v1")
        await signs_in_again(page, live, app)


async def test_who_signs_in_to_react_again_is_connected(
    project: Path, page: Page, complaints: Complaints
) -> None:
    complaints.expect("401")
    app = service()
    async with serving(app) as live, at_vite(project, live) as port, leaving(page):
        await page.goto(f"http://localhost:{port}/react.html")
        await signs_in_again(page, live, app)


async def signs_in_again(page: Page, live: Live, app: Starlette) -> None:
    """Let a session end, and check that the same person can go on without loading the page."""
    await expect(page.locator("#root p")).to_have_text(["No position yet"] * 2)
    app.state.signed_in = False
    await live.server.socket_io.abort_all()
    await expect(page.get_by_role("alert")).to_contain_text("Please sign in again.")
    await expect(page.get_by_role("button", name="Try again")).to_be_visible()
    app.state.signed_in = True
    await page.evaluate("signIn()")
    await moves(page, live)


async def test_a_map_of_all_vehicles_shares_the_connection_of_the_banner(
    project: Path, page: Page
) -> None:
    async with serving(service()) as live, at_vite(project, live) as port, leaving(page):
        for number in range(300):
            await live.publish(f"v{number}")
        lists: list[str] = []
        page.on("request", lambda request: lists.append(request.url))
        await page.goto(f"http://localhost:{port}/map.html")
        await expect(page.locator("#root i")).to_have_count(300)
        assert len([url for url in lists if "/api/tracking/" in url]) == 1
        await live.publish("v7", latitude=50, longitude=-8.5)
        await expect(page.get_by_title("v7", exact=True)).to_have_css("top", "40px")
        assert live.server.connection_count == 1


async def test_a_map_finds_the_server_below_a_prefix(
    project: Path, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VITE_REALTIME_URL", "/live")
    async with (
        serving(service()) as live,
        at_vite(project, live, "frameworks.config.js") as port,
        leaving(page),
    ):
        await live.publish("v1")
        requests: list[str] = []
        page.on("request", lambda request: requests.append(urlsplit(request.url).path))
        await page.goto(f"http://localhost:{port}/map.html")
        await expect(page.get_by_title("v1")).to_be_visible()
        assert "/live/api/tracking/vehicle" in requests


async def test_a_map_says_what_it_does_not_show_and_tries_again(
    project: Path, page: Page, complaints: Complaints
) -> None:
    complaints.expect("503")
    listing = "**/api/tracking/vehicle?*"
    app = service(max_subscriptions=2)
    async with serving(app) as live, at_vite(project, live) as port, leaving(page):
        for number in range(3):
            await live.publish(f"v{number}")
        await page.route(listing, lambda route: route.fulfill(status=503))
        await page.goto(f"http://localhost:{port}/map.html")
        said, markers = page.get_by_role("status"), page.locator("#root i")
        await expect(said).to_have_text("The list of vehicles may be incomplete.")
        await page.unroute(listing)
        await live.server.socket_io.abort_all()  # the list is fetched with each connection
        await expect(said).to_have_text("These are too many vehicles at once.")
        await expect(markers).to_have_count(2)
        await expect(page.get_by_title("v2")).to_have_count(0)

        await live.server.tracking.clear_current_location("vehicle", "v0")
        await live.server.socket_io.abort_all()
        await expect(page.get_by_title("v2")).to_be_visible()
        await expect(markers).to_have_count(2)
        await expect(said).to_have_count(0)


async def test_a_map_does_not_show_another_user_what_failed(
    project: Path, page: Page, complaints: Complaints
) -> None:
    complaints.expect("503")
    listing = "**/api/tracking/vehicle?*"
    async with serving(service()) as live, at_vite(project, live) as port, leaving(page):
        await page.route(listing, lambda route: route.fulfill(status=503))
        await page.goto(f"http://localhost:{port}/map.html")
        await expect(page.get_by_role("status")).to_be_visible()
        await page.unroute(listing)
        async with unanswered(page, listing):  # the next list
            async with page.expect_request(listing):
                await page.evaluate("setLogin('ben')")
            await expect(page.get_by_role("status")).to_have_count(0)


async def says_why_it_does_not_connect(page: Page, folder: Path, name: str) -> None:
    """Check that a page says so, and connects when it is told to try again."""
    async with without_live_server(folder) as (url, put_server_there), leaving(page):
        await page.goto(f"{url}/{name}")
        await expect(page.get_by_role("alert").first).to_contain_text("wrong on our side")
        again = page.get_by_role("button", name="Try again")
        await expect(again).to_be_visible()  # it has given up
        put_server_there()
        await again.click()
        await expect(page.locator("#root p")).to_have_text(["No position yet"] * 2)


async def test_react_says_why_it_does_not_connect(
    project: Path, page: Page, complaints: Complaints
) -> None:
    complaints.expect("404|WebSocket|wrong_path")
    run(project, "vite", "build", "--outDir", "own")
    await says_why_it_does_not_connect(page, project / "own", "")


@pytest.mark.parametrize("name", ["vue", "svelte"])
async def test_other_frameworks_say_why_they_do_not_connect(
    frameworks: Path, page: Page, complaints: Complaints, name: str
) -> None:
    complaints.expect("404|WebSocket|wrong_path")
    await says_why_it_does_not_connect(page, frameworks, f"{name}.html#v1")


async def open_page_without_a_bundler(page: Page, folder: Path, url: str) -> None:
    write_client(folder / "realtime-client")
    (folder / "index.html").write_text(FILES["static/index.html"].replace(DOCUMENTED_URL, url))
    await page.route("https://unpkg.com/**", from_packages)
    await page.goto(url)


async def test_a_page_without_a_bundler_says_why_it_does_not_connect(
    tmp_path: Path, page: Page, complaints: Complaints
) -> None:
    complaints.expect("404|WebSocket")
    async with without_live_server(tmp_path) as (url, put_server_there), leaving(page):
        await open_page_without_a_bundler(page, tmp_path, url)
        await expect(page.get_by_role("alert")).to_contain_text(NO_SERVER)
        put_server_there()
        await page.reload()
        await expect(page.locator("output")).to_have_text("No position yet")
        await expect(page.get_by_role("alert")).to_have_text("")


async def test_a_page_without_a_bundler_loads_the_modules(tmp_path: Path, page: Page) -> None:
    async with serving(service(tmp_path)) as live, leaving(page):
        await open_page_without_a_bundler(page, tmp_path, live.url)
        await expect(page.locator("output")).to_have_text("No position yet")
        await live.publish("v1", latitude=50, longitude=-8.5)
        await expect(page.locator("output")).to_have_text(at(50))
