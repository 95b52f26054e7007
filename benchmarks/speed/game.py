"""How many players the game holds: python benchmarks/speed/game.py

A study of the sample photographs is served by a process of its own, and 50 players, or --players, come over the first
minute. Each signs up, and plays until the end: asks for a round, looks at its page and picture, at more of it, guesses
with a label or two, and looks at the result, with 1 to 4 seconds of thought before each click. Players and server share
the machine. At the end the store is read: every answer that was acknowledged has to be there, once.
"""

import argparse
import asyncio
import random
import socket
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import httpx2
import numpy as np
from harness import machine

from jaxplain.models import load
from jaxplain.study import Study, new_study, opened, stored_plays

PHOTOS = [f"sample:{name}" for name in ("chelsea", "coffee", "rocket", "astronaut", "motorcycle")]
THOUGHT = (1.0, 4.0)  # seconds
ARRIVALS = 60.0  # seconds in which players sign up


class Player:
    """One player's browser, with the seconds of each kind of request and the answers that were acknowledged."""

    def __init__(self, client: httpx2.AsyncClient, name: str, chance: random.Random) -> None:
        self.client, self.name, self.chance = client, name, chance
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.answers: list[tuple[str, ...]] = []

    async def ask(self, kind: str, method: str, path: str, *expected: int, **options) -> httpx2.Response:
        started = time.perf_counter()
        answer = await self.client.request(method, path, **options)
        self.seconds[kind].append(time.perf_counter() - started)
        if answer.status_code not in expected:
            raise SystemExit(f"{method} {path}: {answer.status_code}, expected {expected}\n{answer.text[:500]}")
        return answer

    async def think(self) -> None:
        await asyncio.sleep(self.chance.uniform(*THOUGHT))

    async def play(self, end: float) -> None:
        await self.ask("sign-up", "POST", "/sign-up", 303, data={"name": self.name, "password": "correct horse"})
        while time.perf_counter() < end:
            answer = await self.ask("deal", "POST", "/rounds", 303, 200)
            if answer.status_code != 303:
                return  # this player has had every round
            await self.round(answer.headers["location"])

    async def round(self, path: str) -> None:
        await self.ask("page", "GET", path, 200)
        await self.ask("picture", "GET", f"{path}/0.webp", 200)
        await self.think()
        for level in range(self.chance.randrange(4)):
            await self.ask("more", "POST", path, 200, data={"action": "more", "level": level})
            await self.ask("picture", "GET", f"{path}/{level + 1}.webp", 200)
            await self.think()
        labels = [f"label {self.chance.random():.9f}" for _ in range(self.chance.randrange(1, 3))]
        guess = self.chance.randrange(5)
        await self.ask("answer", "POST", path, 303, data={"action": "guess", "guess": guess, "label": labels})
        self.answers.append(tuple(labels))
        await self.ask("page", "GET", path, 200)
        await self.ask("picture", "GET", f"{path}/picture.webp", 200)
        await self.think()


async def crowd(base: str, players: int, seconds: float) -> list[Player]:
    """All players at once."""
    end = time.perf_counter() + seconds

    async def come(number: int) -> Player:
        chance = random.Random(number)
        await asyncio.sleep(chance.uniform(0, ARRIVALS))
        async with httpx2.AsyncClient(base_url=base, timeout=60) as client:
            player = Player(client, f"player {number}", chance)
            await player.play(end)
            return player

    return await asyncio.gather(*(come(number) for number in range(players)))


def served(study: Study) -> tuple[subprocess.Popen, str]:
    """The server's process, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        port = one.getsockname()[1]
    program = [sys.executable, "-m", "jaxplain", "study", "serve", str(study.folder), "--port", str(port)]
    process = subprocess.Popen(program, stdout=subprocess.DEVNULL)
    for _ in range(600):
        try:
            httpx2.get(f"http://127.0.0.1:{port}/")
            return process, f"http://127.0.0.1:{port}"
        except httpx2.TransportError:
            time.sleep(0.1)
    raise SystemExit("The server does not answer.")


def show(players: list[Player]) -> None:
    """Prints the times of each kind of request in milliseconds, and those of all but the signing up."""
    kinds: dict[str, list[float]] = defaultdict(list)
    for player in players:
        for kind, seconds in player.seconds.items():
            kinds[kind] += seconds
    kinds["of the game"] = [s for kind, seconds in kinds.items() if kind != "sign-up" for s in seconds]
    print("| request | number | median, ms | 95th percentile, ms | longest, ms |\n|---|---|---|---|---|")
    for kind, seconds in kinds.items():
        median, high, most = (1000 * np.quantile(seconds, q) for q in (0.5, 0.95, 1))
        print(f"| {kind} | {len(seconds)} | {median:.0f} | {high:.0f} | {most:.0f} |")


def check(study: Study, players: list[Player]) -> None:
    """Ends the program unless every acknowledged answer is in the store, once."""
    with opened(study) as store:
        kept = sorted((play.player, *play.labels) for play in stored_plays(store))
    acknowledged = sorted((player.name, *labels) for player in players for labels in player.answers)
    if kept != acknowledged:
        raise SystemExit(f"{len(acknowledged)} answers were acknowledged, and the store has {len(kept)}, or others.")
    print(f"{len(acknowledged)} answers acknowledged, and all of them in the store.")


def main() -> None:
    """Prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--players", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=180)
    options = parser.parse_args()
    print(machine())
    with tempfile.TemporaryDirectory() as folder:
        study = new_study(Path(folder) / "study", load("efficientnet_lite0"), PHOTOS, clustering="kmeans")
        print(f"{study}, {options.players} players, {options.seconds:.0f} s")
        process, base = served(study)
        try:
            players = asyncio.run(crowd(base, options.players, options.seconds))
        finally:
            process.terminate()
            process.wait()
        show(players)
        check(study, players)


if __name__ == "__main__":
    main()
