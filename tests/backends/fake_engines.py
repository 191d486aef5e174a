"""Engines that misbehave, in real processes: `config.sampling.model` says how, after five samples."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from multiprocessing import shared_memory

from toolkit.errors import EngineRefused, UsageError
from toolkit.records import EngineFacts, Load, Sample


class FakeEngine:
    max_in_flight = 8

    def __init__(self, config, folder):
        self.way = config.sampling.model.rpartition("/")[2]
        self.queue, self.done = [], 0
        if self.way.endswith("at start"):
            self.misbehave(self.way.removesuffix(" at start"))
        if "child" in self.way:
            self.child = multiprocessing.get_context("spawn").Process(
                target=time.sleep, args=(600,)
            )
            self.child.start()
        if self.way == "leaves things":
            self.memory = shared_memory.SharedMemory(create=True, size=4096)
            self.untracked = shared_memory.SharedMemory(create=True, size=4096)
            multiprocessing.resource_tracker.unregister(self.untracked._name, "shared_memory")
            socket.socket(socket.AF_UNIX).bind(f"{folder}/socket")
            # An orphan of an orphan, which also ignores SIGTERM.
            orphan = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
            code = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {orphan!r}])"
            subprocess.run([sys.executable, "-c", code], check=True)
            print(f"memory {self.memory.name} {self.untracked.name} {folder}", flush=True)

    def misbehave(self, way):
        match way:
            case "dies":
                os.kill(os.getpid(), signal.SIGKILL)
            case "exits":
                os._exit(3)
            case "stops":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "sleeps":
                time.sleep(600)
            case "spins":
                while True:
                    pass
            case "works long":  # an honest step
                until = time.monotonic() + 3
                while time.monotonic() < until:
                    pass
            case "raises":
                raise RuntimeError("no luck\ntoday")
            case "refuses":
                raise EngineRefused("cannot start with that")
            case "finds it too long":
                raise UsageError("the prompt is too long")
            case "loses its child":
                print("ValueError: the child's last words", flush=True)
                self.child.kill()
                time.sleep(600)
            case "has a child that stops":
                os.kill(self.child.pid, signal.SIGSTOP)
                time.sleep(600)

    def submit(self, request):
        self.queue.append(request)

    def step(self):
        time.sleep(float(os.environ.get("FAKE_STEP", "0.01")))
        if self.done == 5 and not self.way.endswith("at start"):
            self.misbehave(self.way)
        self.done += 1
        request = self.queue.pop(0)
        return [Sample(request.task_id, request.seed, "x", 1, "stop")]

    def load(self):
        return Load(self.done / 100, self.done)

    def describe(self):
        return EngineFacts("fake", device="cpu")
